"""How fast Holdfast trains and measures, beside bare passes and beside its peers, measured in turn in one run.

    PYTHONPATH=src:<peers> python -m benchmarks.speed                # everything, on one thread of the CPU
    PYTHONPATH=src:<peers> python -m benchmarks.speed --short        # begins nothing after 12 minutes; `make bench`
    PYTHONPATH=src:<peers> python -m benchmarks.speed --device cuda  # on a GPU, the same after 8; speed_gpu.md
    python -m benchmarks.speed --parts training memory               # some parts; the others stay as they were

What is measured goes to benchmarks/speed_cpu.json (or speed_gpu.json), part by part with the commit and the machine,
and the page of that name is written anew from it. Run it from the root of the repository, on a machine that does
nothing else. Real images come from the folder that HOLDFAST_DATA names, as in `holdfast train`; without it the digits
that come with scikit-learn are enlarged to the size, which changes no step but makes other victims.
"""

import argparse
import json
import time
from math import inf
from pathlib import Path

import torch
from benchmarks.harness import Record, made
from benchmarks.speed import evaluation, growth, processes, training
from benchmarks.speed.page import write
from benchmarks.speed.subjects import SUBJECTS, present, suit

from benchmarks import peers

PARTS = {  # in this order, as long as there is time
    "start-up": processes.startup,
    "training": training.measure,
    "evaluation": evaluation.measure,
    "memory": processes.memory,
    "processes": processes.scaling,
    "growth": growth.measure,
}
ON_GPU, IN_SHORT = 8.0, 12.0  # minutes; what is begun then goes on to its end
CPU_ONLY = ("start-up", "processes")  # a GPU's own tables need them not


def command(part: str, options: argparse.Namespace) -> str:
    """What makes this part again."""
    words = ["python -m benchmarks.speed --parts", part]
    words += [f"--device {options.device}"] * (options.device != "cpu") + ["--short"] * options.short
    return " ".join(words + [f"--threads {options.threads}"] * (options.threads != 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", nargs="*", choices=PARTS, help="all by default; without a name the page is only written anew"
    )
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on the CPU")
    parser.add_argument("--short", action="store_true", help="fewer rounds, images and epochs, and nothing compiled")
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"begin nothing more after so many ({ON_GPU:g} on a GPU, {IN_SHORT:g} in the short form, else no limit)",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/speed"), help="folder of the victims")
    parser.add_argument("--pages", type=Path, default=Path(__file__).parents[1], help="where pages and pictures go")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    suit(options.device)
    kind = "gpu" if options.device.startswith("cuda") else "cpu"
    options.pages.mkdir(parents=True, exist_ok=True)
    place = options.pages / f"speed_{kind}{'_short' * options.short}.json"
    found: Record = json.loads(place.read_text()) if place.exists() else {}
    if options.parts is None:
        options.parts = [part for part in PARTS if kind == "cpu" or part not in CPU_ONLY]
    usual = ON_GPU if kind == "gpu" else IN_SHORT if options.short else inf
    minutes = usual if options.minutes is None else options.minutes
    over = time.monotonic() + 60.0 * minutes
    for part in options.parts:
        if time.monotonic() > over:
            print(f"{minutes:g} minutes are over; left out: {part}", flush=True)
            continue
        since = made(options.device, command(part, options))
        if part == "start-up":
            since["threads"] = str(len(processes.usable()))
        since["peers"] = peers.found()
        since["data"] = {data: data if present(data) else "scikit-learn's digits, enlarged" for data in SUBJECTS}
        measured: Record = {}
        found[part] = {"made": since, "found": measured}
        for name, record in PARTS[part](options.device, options.short, options.out):
            measured[name] = record
            print(f"{part}: {name}", flush=True)
            late = time.monotonic() > over
            if late:
                since["cut"] = minutes
            place.write_text(json.dumps(found, indent=1) + "\n")
            if late:
                break
    write(found, place.with_suffix(".md"))


if __name__ == "__main__":
    main()
