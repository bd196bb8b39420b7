"""What a whole process costs: memory, the time until it does something, and what a second process brings.

Each measurement starts Python anew; `python -m benchmarks.speed.task` is what it starts.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Record, Spread, table
from benchmarks.pictures import bars

EXAMPLES = {"mnist": (2048, 8192), "cifar10": (1024, 4096)}  # n, which fills a batch also where half is wrong, and 4n
SHORT = ("mnist",)  # what the short form keeps to


def task(*arguments: str, processes: int = 1, cores: int | None = None) -> Record:
    """Run one task in processes of its own; what the first prints last is its result.

    Args:
        arguments: of `benchmarks.speed.task`.
        processes: that share the work, each on one thread.
        cores: how many of this machine's to use, those with the highest numbers; all by default.
    """
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with tempfile.TemporaryDirectory() as folder:
        begun = str(time.monotonic())
        done = subprocess.run(
            [*launch, "-m", "benchmarks.speed.task", *arguments, "--folder", folder, "--begun", begun],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            preexec_fn=None if cores is None else lambda: os.sched_setaffinity(0, sorted(usable())[-cores:]),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr[-2000:]}")
    found: Record = json.loads(done.stdout.splitlines()[-1])
    return found


def _arguments(work: str, data: str, count: int, device: str, short: bool, victims: Path) -> list[str]:
    """Of the task: `work` is its name, and for a training the method's."""
    kind, _, method = work.partition(" ")
    given = [kind, "--data", data, "--examples", str(count), "--device", device, "--victims", str(victims)]
    return given + (["--method", method] if method else []) + ["--short"] * short


def usable() -> set[int]:
    """The cores that this process may use."""
    return set(os.sched_getaffinity(0))


def memory(device: str, short: bool, folder: Path) -> Record:
    """Greatest memory of a process that trains or measures, with n examples and with 4n."""
    found: Record = {}
    for data in SHORT if short else EXAMPLES:
        for count in EXAMPLES[data]:
            for work in ("idle", "train natural", "train pgd_at", "evaluate"):
                result = task(*_arguments(work, data, count, device, short, folder))
                found[f"{data}/{work}/{count}"] = result["memory_mb"]
                print(f"memory {data} {work} {count}: {result['memory_mb']:.0f} MB", flush=True)
    return found


def report_memory(found: Record) -> list[str]:
    rows = []
    for data in (data for data in EXAMPLES if f"{data}/idle/{EXAMPLES[data][0]}" in found):
        few, many = EXAMPLES[data]
        for work in ("idle", "train natural", "train pgd_at", "evaluate"):
            cells = [f"{found[f'{data}/{work}/{count}']:.0f}" for count in (few, many)]
            rows.append([data, work, f"{few} / {many}", *cells])
    return table(["data", "process", "examples n / 4n", "peak MB at n", "peak MB at 4n"], rows)


def startup(device: str, short: bool, folder: Path) -> Record:
    """Seconds until help is printed, and until a new process has done its first training step."""
    found: dict[str, Any] = {"help": [], "first step": {}}
    for _ in range(3 if short else 7):
        since = time.perf_counter()
        subprocess.run([sys.executable, "-m", "holdfast", "--help"], check=True, capture_output=True)
        found["help"].append(time.perf_counter() - since)
    for data in EXAMPLES:
        runs = [task("first-step", "--data", data, "--device", device) for _ in range(3)]
        for key in ("seconds", "cpu_seconds"):
            found["first step"].setdefault(f"PGD-10 on {data}", {})[key] = [run[key] for run in runs]
        print(f"start-up {data}: {runs}", flush=True)
    return found


def report_startup(found: Record) -> list[str]:
    rows = [["the end of `holdfast --help`", *_cells(found["help"])]]
    for name, runs in found["first step"].items():
        rows.append([f"the end of the first training step, {name}", *_cells(runs["seconds"])])
        rows[-1][-1] = Spread.of(runs["cpu_seconds"]).text()
    return table(["from the start of the process to", "runs", "seconds", "of them busy"], rows)


def _cells(values: list[float]) -> list[str]:
    return [str(len(values)), Spread.of(values).text(), ""]


def scaling(device: str, short: bool, folder: Path) -> Record:
    """Examples a second of one process on one core and of two on two, in turn; wall time, because both cores count."""
    found: Record = {}
    rounds = 1 if short else 2
    for data in SHORT if short else EXAMPLES:
        for work in ("train pgd_at", "evaluate"):
            arguments = _arguments(work, data, EXAMPLES[data][not short], device, short, folder)
            rates: dict[str, list[float]] = {"1": [], "2": []}
            for _ in range(rounds):
                for processes in (1, 2):
                    result = task(*arguments, processes=processes, cores=processes)
                    rates[str(processes)].append(result["examples_per_second"])
            found[f"{data}/{work}"] = rates
            print(f"processes {data} {work}: {rates}", flush=True)
    return found


def _gains(rates: Mapping[str, list[float]]) -> list[float]:
    """Two processes' rate over one's, round by round."""
    return [two / one for one, two in zip(rates["1"], rates["2"], strict=True)]


def draw_scaling(found: Record, path: Path) -> None:
    """What two processes gain over one, as bars; 2 would be all of the second core."""
    bars(
        {"two processes over one": {name: statistics.median(_gains(rates)) for name, rates in found.items()}}, "x", path
    )


def report_scaling(found: Record) -> list[str]:
    rows = []
    for name, rates in found.items():
        gains = _gains(rates)
        rows.append(
            [
                name,
                *(f"{statistics.median(rates[count]):.1f}" for count in ("1", "2")),
                f"{statistics.median(gains):.2f} [{min(gains):.2f}, {max(gains):.2f}]",
            ]
        )
    return table(["work", "examples/s, 1 process on 1 core", "2 processes on 2 cores", "gain"], rows)
