"""TRADES (Zhang, Yu, Jiao, Xing, El Ghaoui and Jordan, ICML 2019, arXiv:1901.08573; TRADES 6e8e11b)."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from holdfast import losses, modes
from holdfast.attacks import PGD, Divergence, Gaussian, run
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, mean, paired_logits
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Images


@dataclass(frozen=True)
class TRADES(Method):
    """CE(x) + beta * KL(p(x) || p(x_adv)), with x_adv found by climbing the same divergence; k + 2 1/3 passes.

    Gradients flow through both arguments of the divergence. The clean logits that the search compares with are computed
    once, without a graph, where the reference code recomputes them in every step: the same values at less cost. In the
    outer loss the clean logits serve both terms, where the reference code makes a second forward pass: BatchNorm's
    running averages take one clean and one adversarial batch a step, there two and one. In L2 the reference code takes
    unit steps of 2 eps / k and clips to the box before it scales into the ball; here the search is PGD as in Linf, with
    the exact projection (theirs is near `inner.step_size=0.2` at 10 steps).

    Args:
        beta: weight of the robust term, at least 0; 1/lambda of the paper: 6 on CIFAR-10, 1 on MNIST.
        inner: the search; its criterion is replaced by the divergence. Starts from x + 0.001 N(0, 1).
        batch_statistics: the reference code searches in eval mode.

    Raises:
        InvalidInput: beta below 0.
    """

    beta: float = 6.0
    inner: PGD = PGD(steps=10, step_size=0.25, initial=Gaussian(0.001))
    batch_statistics: bool = False

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise InvalidInput(f"beta is {self.beta}, but a weight is at least 0; the paper takes 6 on CIFAR-10")

    @property
    def passes(self) -> float:
        return self.inner.budget + 2.0 + 1.0 / 3.0

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        with modes.searching(model, self.batch_statistics) as asked:
            with torch.no_grad():
                reference = losses.precise(asked(batch.x))
            inner = replace(self.inner, criterion=Divergence(reference))
            x_adv = run(inner, threat, asked, batch.x, batch.y, noise).x_adv
        return trades_loss(model, batch, x_adv, self.beta)


def trades_loss(model: nn.Module, batch: Batch, x_adv: Images, beta: float) -> Loss:
    """CE(x) + beta * KL(p(x) || p(x_adv)) in two passes; gradients flow into both predictions.

    Args:
        model: inputs to logits, in train mode.
        batch: the clean examples, [B, ...].
        x_adv: [B, ...] their adversaries, detached.
        beta: weight of the divergence.
    """
    clean, adversarial = paired_logits(model, batch.x, x_adv, together=False)
    natural, robust = mean(losses.cross_entropy(clean, batch.y)), mean(losses.kl(clean, adversarial))
    return Loss(
        natural + beta * robust,
        {
            "natural_loss": natural.detach(),
            "robust_loss": robust.detach(),
            "clean_accuracy": accuracy(clean, batch.y),
            "adversary_accuracy": accuracy(adversarial, batch.y),
        },
    )
