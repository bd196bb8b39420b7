"""Where a training's time goes: into which stage of its steps, by marks that wait for nothing."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import torch

from holdfast.results.history import STAGES

SKIPPED, TRACED = 3, 3  # steps before the trace, in which caches fill, and in it


class Stages:
    """Adds up the time of the stages; a stage ends where the next begins.

    On CUDA the marks are events in the device's queue, so that what is counted is the device's time and nobody waits.

    Args:
        device: that computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str, float | torch.cuda.Event]] = []
        self._epoch: dict[str, float] = {}
        self._total: dict[str, float] = {}
        self._label: AbstractContextManager[object] | None = None
        self._profiler: torch.profiler.profile | None = None

    def trace(self, path: Path) -> None:
        """Write a trace of the steps after the next few, in Chrome's format (chrome://tracing, ui.perfetto.dev)."""
        self._profiler = torch.profiler.profile(
            schedule=torch.profiler.schedule(wait=SKIPPED, warmup=1, active=TRACED, repeat=1),
            on_trace_ready=lambda done: done.export_chrome_trace(str(path)),
        )
        self._profiler.start()

    def begin(self, stage: str) -> None:
        """End the stage before and begin another; one that is not among `STAGES` is not counted."""
        self._marks.append((stage, self._now()))
        if self._profiler is not None:
            self._label_as(stage)

    def _now(self) -> "float | torch.cuda.Event":
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _label_as(self, stage: str | None) -> None:
        if self._label is not None:
            self._label.__exit__(None, None, None)
        self._label = torch.profiler.record_function(stage) if stage else None
        if self._label is not None:
            self._label.__enter__()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """A step is done; the trace counts them."""
        if self._profiler is None:
            return
        self._label_as(None)
        self._profiler.step()
        if self._profiler.step_num > SKIPPED + TRACED:
            self.close()

    def read(self) -> None:
        """Add up the stages that are past; on CUDA the device must have come here."""
        for (stage, begun), (_, ended) in pairwise(self._marks):
            if stage in STAGES:
                self._epoch[stage] = self._epoch.get(stage, 0.0) + _seconds(begun, ended)
        del self._marks[:-1]

    def epoch(self) -> dict[str, float]:
        """Seconds of each stage since the last call of this, as the log names them."""
        found, self._epoch = self._epoch, {}
        for stage, seconds in found.items():
            self._total[stage] = self._total.get(stage, 0.0) + seconds
        return {f"{stage}_seconds": found[stage] for stage in STAGES if stage in found}

    @property
    def total(self) -> Mapping[str, float]:
        """Seconds of each stage in this process, up to the last epoch's end."""
        return self._total

    def close(self) -> None:
        """End a trace that is under way."""
        if self._profiler is not None:
            self._label_as(None)
            self._profiler.stop()
            self._profiler = None


def told(total: Mapping[str, float]) -> str:
    """One line for a person: each stage's share of the steps' time."""
    whole = sum(total.values())
    shares = (f"{stage} {total[stage] / whole:.1%}" for stage in STAGES if stage in total)
    return f"time of the steps: {', '.join(shares)}"


def _seconds(begun: "float | torch.cuda.Event", ended: "float | torch.cuda.Event") -> float:
    if isinstance(begun, float) or isinstance(ended, float):
        assert isinstance(begun, float)
        assert isinstance(ended, float)
        return ended - begun
    return float(begun.elapsed_time(ended)) / 1e3
