"""Jacobian regularisation (Hoffman, Roberts and Yaida 2019, arXiv:1908.02729; jacobian_regularizer 32bb044)."""

from dataclasses import dataclass

import torch
from torch import nn

from holdfast import losses
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, full_precision, mean
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Images, Logits, PerExample


@dataclass(frozen=True)
class JacobianRegularisation(Method):
    """CE(x) + weight * 1/2 ||J(x)||_F^2, with J the Jacobian of the logits towards the inputs; no adversary.

    The norm is estimated from n random directions v of the logits, uniform on the unit sphere and drawn for each
    example: K/n * sum ||gradient of <z, v>||^2 for K classes, unbiased because E[v v^T] is the identity over K. One
    pass in train mode serves both terms, so that with BatchNorm an example's "Jacobian" holds terms of its batch, as in
    the reference code. Double back-propagation: 1 + 4/3 passes a direction, in float32 under any autocast.

    The inputs are those of the threat model, in [0, 1]: the reference's example normalises them first, so that its
    weights are larger by the square of the deviation (0.308 on MNIST).

    Args:
        weight: lambda_JR, at least 0; 0.01 in the reference's README.
        projections: n, at least 1; the reference advises fewer than the square root of K. Deviation: no exact norm by K
            of them.

    Raises:
        InvalidInput: weight below 0 or projections below 1.
    """

    weight: float = 0.01
    projections: int = 1

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise InvalidInput(f"weight is {self.weight}, but a weight is at least 0; 0.01 is usual")
        if self.projections < 1:
            raise InvalidInput(f"projections is {self.projections}, but an estimate needs at least 1; 1 is usual")

    @property
    def differentiates_twice(self) -> bool:
        return True

    @property
    def passes(self) -> float:
        return 1.0 + 4.0 / 3.0 * self.projections

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        x = batch.x.detach().requires_grad_()
        with full_precision(x):
            logits = model(x)
            norm = mean(squared_norm(logits, x, self.projections, noise))
        natural = mean(losses.cross_entropy(logits, batch.y))
        return Loss(
            natural + self.weight * 0.5 * norm,
            {
                "natural_loss": natural.detach(),
                "jacobian": norm.detach().sqrt(),
                "clean_accuracy": accuracy(logits, batch.y),
            },
        )


def squared_norm(logits: Logits, x: Images, projections: int, noise: Noise) -> PerExample:
    """[B] ||J||_F^2, estimated from random projections, differentiable once more.

    Args:
        logits: [B, K], computed from `x` with a graph.
        x: inputs that require a gradient.
        projections: directions an example.
        noise: of the directions.
    """
    classes = logits.shape[1]
    total = torch.zeros(len(logits), dtype=logits.dtype, device=logits.device)
    for number in range(projections):
        direction = noise.fold(number).normal((classes,)).to(logits.dtype)
        direction = direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-12)
        (gradient,) = torch.autograd.grad(logits, x, direction, create_graph=True)
        total = total + gradient.flatten(1).square().sum(dim=1)
    return total * (classes / projections)
