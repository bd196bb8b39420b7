"""Compare until somebody kills this process. Run by test_kill_compare.py."""

import sys
import time

import torch

from holdfast.attacks import FGSM, PGD
from holdfast.comparison import compare, runs
from holdfast.data.digits import Digits
from holdfast.evaluation import Protocol, evaluate
from holdfast.methods import FGSMRSAT, Natural
from holdfast.models import MLP
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.threat import Linf

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


def ask(out: str) -> object:
    return compare(METHODS, BASE, "passes:6", out, seeds=(0, 1), attacks=ATTACKS, n=60, device="cpu", progress=False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    calls = 0

    def dawdle(*arguments: object, **options: object) -> object:
        """The third evaluation never comes to its end."""
        global calls
        calls += 1
        if calls == 3:
            print("in the third evaluation", flush=True)
            time.sleep(600)
        return evaluate(*arguments, **options)  # type: ignore[arg-type]

    runs.evaluate = dawdle  # type: ignore[assignment]
    ask(sys.argv[1])
