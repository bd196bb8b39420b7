"""CURE: curvature regularisation (Moosavi-Dezfooli, Fawzi, Uesato and Frossard, CVPR 2019, arXiv:1811.09716;
CURE_robustness daeef24)."""

from dataclasses import dataclass

import torch
from torch import nn

from holdfast import losses, modes
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, full_precision, mean
from holdfast.noise import Noise
from holdfast.threat import ThreatModel, rows
from holdfast.typing import Images, Labels


@dataclass(frozen=True)
class CURE(Method):
    """CE(x) + weight * ||gradient of CE at x + z - gradient of CE at x||_2, with z = h * s / ||s||_2 and s the sign of
    the gradient at x; no adversary.

    The difference of gradients is the curvature along z, in finite form, of each example's own loss (a batch mean's
    would be smaller by the batch size). z is a constant, and x + z is not clipped. The regulariser's passes are in eval
    mode, the one of CE in train mode and before them. Double back-propagation: 5 2/3 passes, in float32 under any
    autocast.

    Deviations from the reference code: one pass gives the gradient at x for z and for the difference, the same values
    in eval mode at one pass less; in place of z + 1e-7 over a norm + 1e-7, coordinates with a gradient of 0 stay. Of
    the paper, as far as known to us: it squares the norm (`squared`). The reference starts from a naturally trained
    network; `begin` trains one first. Its inputs are divided by deviations of about 0.2, ours lie in [0, 1]: its weight
    of 4 is 0.8 here, and its h of 3 is 0.6.

    Args:
        weight: of the regulariser, at least 0.
        h: length of z in L2, in the unit of the inputs; above 0.
        begin: share of the training, in [0, 1], before the regulariser comes in.
        ramp: share of the training, after that, over which h rises linearly from 0.
        squared: penalise the square of the norm.

    Raises:
        InvalidInput: weight below 0, an h that is not above 0, or a begin or ramp outside [0, 1].
    """

    weight: float = 0.8
    h: float = 0.6
    begin: float = 0.0
    ramp: float = 1.0 / 3.0
    squared: bool = False

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise InvalidInput(f"weight is {self.weight}, but a weight is at least 0; 0.8 is usual")
        if self.h <= 0:
            raise InvalidInput(f"h is {self.h}, but a finite difference needs a length above 0; try 0.6")
        for name in ("begin", "ramp"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInput(f"{name} is {getattr(self, name)}, but it is a share of the training in [0, 1]")

    @property
    def differentiates_twice(self) -> bool:
        return True

    @property
    def passes(self) -> float:
        return 1.0 + 2.0 * (1.0 + 4.0 / 3.0)

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        x, y = batch.x, batch.y
        logits = losses.precise(model(x))
        natural = mean(losses.cross_entropy(logits, y))
        parts = {"natural_loss": natural.detach(), "clean_accuracy": accuracy(logits, y)}
        done = progress.fraction - self.begin
        if done < 0:
            return Loss(natural, parts)
        # Half a step ahead, so that the first step has a length.
        share = min((done + 0.5 / progress.steps) / self.ramp, 1.0) if self.ramp else 1.0
        with modes.inference(model), full_precision(x):
            here = _gradient(model, x, y)
            sign = here.detach().sign()
            length = rows(sign.flatten(1).norm(dim=1).clamp(min=1.0), x)
            there = _gradient(model, x + self.h * share * sign / length, y)
        difference = (there - here).flatten(1).square().sum(dim=1)
        curvature = mean(difference if self.squared else _root(difference))
        return Loss(natural + self.weight * curvature, {**parts, "curvature": curvature.detach()})


def _gradient(model: nn.Module, x: Images, y: Labels) -> Images:
    """Each example's gradient of the cross-entropy, with its graph."""
    point = x.detach().requires_grad_()
    total = losses.cross_entropy(model(point), y).sum()
    (gradient,) = torch.autograd.grad(total, point, create_graph=True)
    return gradient


def _root(squares: torch.Tensor) -> torch.Tensor:
    """Square roots whose derivative at 0 is 0, as that of torch's norm."""
    exists = squares > 0
    return torch.where(exists, torch.where(exists, squares, 1.0).sqrt(), 0.0)
