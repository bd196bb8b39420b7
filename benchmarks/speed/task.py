"""One piece of work in a process of its own, whose last line of output is its result as JSON."""

import argparse
import json
import os
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from benchmarks.speed.subjects import SUBJECTS, Subject, images, present, suit, victim
from benchmarks.speed.training import trainer_steps

from holdfast.attacks import PGD, Square
from holdfast.data import source
from holdfast.evaluation import Protocol, evaluate
from holdfast.processes import processes
from holdfast.recipe import Recipe


def peak_mb(device: str) -> float:
    """The greatest memory so far: of the process, or on an accelerator."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        # Linux hands a process that is started anew the getrusage peak of the one that started it.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def chosen(subject: Subject, options: argparse.Namespace) -> Recipe:
    base = subject.recipe(
        "fgsm_rs" if options.method == "natural" else options.method, data=images(subject.data, options.examples)
    )
    if options.method == "natural":
        from holdfast.methods import Natural

        base = replace(base, method=Natural())
    return replace(base, epochs=1000)


def train(subject: Subject, options: argparse.Namespace) -> float:
    """As many steps as two passes over n examples; the examples a second of the second pass."""
    recipe = chosen(subject, options)
    group = processes(options.device)
    count = max(1, (options.examples - 256) // recipe.batch_size)
    with trainer_steps(recipe, options.device, options.folder) as (step, _):
        for _ in range(count):
            step()
        group.wait()
        since = time.perf_counter()
        for _ in range(count):
            step()
        group.wait()
        return count * recipe.batch_size / (time.perf_counter() - since)


def measure(subject: Subject, options: argparse.Namespace) -> float:
    """A search with gradients and one without on a victim and n examples; examples a second."""
    split = images(subject.data, options.examples).load("test")
    model = victim(subject, options.victims, options.device, options.short)
    suite = Protocol("both", "1", (PGD(steps=20, step_size=0.1, early_stop=True), Square(queries=50)))
    since = time.perf_counter()
    evaluate(
        model,
        split,
        subject.threat,
        suite,
        n=options.examples,
        folder=options.folder,
        with_curves=False,
        gallery=0,
        progress=False,
    )
    return options.examples / (time.perf_counter() - since)


def first_step(subject: Subject, options: argparse.Namespace) -> float:
    """Seconds from the start of the process to the end of the first step, loading all images and the trial included.

    Without compilation, which would take as long again, and which only long runs begin with.
    """
    data = source(subject.data) if present(subject.data) else images(subject.data, options.examples)
    recipe = replace(subject.recipe(options.method, data=data), compile=False)
    with trainer_steps(recipe, options.device, options.folder) as (step, _):
        step()
        return time.monotonic() - options.begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=["idle", "train", "evaluate", "first-step"])
    parser.add_argument("--data", choices=SUBJECTS, required=True)
    parser.add_argument("--method", default="pgd_at")
    parser.add_argument("--examples", type=int, default=2048)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, required=True, help="empty, for the run; all processes see it")
    parser.add_argument("--victims", type=Path, default=Path("runs/speed"))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--begun", type=float, required=True, help="time.monotonic() when the process was started")
    parser.add_argument("--cores", type=int, nargs="+", help="to use; all by default")
    options = parser.parse_args()
    if options.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, options.cores)
    suit(options.device)
    subject = SUBJECTS[options.data]
    result: dict[str, float] = {}
    if options.work == "idle":
        images(subject.data, options.examples)
    elif options.work == "first-step":
        result["seconds"] = first_step(subject, options)
        result["cpu_seconds"] = time.process_time()
    else:
        result["examples_per_second"] = (train if options.work == "train" else measure)(subject, options)
    result["memory_mb"] = peak_mb(options.device)
    if processes(options.device).first:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
