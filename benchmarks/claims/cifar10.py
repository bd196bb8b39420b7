"""CIFAR-10, Linf 8/255: a small form that a processor can do, two seeds; a GPU may take the long one.

PreAct ResNet-18 of width 8 for four minutes is an epoch or a few: enough to see whether a method learns, and to compare
what methods make of the same time, far from the papers' accuracies. No numbers were searched: all have their defaults.
"""

from dataclasses import replace

from benchmarks.claims.claim import Claim, Setting

from holdfast.attacks import FGSMRS, PGD
from holdfast.comparison import Contender
from holdfast.methods import ATLAS, FGSMRSAT, PGDAT, TRADES
from holdfast.models import PreActResNet18
from holdfast.recipe import Recipe
from holdfast.recipes import recipe

ONE_STEP = FGSMRS(step_size=10 / 8)

MAIN = (
    Contender("one-step ATLAS", ATLAS(inner=ONE_STEP)),
    Contender("one-step ADV", FGSMRSAT(inner=ONE_STEP)),
    Contender("PGD-3 ADV", PGDAT(inner=PGD(steps=3, step_size=0.5))),
    Contender("PGD-10 ADV", PGDAT(inner=PGD(steps=10, step_size=0.25))),
    Contender("TRADES-10", TRADES(inner=PGD(steps=10, step_size=0.25, initial=TRADES().inner.initial))),
)
CLAIMS = (
    Claim("ATLAS", "One-step ATLAS beats one-step ADV", "one-step ATLAS", "one-step ADV"),
    Claim("ATLAS", "One-step ATLAS is comparable with multi-step ADV", "one-step ATLAS", "PGD-10 ADV", "comparable"),
    Claim("ATLAS", "One-step ATLAS is comparable with TRADES", "one-step ATLAS", "TRADES-10", "comparable"),
    Claim("control", "One-step ATLAS beats ADV of a few more passes a step", "one-step ATLAS", "PGD-3 ADV"),
)


def base() -> Recipe:
    """The recipe of ATLAS on a narrow network; its passes are settled by a trial."""
    found = recipe("cifar10", "atlas")
    assert isinstance(found.model, PreActResNet18)
    return replace(found, model=replace(found.model, width=8))


SETTING = Setting("CIFAR-10, Linf 8/255, width 8", base, "4min", 500, 0, 1.0, (0, 1), MAIN, (), CLAIMS)
