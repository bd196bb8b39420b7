"""A run's folder, and what can be read from it.

recipe.json       the record: recipe, data, versions
source/           copies of the user's own Python files
metrics.jsonl     the log
best/, last/      model.safetensors and record.json: the epoch of the best held-out accuracy, and the last good one;
                  of the averaged weights where there are some
trace.json        a trace of some steps, where it was asked for
checkpoints/      what a killed run goes on from
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn

from holdfast.errors import CheckpointError, unknown
from holdfast.files import write_atomically
from holdfast.recipe import Recipe, codec
from holdfast.results.history import History
from holdfast.training import record, weights
from holdfast.training.log import read_events

Which = Literal["best", "last"]
METRICS, CHECKPOINTS, TENSORBOARD, TRACE = "metrics.jsonl", "checkpoints", "tensorboard", "trace.json"
PARTS = (record.NAME, METRICS, "best", "last", CHECKPOINTS)


@dataclass(frozen=True)
class Run:
    """A training on disk, finished or not.

    Attributes:
        folder: where it lies.
        best: epoch and accuracies of the best checkpoint; empty before the first epoch's end.
        last: the same of the last one.
        outcome: "finished", "collapse" (stopped by catastrophic overfitting) or "unfinished".
    """

    folder: Path
    best: Mapping[str, Any]
    last: Mapping[str, Any]
    outcome: str

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """Read a run's folder.

        Raises:
            CheckpointError: it holds no run.
        """
        folder = Path(folder)
        record.read(folder)
        return cls(folder, _metrics(folder, "best"), _metrics(folder, "last"), ending(folder) or "unfinished")

    @property
    def history(self) -> History:
        """The log, as columns over epochs."""
        return History.read(self.folder / METRICS)

    @property
    def recipe(self) -> Recipe:
        """The recipe, rebuilt from the record.

        Raises:
            CheckpointError: it cannot be, as when its data were tensors in memory.
        """
        return load_recipe(self.folder)

    def load(self, which: Which = "best") -> nn.Module:
        """The trained model, on the CPU, in eval mode.

        Raises:
            CheckpointError: there are no such weights yet, or they are damaged.
        """
        if which not in get_args(Which):
            raise unknown("weights", which, get_args(Which))
        found = record.read(self.folder)
        architecture = codec.decode(found["recipe"]["model"], self.folder / record.SOURCES)
        model: nn.Module = architecture.build(
            tuple(found["data"]["shape"]), len(found["data"]["classes"]), found["recipe"]["seed"]
        )
        path = self.folder / which / "model.safetensors"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be read ({error.strerror or error}); the weights are written at the end of the first "
                "epoch"
            ) from error
        weights.from_bytes(model, content, path)
        return model.eval()


def load_recipe(folder: str | Path) -> Recipe:
    """The recipe of the run in `folder`; see `Run.recipe`."""
    folder = Path(folder)
    recipe = codec.decode(record.read(folder)["recipe"], folder / record.SOURCES)
    if not isinstance(recipe, Recipe):
        raise CheckpointError(f"{folder / record.NAME} holds no recipe")
    return recipe


def load_model(folder: str | Path, which: Which = "best") -> tuple[nn.Module, Recipe]:
    """The trained model of the run in `folder`, on the CPU in eval mode, and its recipe.

    Raises:
        CheckpointError: there is no run, no such weights, or they are damaged or another network's.
    """
    return Run.open(folder).load(which), load_recipe(folder)


def save_weights(folder: Path, which: Which, content: bytes, metrics: Mapping[str, Any]) -> None:
    """Replace best/ or last/; each file is the old one or the new one."""
    write_atomically(folder / which / "model.safetensors", content)
    write_atomically(folder / which / "record.json", (json.dumps(metrics, indent=2) + "\n").encode())


def ending(folder: Path) -> str | None:
    """How the run ended: "finished", "collapse", or None while it can go on."""
    path = folder / METRICS
    events = read_events(path) if path.exists() else []
    reasons = [event["reason"] for event, _ in events if event["event"] == "end"]
    return reasons[-1] if reasons and reasons[-1] != "diverged" else None


def _metrics(folder: Path, which: Which) -> Mapping[str, Any]:
    path = folder / which / "record.json"
    if not path.exists():
        return {}
    try:
        found: Mapping[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
    return found
