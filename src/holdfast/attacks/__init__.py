"""Attacks: searches inside a threat model, one step at a time."""

from holdfast.attacks.apgd import APGD
from holdfast.attacks.apgd_l1 import APGDL1
from holdfast.attacks.ascent import Adam, Rule, Steepest
from holdfast.attacks.base import Attack, State, run
from holdfast.attacks.criteria import (
    DLR,
    Criterion,
    CrossEntropy,
    Divergence,
    LinearityGap,
    Margin,
    Query,
    SoftMargin,
    TargetedDLR,
    TargetedMargin,
)
from holdfast.attacks.external import External
from holdfast.attacks.fab import FAB
from holdfast.attacks.fgsm import FGSM, FGSMRS, NFGSM
from holdfast.attacks.fmn import FMN
from holdfast.attacks.initial import From, Gaussian, Initial, Sphere, Uniform, Zero
from holdfast.attacks.multi_targeted import MultiTargeted
from holdfast.attacks.pgd import PGD
from holdfast.attacks.spsa import SPSA
from holdfast.attacks.square import Square
from holdfast.attacks.tape import Tape
from holdfast.attacks.transfer import Transfer
from holdfast.attacks.whole import Whole

__all__ = [
    "APGD",
    "APGDL1",
    "DLR",
    "FAB",
    "FGSM",
    "FGSMRS",
    "FMN",
    "NFGSM",
    "PGD",
    "SPSA",
    "Adam",
    "Attack",
    "Criterion",
    "CrossEntropy",
    "Divergence",
    "External",
    "From",
    "Gaussian",
    "Initial",
    "LinearityGap",
    "Margin",
    "MultiTargeted",
    "Query",
    "Rule",
    "SoftMargin",
    "Sphere",
    "Square",
    "State",
    "Steepest",
    "Tape",
    "TargetedDLR",
    "TargetedMargin",
    "Transfer",
    "Uniform",
    "Whole",
    "Zero",
    "run",
]
