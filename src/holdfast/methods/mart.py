"""MART: misclassification aware adversarial training (Wang, Zou, Yi, Bailey, Ma and Gu, ICLR 2020, OpenReview
rklOg6EFwS; MART 2d83e17)."""

from dataclasses import dataclass

import torch
from torch import nn

from holdfast import losses
from holdfast.attacks import PGD, Gaussian
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, mean, paired_logits, search
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Labels, Logits, PerExample


@dataclass(frozen=True)
class MART(Method):
    """BCE(x_adv) + beta * KL(p(x) || p(x_adv)) * (1 - p_y(x)); k + 2 passes.

    BCE, the boosted cross-entropy, is -log q_y - log(1 - max_{j != y} q_j) with q = p(x_adv): it asks for a margin over
    the runner-up besides. Nothing is detached: gradients flow through both distributions and through the weight. The
    numbers that keep logarithms finite are those of the reference code (mart.py): 1.0001 - q + 1e-12 under the second
    logarithm, log(q + 1e-12) in the divergence, and 1.0000001 - p_y in the weight. Equation numbers: not known.

    Args:
        beta: weight of the divergence, at least 0: 6 in mart.py and for WideResNet-34-10, 5 for ResNet-18.
        inner: the search, on the cross-entropy; 0.007 at eps 0.031, from x + 0.001 N(0, 1).
        batch_statistics: the reference code searches in eval mode.

    Raises:
        InvalidInput: beta below 0.
    """

    beta: float = 6.0
    inner: PGD = PGD(steps=10, step_size=7 / 31, initial=Gaussian(0.001))
    batch_statistics: bool = False

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise InvalidInput(f"beta is {self.beta}, but a weight is at least 0; the source takes 5 and 6 on CIFAR-10")

    @property
    def passes(self) -> float:
        return self.inner.budget + 2.0

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
        clean, adversarial = paired_logits(model, batch.x, x_adv, together=False)
        boosted = mean(_boosted_cross_entropy(adversarial, batch.y))
        robust = mean(_weighted_kl(clean, adversarial, batch.y))
        return Loss(
            boosted + self.beta * robust,
            {
                "boosted_loss": boosted.detach(),
                "robust_loss": robust.detach(),
                "clean_accuracy": accuracy(clean, batch.y),
                "adversary_accuracy": accuracy(adversarial, batch.y),
            },
        )


def _boosted_cross_entropy(logits: Logits, y: Labels) -> PerExample:
    runner_up = logits.softmax(dim=1).scatter(1, y[:, None], 0.0).amax(dim=1)
    return losses.cross_entropy(logits, y) - torch.log(1.0001 - runner_up + 1e-12)


def _weighted_kl(clean: Logits, adversarial: Logits, y: Labels) -> PerExample:
    """KL(p || q), weighted by how far the clean prediction is from certain of the label."""
    p, log_p, q = clean.softmax(dim=1), clean.log_softmax(dim=1), adversarial.softmax(dim=1)
    divergence = (p * (log_p - torch.log(q + 1e-12))).sum(dim=1)
    return divergence * (1.0000001 - p.gather(1, y[:, None])[:, 0])
