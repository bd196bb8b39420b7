"""What a killed run goes on from: everything that the next step depends on, whole or not at all.

A checkpoint is a folder checkpoints/<step> with model.safetensors, state.pt (optimizer, average, the method's state,
progress; it loads with `weights_only=True`) and record.json, which is written last and holds the others' hashes: a
folder without record was never finished, one whose hashes differ is damaged. Noise is keyed by (seed, example, epoch),
so no generator's state belongs to it. Two are kept.
"""

import hashlib
import io
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from holdfast.errors import CheckpointError, HoldfastError
from holdfast.files import write_atomically

SCHEMA = "holdfast.checkpoint/1"
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A run at a moment.

    Attributes:
        step: optimizer steps done.
        weights: of the model in training, as safetensors.
        state: everything else, in types that torch loads without unpickling: tensors, containers, numbers, text.
        place: the folder it was read from.
    """

    step: int
    weights: bytes
    state: dict[str, Any]
    place: Path | None = None


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: where they lie.
        run: identity of the run; a checkpoint of another one is refused.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then drop all but the newest two.

        Raises:
            HoldfastError: the disk refuses; the checkpoints before it are untouched.
        """
        place = self._folder / f"{checkpoint.step:09d}"
        buffer = io.BytesIO()
        torch.save(checkpoint.state, buffer)
        files = {"model.safetensors": checkpoint.weights, "state.pt": buffer.getvalue()}
        record = {
            "schema": SCHEMA,
            "run": self._run,
            "step": checkpoint.step,
            "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        }
        self._remove(place)
        try:
            for name, content in files.items():
                write_atomically(place / name, content)
            write_atomically(place / "record.json", json.dumps(record, indent=2).encode())
        except HoldfastError:
            self._remove(place)
            raise
        for old in self._places()[:-KEPT]:
            self._remove(old)

    def load(self, note: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if the run was killed before its first one.

        Args:
            note: told about each newer one that is refused.

        Raises:
            CheckpointError: there are checkpoints, and all are damaged or foreign; the message holds each one's fault.
        """
        faults = []
        for place in reversed(self._places()):
            try:
                found = self._read(place)
            except CheckpointError as error:
                faults.append(str(error))
                continue
            for fault in faults:
                note(f"{fault}; going on from the one before it, at step {found.step}")
            return found
        if faults:
            raise CheckpointError(
                "; ".join(faults) + ". No whole checkpoint is left to go on from: start a new run in another folder"
            )
        return None

    def _read(self, place: Path) -> Checkpoint:
        try:
            record = json.loads((place / "record.json").read_bytes())
            weights, state = ((place / name).read_bytes() for name in ("model.safetensors", "state.pt"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"checkpoint {place} cannot be read ({error})") from error
        if not isinstance(record, dict) or record.get("schema") != SCHEMA:
            raise CheckpointError(f"checkpoint {place} was not written by this version of Holdfast")
        if record.get("run") != self._run:
            raise CheckpointError(f"checkpoint {place} belongs to another run")
        hashes = {"model.safetensors": weights, "state.pt": state}
        for name, content in hashes.items():
            if hashlib.sha256(content).hexdigest() != record["sha256"].get(name):
                raise CheckpointError(f"checkpoint {place} is damaged: {name} is cut short or changed")
        try:
            loaded = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"checkpoint {place} is foreign: state.pt does not load ({error})") from error
        return Checkpoint(int(record["step"]), weights, loaded, place)

    def _places(self) -> list[Path]:
        """Finished checkpoints, oldest first."""
        return sorted(record.parent for record in self._folder.glob("*/record.json"))

    def sweep(self, step: int) -> None:
        """Remove what a kill left unfinished, and what was refused: everything beyond the `step` that the run goes on
        from."""
        finished = set(self._places())
        for place in self._folder.glob("*"):
            if place not in finished or int(place.name) > step:
                self._remove(place)

    @staticmethod
    def _remove(place: Path) -> None:
        # The record first: a folder that a kill leaves half removed must not look finished.
        (place / "record.json").unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)
