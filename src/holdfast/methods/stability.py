"""The two components of ATLAS: stability on a local ball around an adversary, and what joins the balls of S(x).

To first order the cross-entropy at the worst point of the local ball B_rho(x') is CE(x') + rho * ||gradient||_dual. The
three local components are three ways to hold it down; only `WorstPoint` needs no double back-propagation.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from holdfast import losses
from holdfast.attacks import FGSM, NFGSM, From, run
from holdfast.errors import InvalidInput, unknown
from holdfast.methods.base import Progress
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels, Logits, PerExample


def _dual_norm(threat: ThreatModel, gradient: Tensor) -> PerExample:
    """[B] greatest first-order change on a ball of radius 1; differentiable in the gradient."""
    return (gradient * threat.steepest(gradient.detach())).flatten(1).sum(dim=1)


@dataclass(frozen=True)
class LocalComponent(ABC):
    """How the ball around the adversary is made stable.

    Args:
        rho: radius of the local ball, in units of eps; at least 0.
        ramp: share of training, in [0, 1], over which rho rises linearly from 0.

    Raises:
        InvalidInput: rho below 0 or a ramp outside [0, 1].
    """

    rho: float = 2.0 / 3.0
    ramp: float = 0.5

    def __post_init__(self) -> None:
        if self.rho < 0:
            raise InvalidInput(f"rho is {self.rho}, but a radius is at least 0; its unit is eps (try 0.667)")
        if not 0.0 <= self.ramp <= 1.0:
            raise InvalidInput(f"ramp is {self.ramp}, but it is a share of the training and lies in [0, 1]")

    def radius(self, threat: ThreatModel, progress: Progress) -> float:
        """The local ball's radius at this step, in the unit of the inputs."""
        share = min(progress.fraction / self.ramp, 1.0) if self.ramp else 1.0
        return self.rho * share * threat.eps

    @property
    @abstractmethod
    def passes(self) -> float:
        """Passes that this component adds to those of training on the adversary."""

    @abstractmethod
    def point(
        self, threat: ThreatModel, model: Classifier, x: Images, y: Labels, x_adv: Images, radius: float
    ) -> Images:
        """Where the outer loss is taken: the local ball's worst point, or the adversary itself."""

    @abstractmethod
    def loss(self, threat: ThreatModel, logits: Logits, y: Labels, point: Images, radius: float) -> PerExample:
        """The loss at the point; `logits` were computed from `point` with a graph."""


@dataclass(frozen=True)
class WorstPoint(LocalComponent):
    """Cross-entropy at x'' = project(x' + rho * steepest(gradient of CE at x')).

    Args:
        project: bring x'' back to S(x); without, only to the box.
    """

    project: bool = True

    @property
    def passes(self) -> float:
        return 1.0

    def point(
        self, threat: ThreatModel, model: Classifier, x: Images, y: Labels, x_adv: Images, radius: float
    ) -> Images:
        if radius == 0.0:
            return x_adv
        # One more step of the one-step attacks, begun at the adversary; NFGSM is the one that leaves the ball.
        one_step = FGSM if self.project else NFGSM
        attack = one_step(step_size=radius / threat.eps, initial=From(x_adv))
        return run(attack, threat, model, x, y, Noise(torch.zeros_like(y))).x_adv

    def loss(self, threat: ThreatModel, logits: Logits, y: Labels, point: Images, radius: float) -> PerExample:
        return losses.cross_entropy(logits, y)


@dataclass(frozen=True)
class _AtAdversary(LocalComponent):
    """Takes the loss at the adversary itself and differentiates that pass once more, in float32 under any autocast."""

    rho: float = 1.0 / 30.0

    @property
    def passes(self) -> float:
        return 4.0 / 3.0

    def point(
        self, threat: ThreatModel, model: Classifier, x: Images, y: Labels, x_adv: Images, radius: float
    ) -> Images:
        return x_adv.detach().requires_grad_()


@dataclass(frozen=True)
class GradientPenalty(_AtAdversary):
    """CE(x') + rho * ||gradient of CE at x'||_dual: the first-order form, by double back-propagation."""

    def loss(self, threat: ThreatModel, logits: Logits, y: Labels, point: Images, radius: float) -> PerExample:
        value = losses.cross_entropy(logits, y)
        (gradient,) = torch.autograd.grad(value.sum(), point, create_graph=True)
        return value + radius * _dual_norm(threat, gradient)


@dataclass(frozen=True)
class LinearisedMargin(_AtAdversary):
    """Cross-entropy after every wrong logit is raised by rho * ||gradient of the margin at x'||_dual.

    So the prediction is right, to first order, on all of the local ball. Double back-propagation.
    """

    def loss(self, threat: ThreatModel, logits: Logits, y: Labels, point: Images, radius: float) -> PerExample:
        (gradient,) = torch.autograd.grad(losses.margin(logits, y).sum(), point, create_graph=True)
        rise = radius * _dual_norm(threat, gradient)[:, None]
        return losses.cross_entropy(logits + rise.expand_as(logits).scatter(1, y[:, None], 0.0), y)


Distance = Literal["kl", "squared"]


@dataclass(frozen=True)
class GlobalComponent:
    """Ties the prediction at an attacked point to the one at x, which joins the local balls of all adversaries.

    Args:
        beta: weight, at least 0.
        distance: "kl" for KL(p(x) || p(point)), "squared" for the squared distance of the probabilities.
        anchored: p(x) is a target, in the mode of the search and not differentiated, for a third of a pass. Without,
            gradients flow into both predictions, for a whole one. Why the first is the default:
            docs/decisions/0010-what-atlas-spends-its-passes-on.md.
        at_adversary: compare with the adversary x' instead of the local ball's worst point x''; one pass more where
            the two differ.

    Raises:
        InvalidInput: beta below 0 or an unknown distance.
    """

    beta: float = 0.25
    distance: Distance = "kl"
    anchored: bool = True
    at_adversary: bool = False

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise InvalidInput(f"beta is {self.beta}, but a weight is at least 0 (the default is 0.25)")
        if self.distance not in get_args(Distance):
            raise unknown("distance", self.distance, get_args(Distance))

    def __call__(self, clean: Logits, attacked: Logits) -> PerExample:
        if self.distance == "kl":
            return losses.kl(clean, attacked)
        return (clean.softmax(dim=1) - attacked.softmax(dim=1)).square().sum(dim=1)
