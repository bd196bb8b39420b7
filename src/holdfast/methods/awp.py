"""AWP: adversarial weight perturbation (Wu, Xia and Wang, NeurIPS 2020, arXiv:2004.05884; AWP a7acf5d)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast import modes, processes
from holdfast.attacks import Tape
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, Wrapper
from holdfast.methods.pgd_at import PGDAT
from holdfast.noise import Noise
from holdfast.threat import ThreatModel


@dataclass(frozen=True)
class AWP(Wrapper):
    """The loss of any method at the weights w + v, v one step up that loss, per layer of length gamma * ||w||.

    v_l = gamma * ||w_l|| * g_l / ||g_l||, with g the gradient of the method's loss at w (the length of the reference's
    proxy step cancels). The adversaries are found at w and serve both times; running statistics, and a method's
    state, move in the second alone. With PGD-10 it costs 12 passes in place of 11.

    Weights are not written to: the loss's graph holds w + v and leads to w, so an interrupted step leaves them as they
    were. Several processes climb along their common gradient; of a batch in parts each part has a v of its own.

    Deviations from the reference code: weight decay acts on w, there on w + v; all weights with more than one dimension
    are perturbed, there those with "weight" in their names, the same ones in its networks.

    Args:
        method: whose loss; TRADES gives TRADES-AWP.
        gamma: length of v relative to the weights, at least 0: 0.01 around PGD and 0.005 around TRADES in the reference
            code.
        warmup: share of the training, in [0, 1), before the weights are perturbed: 10 of 200 epochs around TRADES.
            `passes` are those of the time after it.

    Raises:
        InvalidInput: gamma below 0 or a warmup outside [0, 1).
    """

    method: Method = PGDAT()
    gamma: float = 0.01
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise InvalidInput(f"gamma is {self.gamma}, but a length is at least 0; 0.01 and 0.005 are usual")
        if not 0.0 <= self.warmup < 1.0:
            raise InvalidInput(f"warmup is {self.warmup}, but it is a share of the training in [0, 1)")

    @property
    def passes(self) -> float:
        return 2.0 * self.method.passes - self.method.search_passes

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        arguments = (batch, threat, state, progress, noise)
        if progress.fraction < self.warmup:
            return self.method.loss(model, *arguments)
        tape = Tape()
        with tape.recording(), _undone(model), _undone(state or nn.Module()):
            perturbed = self._perturbed(model, self.method.loss(model, *arguments).value)
        with tape.replaying(), modes.substituted(model, perturbed):
            return self.method.loss(model, *arguments)

    def _perturbed(self, model: nn.Module, value: Tensor) -> dict[Tensor, Tensor]:
        """Each weight with what stands for it; the gradient flows back to the weight as if nothing had been added."""
        weights = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
        gradients = torch.autograd.grad(value, weights, allow_unused=True)
        found: dict[Tensor, Tensor] = {}
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                direction = processes.summed(gradient)
                length = self.gamma * weight.detach().norm() / direction.norm().clamp(min=1e-20)
                found[weight] = weight + length * direction
        return found


@contextmanager
def _undone(module: nn.Module) -> Iterator[None]:
    """Give the buffers their values back afterwards."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)
