"""What a killed evaluation must not lose besides its verdicts: adversaries for the gallery, and what attacks have
cost."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np

from holdfast.evaluation.examples import Examples
from holdfast.evaluation.packing import Decision
from holdfast.files import write_atomically
from holdfast.results import Gallery, Passes


class GalleryStore:
    """Adversaries of a few chosen examples, one small file each, written as they are found.

    Args:
        folder: where the files go.
        chosen: positions of the examples.
    """

    def __init__(self, folder: Path, chosen: Sequence[int]) -> None:
        self.folder, self.chosen = folder, list(chosen)

    def offer(self, attack: str, decisions: Sequence[Decision]) -> None:
        """Keep what these decisions say of chosen examples; a later attack's candidate replaces an earlier one's."""
        for decision in decisions:
            if decision.example in self.chosen:
                buffer = BytesIO()
                np.savez(buffer, attack=np.array(attack), x_adv=decision.x_adv.float().cpu().numpy())
                write_atomically(self._path(decision.example), buffer.getvalue())

    def gallery(self, examples: Examples) -> Gallery:
        """All chosen examples; those that no attack tried are shown as they are."""
        x = examples.rows(self.chosen)[0].cpu().numpy()
        x_adv, attacks = x.copy(), []
        for row, example in enumerate(self.chosen):
            path = self._path(example)
            attacks.append("")
            if path.exists():
                with np.load(path) as kept:
                    x_adv[row], attacks[row] = kept["x_adv"], str(kept["attack"])
        return Gallery(np.array(self.chosen), x, x_adv, tuple(attacks))

    def _path(self, example: int) -> Path:
        return self.folder / f"{example}.npz"


class Costs:
    """Passes of each attack and seconds in all, summed over the runs that an evaluation took.

    Args:
        path: JSON file, read if it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        stored = json.loads(path.read_text()) if path.exists() else {}
        self.seconds = float(stored.get("seconds", 0.0))
        self.passes = {name: Passes(**passes) for name, passes in stored.get("passes", {}).items()}

    def add(self, attack: str, spent: Passes) -> None:
        """Add to an attack's passes and to the seconds, and write them down."""
        self.passes[attack] = self.passes.get(attack, Passes(0, 0)) + spent
        self.seconds += spent.seconds
        passes = {name: asdict(passes) for name, passes in self.passes.items()}
        write_atomically(self.path, json.dumps({"seconds": self.seconds, "passes": passes}).encode())
