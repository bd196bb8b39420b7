"""The adversaries that the diagnostics look at: one search, the same for all of them."""

from torch import Tensor

from holdfast.attacks import PGD, run
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels

SEARCH = PGD(steps=20, step_size=0.125)

_STREAM = 0x61647665


def adversaries(model: Classifier, threat: ThreatModel, x: Images, y: Labels, seed: int, index: Tensor) -> Images:
    """PGD-20 of 2.5 eps / 20 on cross-entropy from a uniform start: [B, ...] points of S(x).

    Args:
        index: [B] int64 positions of the examples; with the seed they decide the starts.
    """
    return run(SEARCH, threat, model, x, y, Noise.of(seed, index, _STREAM)).x_adv
