"""FGSM adversarial training (Goodfellow, Shlens and Szegedy, ICLR 2015, arXiv:1412.6572, section 6)."""

from dataclasses import dataclass

from torch import nn

from holdfast import losses
from holdfast.attacks import FGSM, PGD
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, mean, paired_logits, search
from holdfast.noise import Noise
from holdfast.threat import ThreatModel


@dataclass(frozen=True)
class FGSMAT(Method):
    """a * CE(x) + (1 - a) * CE(x + eps * sign(gradient)); 3 passes.

    Falls to catastrophic overfitting at the usual eps of CIFAR-10; kept as the historical control.

    Args:
        inner: the search for the adversary.
        clean_weight: a, in [0, 1); 0.5 in the paper; 0 gives what is called FGSM training today, at 2 passes.
        batch_statistics: BatchNorm normalises by the batch during the search.

    Raises:
        InvalidInput: a clean_weight outside [0, 1).
    """

    inner: PGD = FGSM()
    clean_weight: float = 0.5
    batch_statistics: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.clean_weight < 1.0:
            raise InvalidInput(f"clean_weight is {self.clean_weight}, but it must lie in [0, 1); the paper takes 0.5")

    @property
    def passes(self) -> float:
        return self.inner.budget + (2.0 if self.clean_weight else 1.0)

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
        if not self.clean_weight:
            adversarial = losses.precise(model(x_adv))
            return Loss(
                mean(losses.cross_entropy(adversarial, batch.y)), {"adversary_accuracy": accuracy(adversarial, batch.y)}
            )
        clean, adversarial = paired_logits(model, batch.x, x_adv, together=False)
        clean_loss = mean(losses.cross_entropy(clean, batch.y))
        adversarial_loss = mean(losses.cross_entropy(adversarial, batch.y))
        return Loss(
            self.clean_weight * clean_loss + (1.0 - self.clean_weight) * adversarial_loss,
            {"clean_accuracy": accuracy(clean, batch.y), "adversary_accuracy": accuracy(adversarial, batch.y)},
        )
