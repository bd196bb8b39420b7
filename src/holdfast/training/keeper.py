"""What of a training is kept on disk, and when: the best and the last weights, and checkpoints."""

import time
from pathlib import Path
from typing import Any

from torch import nn

from holdfast.training import weights
from holdfast.training.checkpoint import Checkpoint, Checkpoints
from holdfast.training.meter import Row
from holdfast.training.run import Which, save_weights

# Making files durable takes a tenth of a second on a slow disk; epochs that end within this many seconds of the last
# save wait for the next one. A kill costs no more than that much work.
AT_LEAST = 1.0


class Keeper:
    """Writes the files of a run, if this process is the one that does.

    Args:
        folder: of the run.
        checkpoints: where the run goes on from.
        seconds: time between checkpoints within an epoch.
        writes: this process writes; the others only know what is best.
    """

    def __init__(self, folder: Path, checkpoints: Checkpoints, seconds: float, writes: bool) -> None:
        self._folder = folder
        self._checkpoints = checkpoints
        self._seconds = seconds
        self._writes = writes
        self._saved = time.monotonic()
        self._waiting: dict[Which, tuple[bytes, dict[str, Any]]] = {}
        self.best: dict[str, Any] = {}

    def sweep(self, step: int) -> None:
        """Remove what a kill left half-written, and checkpoints beyond the `step` that the run goes on from."""
        if not self._writes:
            return
        self._checkpoints.sweep(step)
        for part in self._folder.rglob(".*.part"):
            part.unlink()

    def take(self, model: nn.Module, epoch: int, step: int, values: Row) -> None:
        """Take the weights of an epoch as the last, and as the best if they are; they wait for the next save.

        The best epoch has the highest robust accuracy on the held-out part, the later one of equals. Of a method
        without an adversary of its own (natural training, regularisers) it has the highest mean of clean and robust
        accuracy: the latter alone is near 0 for some, and chance would choose.
        """
        metrics = {name: values[name] for name in ("clean_accuracy", "robust_accuracy")}
        adversarial = "adversary_accuracy" in values
        score = metrics["robust_accuracy"] if adversarial else sum(metrics.values()) / 2
        best = score >= self.best.get("score", 0.0)
        if best:
            self.best = {"epoch": epoch, "step": step, "score": score, **metrics}
        if self._writes:
            content = weights.to_bytes(model), {"epoch": epoch, "step": step, **metrics}
            self._waiting["last"] = content
            if best:
                self._waiting["best"] = content

    def due(self, epoch_ends: bool) -> bool:
        """It is time for a checkpoint, and this process writes it."""
        wait = min(AT_LEAST, self._seconds) if epoch_ends else self._seconds
        return self._writes and time.monotonic() - self._saved >= wait

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the waiting weights, then the checkpoint, which relies on them.

        Raises:
            HoldfastError: the disk refuses; what was there before is whole.
        """
        self.write_weights()
        self._checkpoints.save(checkpoint)
        self._saved = time.monotonic()

    def write_weights(self) -> None:
        """Write best/ and last/ if they wait."""
        for which, (content, metrics) in self._waiting.items():
            save_weights(self._folder, which, content, metrics)
        self._waiting.clear()
