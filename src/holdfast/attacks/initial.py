"""Where a search begins."""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import L2, Linf, ThreatModel, rows
from holdfast.typing import Images


class Initial(Protocol):
    """Chooses the first point of a search."""

    def __call__(self, threat: ThreatModel, x: Images, noise: Noise) -> Images: ...


@dataclass(frozen=True)
class Zero:
    """The clean input itself."""

    def __call__(self, threat: ThreatModel, x: Images, noise: Noise) -> Images:
        return x


@dataclass(frozen=True)
class From:
    """Points that the caller has, for example another attack's adversaries; row i of a search begins at row i."""

    points: Images

    def __call__(self, threat: ThreatModel, x: Images, noise: Noise) -> Images:
        return self.points


@dataclass(frozen=True)
class Uniform:
    """Uniform in the ball of `scale` times eps.

    Args:
        scale: of the ball, in units of eps.
        clip: to the box. Without, the first gradient may be taken outside the box, as in fast_adversarial's MNIST
            script: where most pixels lie on the box, the steps then end at many more different points (and less of the
            training falls to catastrophic overfitting).
    """

    scale: float = 1.0
    clip: bool = True

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise InvalidInput(f"scale is {self.scale}, but a random start needs one above 0; use Zero() for none")

    def __call__(self, threat: ThreatModel, x: Images, noise: Noise) -> Images:
        ball = threat if self.scale == 1.0 else threat.scaled(self.scale)
        if not self.clip:
            ball = replace(ball, low=-math.inf, high=math.inf)
        return ball.sample(x, noise)


@dataclass(frozen=True)
class Gaussian:
    """x + deviation * N(0, 1), neither projected nor clipped before the first step, as TRADES and MART begin.

    Args:
        deviation: in the unit of the inputs (0.001 in the reference codes).
    """

    deviation: float = 0.001

    def __call__(self, threat: ThreatModel, x: Images, noise: Noise) -> Images:
        return x + self.deviation * noise.normal(x.shape[1:]).to(x.dtype)


@dataclass(frozen=True)
class Sphere:
    """A random point that touches the ball's surface, then clipped to the box: APGD's start (auto-attack a392200)."""

    def __call__(self, threat: ThreatModel, x: Images, noise: Noise) -> Images:
        if isinstance(threat, Linf):
            move = noise.uniform(x.shape[1:], -1.0, 1.0)
            move = move / rows(move.flatten(1).abs().amax(dim=1), x)
            return (x + threat.eps * move.to(x.dtype)).clamp_(threat.low, threat.high)
        move = noise.normal(x.shape[1:])
        if isinstance(threat, L2):
            return (x + threat.eps * threat.steepest(move).to(x.dtype)).clamp_(threat.low, threat.high)
        return threat.project(x, x + move.to(x.dtype))


def check_start(x: Images, threat: ThreatModel) -> None:
    """Refuse inputs outside the threat model's box; costs a synchronisation, so drivers call it once a data set."""
    low, high = (value.item() for value in torch.aminmax(x))
    slack = 1e-6 * (threat.high - threat.low)
    if not (low >= threat.low - slack and high <= threat.high + slack):
        raise InvalidInput(
            f"inputs lie in [{low:.4g}, {high:.4g}], outside the threat model's box [{threat.low:g}, {threat.high:g}]; "
            "give unnormalised inputs and put the normalisation into the model (holdfast.models.Normalize)"
        )
