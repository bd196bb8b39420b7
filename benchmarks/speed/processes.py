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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.harness import Measured, Record, Spread, table
from benchmarks.pictures import bars

EXAMPLES = {"mnist": (2048, 8192), "cifar10": (1024, 4096)}  # n, which fills a batch also where half is wrong, and 4n
WORK = ("idle", "train natural", "train pgd_at", "evaluate")
SHARED = {"mnist": 8192, "cifar10": 1024}  # examples for one process and for two
APART = "train pgd_at, each by itself"
SHORT = ("mnist",)  # what the short form keeps to


def task(*arguments: str, processes: int = 1, cores: Sequence[int] = (), threads: int = 1) -> Record:
    """Run one task in processes of its own; what the first prints last is its result.

    Args:
        arguments: of `benchmarks.speed.task`.
        processes: that share the work.
        cores: those of this machine to use; all by default.
        threads: of each process.
    """
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with tempfile.TemporaryDirectory() as folder:
        begun, on = str(time.monotonic()), ["--cores", *map(str, cores)] if cores else []
        done = subprocess.run(
            [*launch, "-m", "benchmarks.speed.task", *arguments, "--folder", folder, "--begun", begun, *on],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
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
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def memory(device: str, short: bool, folder: Path) -> Measured:
    """Greatest memory of a process that trains or measures, with n examples and with 4n."""
    for data in SHORT if short else EXAMPLES:
        for count in EXAMPLES[data]:
            for work in WORK:
                yield f"{data}/{work}/{count}", task(*_arguments(work, data, count, device, short, folder))["memory_mb"]


def report_memory(found: Record) -> list[str]:
    rows = []
    for data, counts in EXAMPLES.items():
        for work in WORK:
            peaks = [found.get(f"{data}/{work}/{count}") for count in counts]
            if any(peaks):
                cells = [f"{peak:.0f}" if peak else "-" for peak in peaks]
                rows.append([data, work, " / ".join(map(str, counts)), *cells])
    return table(["data", "process", "examples n / 4n", "peak MB at n", "peak MB at 4n"], rows)


def startup(device: str, short: bool, folder: Path) -> Measured:
    """Seconds until help is printed, and until a new process has done its first training step on all cores."""
    taken = []
    for _ in range(3 if short else 7):
        since = time.perf_counter()
        subprocess.run([sys.executable, "-m", "holdfast", "--help"], check=True, capture_output=True)
        taken.append(time.perf_counter() - since)
    yield "help", {"seconds": taken}
    for data in EXAMPLES:
        runs = [task("first-step", "--data", data, "--device", device, threads=len(usable())) for _ in range(3)]
        yield f"first step/{data}", {key: [run[key] for run in runs] for key in ("seconds", "cpu_seconds")}


def report_startup(found: Record) -> list[str]:
    rows = []
    for name, runs in found.items():
        first, _, data = name.partition("/")
        what = f"the first training step, PGD-10 on {data}" if data else f"`holdfast --{first}`"
        times = [Spread.of(runs[key]).text() if key in runs else "" for key in ("seconds", "cpu_seconds")]
        rows.append([f"the end of {what}", str(len(runs["seconds"])), *times])
    return table(["from the start of the process to", "runs", "seconds", "of them busy"], rows)


def scaling(device: str, short: bool, folder: Path) -> Measured:
    """Examples a second of one process on one core and of two on two, in turn; wall time, because both cores count."""
    rounds, two = 1 if short else 3, sorted(usable())[-2:]
    for data in SHORT if short else SHARED:
        for work in (APART, "train pgd_at", "evaluate"):
            given = _arguments(work.partition(",")[0], data, SHARED[data], device, short, folder)
            rates: dict[str, list[float]] = {"1": [], "2": []}
            for _ in range(rounds):
                rates["1"].append(_rate(task(*given, cores=two[-1:])))
                rates["2"].append(
                    _rate(*_apart(given, two)) if work == APART else _rate(task(*given, processes=2, cores=two))
                )
            yield f"{data}/{work}", rates


def _apart(given: Sequence[str], cores: Sequence[int]) -> list[Record]:
    """The same task at once on each of the cores."""
    with ThreadPoolExecutor(len(cores)) as pool:
        return list(pool.map(lambda core: task(*given, cores=[core]), cores))


def _rate(*results: Record) -> float:
    return float(sum(result["examples_per_second"] for result in results))


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
