"""CIFAR-10, Linf 8/255: the smallest form that a processor can do, one seed; a GPU may take the long one.

PreAct ResNet-18 of width 8 for three minutes is an epoch or two: enough to see whether a method learns, and to compare
what methods make of the same time, far from the papers' accuracies.
"""

from dataclasses import replace

from benchmarks.claims.claim import Claim, Setting

from holdfast.attacks import FGSMRS, PGD
from holdfast.comparison import Contender
from holdfast.methods import ATLAS, FGSMRSAT, PGDAT
from holdfast.models import PreActResNet18
from holdfast.recipe import Recipe
from holdfast.recipes import recipe

ONE_STEP = FGSMRS(step_size=10 / 8)

MAIN = (
    Contender("one-step ATLAS", ATLAS(inner=ONE_STEP)),
    Contender("one-step ADV", FGSMRSAT(inner=ONE_STEP)),
    Contender("PGD-3 ADV", PGDAT(inner=PGD(steps=3, step_size=0.5))),
    Contender("PGD-10 ADV", PGDAT(inner=PGD(steps=10, step_size=0.25))),
)
CLAIMS = (
    Claim("ATLAS", "One-step ATLAS beats one-step ADV of twice the epochs", "one-step ATLAS", "one-step ADV"),
    Claim("ATLAS", "One-step ATLAS is comparable with multi-step ADV", "one-step ATLAS", "PGD-10 ADV", "comparable"),
    Claim("control", "One-step ATLAS beats ADV of as many passes a step", "one-step ATLAS", "PGD-3 ADV"),
)


def base() -> Recipe:
    """The recipe of ATLAS on a narrow network; its passes are settled by a trial."""
    found = recipe("cifar10", "atlas")
    assert isinstance(found.model, PreActResNet18)
    return replace(found, model=replace(found.model, width=8))


SETTING = Setting("CIFAR-10, Linf 8/255, width 8", base, "3min", 300, 0, 1.0, (0,), MAIN, (), CLAIMS)
