"""A training's own account: its clock, its log and what it says to a person."""

import time
from collections.abc import Mapping
from math import ceil
from pathlib import Path

from holdfast.processes import Processes
from holdfast.training.log import Log
from holdfast.training.meter import Row, mean
from holdfast.training.progress import Display, duration
from holdfast.training.watch import Collapse


class Journal:
    """Times the training and tells about it; processes other than the first only keep the time.

    Seconds count while a process trains, validates or saves, over all restarts of the run; work that a kill undid is
    not counted. "training_seconds" and "cpu_seconds" are those of the steps alone, on the wall's clock and on the
    processor's (all threads of this process): on a machine that others use too, only the latter can be compared.

    Args:
        processes: this process is one of them.
        steps: of the whole training.
        steps_per_epoch, batch_size: of the training.
        progress: talk to a person too.
    """

    def __init__(self, processes: Processes, steps: int, steps_per_epoch: int, batch_size: int, progress: bool) -> None:
        self._first = processes.first
        self._total = steps
        self._steps = steps_per_epoch
        self._batch_size = batch_size
        self.display = Display(progress and processes.first, ceil(steps / steps_per_epoch))
        self._log: Log | None = None
        self._begun = time.monotonic()
        self._mark = _clocks()
        self._spent = 0.0, 0.0  # in all steps so far
        self._training = 0.0  # seconds of this epoch's steps
        self._told = False

    def open(self, path: Path, step: int, tensorboard: Path | None) -> None:
        """Open the log of a run that has done `step` steps."""
        if self._first:
            self._log = Log(path, step, tensorboard)
        self._mark = _clocks()

    def begin_epoch(self, epoch: int, step: int) -> None:
        """Open the bar of an epoch at one of its steps."""
        self.display.begin(epoch, step, self._steps_of(epoch))
        self.lap()

    def _steps_of(self, epoch: int) -> int:
        """The last epoch may be a part of one."""
        return min(self._steps, self._total - epoch * self._steps)

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._begun

    def lap(self) -> tuple[float, float]:
        """Seconds since the last lap, on the wall's clock and on the processor's."""
        before, self._mark = self._mark, _clocks()
        return self._mark[0] - before[0], self._mark[1] - before[1]

    def steps(self, rows: Mapping[int, Row], epoch: int, step: int, setting: Row) -> None:
        """Tell about the steps since the last time, of which `step` is the last; `setting` is the last one's."""
        lap, cpu = self.lap()
        self._training += lap
        self._spent = self._spent[0] + lap, self._spent[1] + cpu
        done = (step - 1) % self._steps + 1
        left = self._training / done * (self._total - step)
        values = {**mean(rows), **setting, "examples_per_second": len(rows) * self._batch_size / lap}
        self._write("step", {"epoch": epoch, "step": step, **values, "seconds": self.seconds})
        self.display.show(values, left)
        if not self._told:
            self.display.say(f"about {duration(self.seconds + left)} in all, validation not counted")
            self._told = True

    def epoch(self, epoch: int, step: int, values: Row) -> None:
        """Tell about an epoch and its validation, which took the time since the last lap."""
        validation, _ = self.lap()
        done, left = self._steps_of(epoch), self._total - step
        times = {
            "seconds": self.seconds,
            "training_seconds": self._spent[0],
            "cpu_seconds": self._spent[1],
            "validation_seconds": validation,
            "seconds_left": self._training / done * left + validation * ceil(left / self._steps),
            "examples_per_second": done * self._batch_size / self._training,
        }
        event = {"epoch": epoch, "step": step, **values, **times}
        self._write("epoch", event)
        self.display.epoch(event)
        self._training = 0.0

    def collapse(self, collapse: Collapse, step: int, advice: str) -> None:
        """Tell about catastrophic overfitting."""
        self._write("collapse", {"epoch": collapse.epoch, "step": step, "message": str(collapse)})
        self.display.say(f"{collapse} {advice}")

    def end(self, reason: str, step: int) -> None:
        """Write the last line: "finished", "collapse" or "diverged"."""
        self._write("end", {"step": step, "reason": reason, "seconds": self.seconds})
        self.flush()

    def _write(self, event: str, values: Mapping[str, object]) -> None:
        if self._log:
            self._log.write(event, values)

    def flush(self) -> None:
        """Bring the log to the disk."""
        if self._log:
            self._log.flush()

    def close(self) -> None:
        """Let go of the log and the bar."""
        self.display.end()
        if self._log:
            self._log.close()

    def state_dict(self) -> dict[str, float]:
        """The clocks."""
        wall, cpu = self._spent
        return {"seconds": self.seconds, "training": self._training, "training_seconds": wall, "cpu_seconds": cpu}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on with the clocks of an earlier process."""
        self._begun = time.monotonic() - state["seconds"]
        self._training = state["training"]
        self._spent = state["training_seconds"], state["cpu_seconds"]


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()
