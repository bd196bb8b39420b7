"""Compare beside another process of this script on the same folder. Run by test_together.py: meet_me.py FOLDER."""

import os
import sys
import time
from pathlib import Path

import torch
from kill_me import ATTACKS, BASE, METHODS

from holdfast.comparison import compare, runs
from holdfast.evaluation import evaluate
from holdfast.processes import finish
from holdfast.training import Run, train

TIMEOUT = 120.0


def meet(place: Path) -> None:
    """Wait until both are here."""
    (place / f"here-{os.getpid()}").touch()
    end = time.monotonic() + TIMEOUT
    while len(list(place.glob("here-*"))) < 2:
        if time.monotonic() > end:
            raise TimeoutError("the other process did not come")
        time.sleep(0.01)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])

    def trained(recipe: object, out: Path, **options: object) -> Run:
        print("train", out.relative_to(folder), flush=True)
        meet(folder.parent)
        return train(recipe, out, **options)  # type: ignore[arg-type]

    def evaluated(*arguments: object, **options: object) -> object:
        print("evaluate", options["name"], flush=True)
        return evaluate(*arguments, **options)  # type: ignore[arg-type]

    runs.train = trained  # type: ignore[assignment]
    runs.evaluate = evaluated  # type: ignore[assignment]
    options = {"attacks": ATTACKS, "n": 60, "device": "cpu", "progress": False, "trials": 1}
    found = compare(METHODS, BASE, "passes:2", folder, seeds=(0,), **options)  # type: ignore[arg-type]
    print("found", [entrant.robust.mean for entrant in found.entrants if entrant.robust])
    finish(0)  # as the command does
