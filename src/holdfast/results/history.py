"""History: a training run's log, metrics.jsonl, read back as columns over epochs."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import CheckpointError

STAGES = ("data", "search", "loss", "backward", "optimizer", "logging")  # of an optimizer step, as they follow


@dataclass(frozen=True, eq=False)
class History:
    """Columns over the epochs of a run; a value that an epoch did not log is nan.

    epoch: int64 [E], growing. columns: name -> float64 [E], among them "seconds" (since the start), "loss",
    "clean_accuracy" and "robust_accuracy" (on the held-out part), "adversary_accuracy" (on the training adversary), and
    "data_seconds" and so on, an epoch's time in each of `STAGES`.
    """

    epoch: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.epoch)

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """The column `name`, all nan where the run did not log it."""
        return self.columns.get(name, np.full(len(self.epoch), nan))

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage of the steps, over all epochs; without the stages that the run did not log."""
        known = {stage: self[f"{stage}_seconds"] for stage in STAGES}
        return {stage: float(np.nansum(seconds)) for stage, seconds in known.items() if np.isfinite(seconds).any()}

    @staticmethod
    def read(path: Path) -> "History":
        """Read metrics.jsonl: lines with {"event": "epoch", "epoch": ...}; other events are skipped.

        An epoch that was run again after a restart counts as it went the last time. A last line that a kill cut
        short is dropped. Raises CheckpointError for a missing file and for damage elsewhere.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"cannot read the training log {path}: {error.strerror or error}") from error
        epochs: dict[int, Mapping[str, Any]] = {}
        for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
            try:
                event = json.loads(line)
                if event["event"] == "epoch":
                    epochs[int(event["epoch"])] = event
            except (ValueError, KeyError, TypeError) as error:
                raise CheckpointError(f"line {number} of {path} is no event of a training log ({error})") from error
        return History.of(epochs[epoch] for epoch in sorted(epochs))

    @staticmethod
    def of(events: Iterable[Mapping[str, Any]]) -> "History":
        """Make the columns of epoch events, whose epochs must grow; all their numbers become columns."""
        rows = list(events)
        names = {name: None for row in rows for name, value in row.items() if _is_number(value) and name != "epoch"}
        columns = {
            name: np.array([row[name] if _is_number(row.get(name)) else nan for row in rows], dtype=np.float64)
            for name in names
        }
        return History(np.array([int(row["epoch"]) for row in rows], dtype=np.int64), columns)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
