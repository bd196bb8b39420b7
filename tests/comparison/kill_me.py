"""Compare until somebody kills this process. Run by test_kill_compare.py: kill_me.py FOLDER WHERE."""

import sys
import time
from pathlib import Path

import torch

from holdfast.attacks import FGSM, PGD
from holdfast.comparison import compare, runs
from holdfast.data.digits import Digits
from holdfast.evaluation import Protocol, evaluate
from holdfast.methods import FGSMRSAT, Natural
from holdfast.models import MLP
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.results import Comparison
from holdfast.threat import Linf
from holdfast.training.trainer import Trainer

BASE = Recipe(
    Natural(),
    Linf(0.1),
    Digits(),
    MLP(hidden=(16,)),
    Adam(lr=1e-2),
    OneCycle(),
    epochs=1,
    batch_size=200,
    precision="float32",
    channels_last=False,
    compile=False,
)
METHODS = {"natural": Natural(), "fgsm_rs": FGSMRSAT()}
ATTACKS = Protocol("brief", "1", (FGSM(), PGD(steps=2)))
# Where to be killed, and how many trials, methods and seeds it takes to get there.
ASKED = {
    "evaluations": (0, ("natural", "fgsm_rs"), (0, 1)),
    "runs/fgsm_rs-s0": (0, ("fgsm_rs",), (0,)),
    "tuning/fgsm_rs/001/run": (2, ("fgsm_rs",), (0,)),
}


def ask(out: Path, where: str) -> Comparison:
    trials, labels, seeds = ASKED[where]
    methods = {label: METHODS[label] for label in labels}
    options = {"attacks": ATTACKS, "n": 60, "device": "cpu", "progress": False}
    return compare(methods, BASE, "passes:6", out, seeds=seeds, trials=trials, **options)  # type: ignore[arg-type]


def dawdle() -> None:
    """Here the process is killed."""
    print("kill me", flush=True)
    time.sleep(600)


def never_end_the_third_evaluation() -> None:
    calls = 0

    def evaluated(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            dawdle()
        return evaluate(*arguments, **options)  # type: ignore[arg-type]

    runs.evaluate = evaluated  # type: ignore[assignment]


def never_end_the_second_epoch(of: str) -> None:
    """It is two steps behind a checkpoint."""
    real = Trainer.after_step

    def after_step(self: Trainer, epoch: int) -> None:
        real(self, epoch)
        if not self.folder.as_posix().endswith(of):
            return
        if self.step == self.per_epoch + 2:
            self.save_checkpoint()
        if self.step == self.per_epoch + 4:
            dawdle()

    Trainer.after_step = after_step  # type: ignore[method-assign]


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, where = sys.argv[1:]
    if where == "evaluations":
        never_end_the_third_evaluation()
    else:
        never_end_the_second_epoch(where)
    ask(Path(folder), where)
