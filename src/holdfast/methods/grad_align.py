"""GradAlign: align input gradients within S(x) (Andriushchenko and Flammarion, NeurIPS 2020, arXiv:2007.02617;
understanding-fast-adv-training ceed494)."""

from dataclasses import dataclass

import torch
from torch import nn

from holdfast import losses, modes
from holdfast.attacks import FGSM, CrossEntropy, Uniform
from holdfast.attacks.base import evaluate, opening
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, Wrapper, full_precision
from holdfast.methods.fgsm import FGSMAT
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Images, PerExample

_STREAM = 0x616C676E  # keeps the random point apart from the start of the search


@dataclass(frozen=True)
class GradAlign(Wrapper):
    """The loss of any method + weight * (1 - cos(gradient of CE at x, gradient of CE at x + eta)).

    eta is uniform in the ball and not clipped to the box; the gradient at x is a constant. Examples of which one
    gradient is 0 are left out. It keeps FGSM training from catastrophic overfitting. Double back-propagation: 3 1/3
    passes more than the method inside, in float32 under any autocast.

    Deviation from the reference code: the gradient at x has a pass of its own, which moves no running statistics; there
    the gradient of FGSM's own step serves, taken at x, or at the random start of FGSM-RS.

    Args:
        method: whose loss; plain FGSM by default.
        weight: lambda of the paper, at least 0; its scripts for CIFAR-10 take 0.2 at eps 8/255 and 0.02 * 10 ** (n / 8)
            at n/255.

    Raises:
        InvalidInput: weight below 0.
    """

    method: Method = FGSMAT(inner=FGSM(), clean_weight=0.0)
    weight: float = 0.2

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise InvalidInput(f"weight is {self.weight}, but a weight is at least 0; the paper takes 0.2 at 8/255")

    @property
    def differentiates_twice(self) -> bool:
        return True

    @property
    def passes(self) -> float:
        return self.method.passes + 10.0 / 3.0

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        inside = self.method.loss(model, batch, threat, state, progress, noise)
        x, y = batch.x, batch.y
        around = Uniform(clip=False)(threat, x, noise.fold(_STREAM)).requires_grad_()
        with full_precision(x):
            with modes.searching(model, batch_statistics=True, itself=True):
                fixed = evaluate(model, CrossEntropy(), opening(x, y, noise, None, x)).gradient
            total = losses.cross_entropy(model(around), y).sum()
            (gradient,) = torch.autograd.grad(total, around, create_graph=True)
        cosine, counts = cosines(fixed, gradient)
        misaligned = ((1.0 - cosine) * counts).sum() / counts.sum().clamp(min=1.0)
        return Loss(inside.value + self.weight * misaligned, {**inside.parts, "misalignment": misaligned.detach()})


def cosines(first: Images, second: Images) -> tuple[PerExample, PerExample]:
    """[B] cosines between the rows of two [B, ...] tensors, and [B] 1.0 where there is one, 0.0 where a row is 0."""
    a, b = first.flatten(1), second.flatten(1)
    squares = a.square().sum(dim=1) * b.square().sum(dim=1)
    exists = squares > 0
    # The root of 0 has no derivative, and what is left out afterwards must not become nan before.
    lengths = torch.where(exists, squares, 1.0).sqrt()
    return (a * b).sum(dim=1) / lengths, exists.to(a.dtype)
