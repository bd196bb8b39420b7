"""Timing for the benchmarks: contestants take turns in rounds, and every ratio is taken within a round.

A shared machine is slower in one minute than in the next, so two times are only compared when they were taken one after
the other. On one CPU thread the clock is the processor time of this process, which others disturb less; on several
threads and on accelerators it is the time that passes.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from holdfast.provenance import versions

Record = dict[str, Any]  # what json.dumps takes
Measured = Iterator[tuple[str, Any]]  # what was measured, as it is: name and Record


@dataclass(frozen=True)
class Contestant:
    """Somebody who does the work of a round.

    Attributes:
        name: in tables.
        run: does it once; what it returns of the last round is handed back by `contest`.
    """

    name: str
    run: Callable[[], object]


def finish(device: torch.device | str) -> None:
    """Wait until the device has done what it was told."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def clock(device: torch.device | str) -> str:
    """Which of the two times counts, "cpu" or "wall"."""
    return "cpu" if torch.device(device).type == "cpu" and torch.get_num_threads() == 1 else "wall"


def contest(
    contestants: Sequence[Contestant], rounds: int, device: torch.device | str, warmup: int = 1
) -> tuple[dict[str, dict[str, list[float]]], dict[str, Any]]:
    """Let all take turns.

    Args:
        rounds: measured ones.
        warmup: rounds before them that do not count.

    Returns:
        Seconds of each round by contestant and clock ("cpu", "wall"), and what each did last.
    """
    times: dict[str, dict[str, list[float]]] = {one.name: {"cpu": [], "wall": []} for one in contestants}
    done: dict[str, Any] = {}
    for turn in range(-warmup, rounds):
        for one in contestants:
            finish(device)
            cpu, wall = time.process_time(), time.perf_counter()
            done[one.name] = one.run()
            finish(device)
            if turn >= 0:
                times[one.name]["cpu"].append(time.process_time() - cpu)
                times[one.name]["wall"].append(time.perf_counter() - wall)
    return times, done


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, and the extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """The median with the extremes in brackets, where there are several rounds."""
        if self.low == self.high:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def ratio(record: Mapping[str, Any], over: str, under: str) -> Spread | None:
    """How many times longer `over` takes than `under`, round by round; None if one of them did not take part."""
    times = record["times"]
    if over not in times or under not in times:
        return None
    pairs = zip(times[over][record["clock"]], times[under][record["clock"]], strict=True)
    return Spread.of([one / other for one, other in pairs])


def throughput(record: Mapping[str, Any], name: str) -> Spread:
    """Examples a second; the record says how many examples a round has."""
    return Spread.of([record["examples"] / seconds for seconds in record["times"][name][record["clock"]]])


def made(device: torch.device | str, command: str) -> Record:
    """Where and how a measurement was made: to be stored with it."""
    found: Record = {**versions(str(device)), "command": command}
    if hasattr(os, "getloadavg"):
        found["load"] = [round(value, 1) for value in os.getloadavg()]
        found["cores"] = os.cpu_count()
    return found


def machine(made: Mapping[str, Any]) -> str:
    """Device, threads where they matter, and torch."""
    threads = "one thread" if made["threads"] == "1" else f"{made['threads']} threads"
    return f"{made['device']}, {'' if 'NVIDIA' in made['device'] else f'{threads}, '}torch {made['torch']}"


def provenance(made: Mapping[str, Any]) -> str:
    """One sentence of it for the page."""
    load = f", load average at the start {made['load'][0]} on {made['cores']} cores" if "load" in made else ""
    return (
        f"`{made['command']}` at {made.get('commit', 'unknown')[:12]}{'+changes' * ('+' in made.get('commit', ''))}: "
        f"{machine(made)}, Python {made['python']}{load}."
    )


def commits(out: Path, records: str) -> str:
    """The commits that made the records below `out` which match a pattern."""
    return ", ".join(sorted({made.get("commit", "unknown")[:12] for made in _versions(out, records)}))


def machines(out: Path, records: str) -> str:
    """The machines that did."""
    return "; ".join(sorted({machine(made) for made in _versions(out, records)}))


def _versions(out: Path, records: str) -> list[Record]:
    return [json.loads(path.read_text())["versions"] for path in out.glob(records)]


def device_of(comparison: Path) -> str:
    """What kind of device the runs in a comparison's folder were begun on."""
    device: str = json.loads((comparison / "comparison.json").read_text())["terms"]["device"]
    return device


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)]
