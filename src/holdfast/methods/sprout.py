"""SPROUT: self-progressing robust training (Cheng, Chen, Liu, Chang, Hsieh and Das, AAAI 2021, arXiv:2012.11769,
Algorithm 1; SPROUT 26817a2)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast import losses
from holdfast.dirichlet import dirichlet
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, Task, accuracy, mean
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Logits, PerExample

FLOOR = 1e-3  # least concentration: ours, because a Dirichlet distribution has none at the release's 0
_NOISE, _ORDER, _PARTNER, _MIX, _LABELS, _OTHERS = range(6)


class LabelDistribution(nn.Module):
    """What SPROUT learns of the labels: a vector beta, added to every label's concentrations. 1 at first."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(classes))


@dataclass(frozen=True)
class SPROUT(Method):
    """Cross-entropy with learned random labels, on noisy mixtures of images; no attack; 1 pass.

        x'  = x + sigma * N(0, 1), not clipped
        x'' = l * x'_i + (1 - l) * x'_j,  y'' = l * y_i + (1 - l) * y_j        l of Beta(mixup, mixup), once a batch
        y~  = a sample of Dirichlet(concentration * y'' + beta)
        loss = -<y~, log p(x'')>                              descended by the weights, climbed by beta

    beta (K numbers, the method's state) takes the optimizer's steps upwards, with the learning rate, momentum and decay
    of the weights, as in the release. In the paper's terms alpha is 10/11 for a concentration of 10; its own alpha and
    rate of beta are not known to us. With beta at 1 the true class of 10 has 0.55 of the mass.

    `weight_steps=3` is the release's loop, which is not the paper's Algorithm 1: on each batch three steps of the
    weights alone, with fresh noise, mixtures and labels, a label drawn for either image of a mixture; then a step of
    beta alone, on the clean batch, whose forward pass moves BatchNorm's running averages. The graph of that pass, which
    the release makes and throws away, is left out.

    Deviations: concentrations are at least 0.001; the release makes its optimizers anew when the rate drops, and so
    forgets their momentum. Of several processes each mixes the examples of its own part.

    Robust accuracy from smooth labels alone can be an illusion of weak attacks: evaluate with AutoAttack and transfer.

    Args:
        sigma: deviation of the noise, in the unit of the inputs; 0 switches it off.
        mixup: parameter of the Beta distribution; 0 switches mixing off.
        label_smoothing: draw labels; otherwise they are the given ones.
        concentration: of the true class, above 0.
        weight_steps: 0 for Algorithm 1; otherwise the steps of the weights on each batch, 3 in the release.

    Raises:
        InvalidInput: sigma, mixup or weight_steps below 0, or a concentration that is not above 0.
    """

    sigma: float = 0.1
    mixup: float = 0.2
    label_smoothing: bool = True
    concentration: float = 10.0
    weight_steps: int = 0

    def __post_init__(self) -> None:
        for name, published in (("sigma", 0.1), ("mixup", 0.2), ("weight_steps", 3)):
            if getattr(self, name) < 0:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)}, but it is at least 0, and 0 switches it off; the authors' code "
                    f"has {published}"
                )
        if self.concentration <= 0:
            raise InvalidInput(f"concentration is {self.concentration}, but it is above 0; the authors' code has 10")

    @property
    def replays(self) -> int:
        return self.weight_steps + self.label_smoothing if self.weight_steps else 1

    @property
    def passes(self) -> float:
        forward_alone = self.replays - self.weight_steps if self.weight_steps else 0
        return 1.0 - 2.0 / 3.0 * forward_alone / self.replays

    def init(self, model: nn.Module, task: Task) -> nn.Module | None:
        return LabelDistribution(task.classes) if self.label_smoothing else None

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        noise = noise.fold(progress.step)
        if self.weight_steps and progress.step % self.replays == self.weight_steps:
            return self._label_step(model, batch, state, noise)
        x = batch.x
        if self.sigma:
            x = x + self.sigma * noise.fold(_NOISE).normal(x.shape[1:]).to(x.dtype)
        share, partner = self._mixture(noise)
        if self.mixup:
            x = share * x + (1.0 - share) * x[partner]
        logits = losses.precise(model(x))
        kind = logits.dtype
        share = share.to(kind)
        first = F.one_hot(batch.y, logits.shape[1]).to(kind)
        second = first[partner]
        if self.weight_steps:
            own, other = (self._labels(y, state, noise.fold(s)) for y, s in ((first, _LABELS), (second, _OTHERS)))
            labels = (share * own + (1.0 - share) * other).detach()
        else:
            labels = self._labels(share * first + (1.0 - share) * second, state, noise.fold(_LABELS))
        right = share * accuracy(logits, batch.y) + (1.0 - share) * accuracy(logits, batch.y[partner])
        return Loss(mean(_cross_entropy(logits, labels)), {"mixed_accuracy": right.detach(), **_told(state)})

    def _label_step(self, model: nn.Module, batch: Batch, state: nn.Module | None, noise: Noise) -> Loss:
        with torch.no_grad():
            logits = losses.precise(model(batch.x))
        labels = self._labels(F.one_hot(batch.y, logits.shape[1]).to(logits.dtype), state, noise)
        parts = {"clean_accuracy": accuracy(logits, batch.y), **_told(state)}
        return Loss(mean(_cross_entropy(logits, labels)), parts)

    def _mixture(self, noise: Noise) -> tuple[Tensor, Tensor]:
        """The share of the own image, one for the batch, and [B] partners: functions of the set of examples, whatever
        their order."""
        order = noise.fold(_ORDER).integers(1 << 53).argsort()
        if not self.mixup:
            return torch.ones((), device=order.device), torch.arange(len(order), device=order.device)
        partner = torch.empty_like(order)
        partner[order] = noise.fold(_PARTNER).integers(1 << 53).argsort()
        pair = torch.full((1, 2), self.mixup, device=order.device)
        return dirichlet(pair, noise.select(order[:1]).fold(_MIX))[0, 0], partner

    def _labels(self, y: Tensor, state: nn.Module | None, noise: Noise) -> Tensor:
        """Labels drawn for [B, K] given ones. beta's gradient is reversed: what descends for the weights climbs for
        it."""
        if not self.label_smoothing:
            return y
        assert isinstance(state, LabelDistribution)
        beta = (2.0 * state.beta.detach() - state.beta).to(y.dtype)
        return dirichlet((self.concentration * y + beta).clamp(min=FLOOR), noise)


def _cross_entropy(logits: Logits, labels: Tensor) -> PerExample:
    return -(labels * logits.log_softmax(dim=1)).sum(dim=1)


def _told(state: nn.Module | None) -> dict[str, Tensor]:
    if not isinstance(state, LabelDistribution):
        return {}
    beta = state.beta.detach()
    return {"beta_least": beta.min(), "beta_greatest": beta.max()}
