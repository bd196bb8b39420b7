"""ADV: adversarial training with PGD (Madry et al., ICLR 2018, arXiv:1706.06083, Eq. 2.1; cifar10_challenge
f15682d)."""

from dataclasses import dataclass

from torch import nn

from holdfast import losses
from holdfast.attacks import PGD
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, mean, search
from holdfast.noise import Noise
from holdfast.threat import ThreatModel


@dataclass(frozen=True)
class PGDAT(Method):
    """Cross-entropy at the adversary alone: min over weights of max over S(x); k + 1 passes.

    Deviation from the reference code: its attack passes also move BatchNorm's running averages (see `modes.searching`).

    Args:
        inner: the search for the adversary; PGD-10 of 2/255 at eps 8/255 by default, the repository's setting.
        batch_statistics: BatchNorm normalises by the batch during the search, as the reference code does.
    """

    inner: PGD = PGD(steps=10, step_size=0.25)
    batch_statistics: bool = True

    @property
    def passes(self) -> float:
        return self.inner.budget + 1.0

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        x_adv = search(self.inner, threat, model, batch, noise, self.batch_statistics)
        logits = losses.precise(model(x_adv))
        return Loss(mean(losses.cross_entropy(logits, batch.y)), {"adversary_accuracy": accuracy(logits, batch.y)})
