"""LLR: local linearity regularisation (Qin et al., NeurIPS 2019, arXiv:1907.02610; local_linearity_regularizer
0471752)."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from holdfast import batchnorm, losses, modes
from holdfast.attacks import PGD, Adam, LinearityGap, Query, run
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, mean
from holdfast.noise import Noise
from holdfast.threat import ThreatModel


@dataclass(frozen=True)
class LLR(Method):
    """clean_weight * CE(x) + gap_weight * gamma(eps, x) + mu * |<d, grad CE(x)>|; k + 3 1/3 passes.

    gamma(eps, x) = |CE(x + d) - CE(x) - <d, grad CE(x)>| (Eq. 5) at the change d that a search for its greatest value
    ends at. d is detached; grad CE(x) is not, so that both terms are differentiated through an input gradient (double
    back-propagation). Under ReLU that gradient hardly bends with x: take a network with activation="softplus", as the
    authors do.

    All points are normalised by the BatchNorm statistics of the clean batch, through which gradients flow too, and that
    batch alone moves the running averages. The double back-propagation is done in float32 whatever the precision.

    Deviations: one clean pass serves all terms, where the release makes a second with the same result; dropout, which
    the authors' networks do not have, is off throughout, because masks of their own would make two points differ; the
    release's adversarial cross-entropy, whose weight it sets to 0, is left out; the step of the search is in units of
    eps also while eps warms up, where the release's is 0.1 (both are over three times eps, and end at its corners).

    Args:
        clean_weight: at least 0, as all weights; 2 in the release; the paper has 1.
        gap_weight: lambda, 4 in the release.
        mu: 1.2 in the release, its `loss_weight` times its `smoothing_factor`.
        inner: the search for d; its criterion is replaced by the gap. Ten steps of Adam with rate 0.1 at eps 8/255.
        exact_gradient: climb the gap's own gradient. The release takes the linear term for constant in the search.

    Raises:
        InvalidInput: a weight below 0.
    """

    clean_weight: float = 2.0
    gap_weight: float = 4.0
    mu: float = 1.2
    inner: PGD = PGD(steps=10, step_size=0.1 * 255 / 8, rule=Adam())
    exact_gradient: bool = False

    def __post_init__(self) -> None:
        for name, published in (("clean_weight", 2), ("gap_weight", 4), ("mu", 1.2)):
            if getattr(self, name) < 0:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)}, but a weight is at least 0; the authors' code has {published}"
                )

    @property
    def differentiates_twice(self) -> bool:
        return True

    @property
    def wants_smooth(self) -> bool:
        return True

    @property
    def passes(self) -> float:
        # The clean pass with its input gradient, the pass at the end of the search; then backwards through both and
        # through the input gradient.
        return self.inner.budget + 10.0 / 3.0

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
        single = torch.autocast(x.device.type, enabled=False)
        with single, modes.without_dropout(model), batchnorm.noting(model) as statistics:
            point = x.detach().requires_grad_()
            logits = losses.precise(model(point))
            clean = losses.cross_entropy(logits, y)
            (gradient,) = torch.autograd.grad(clean.sum(), point, create_graph=True)

        # What may answer in the model's place normalises by statistics of its own.
        itself = bool(statistics)
        with modes.searching(model, batch_statistics=True, itself=itself) as asked, batchnorm.reusing(statistics):
            climbed = LinearityGap(clean.detach(), gradient.detach(), self.exact_gradient)
            x_adv = run(replace(self.inner, criterion=climbed), threat, asked, x, y, noise).x_adv
            with single:
                attacked = losses.precise(model(x_adv))
        gap = LinearityGap(clean, gradient)
        gamma = mean(gap(attacked, Query(x, y, torch.full_like(y, -1), x_adv)))
        linear = mean(gap.linear(x_adv - x).abs())
        return Loss(
            self.clean_weight * mean(clean) + self.gap_weight * gamma + self.mu * linear,
            {
                "gamma": gamma.detach(),
                "linear_change": linear.detach(),
                "clean_accuracy": accuracy(logits, y),
                "adversary_accuracy": accuracy(attacked, y),
            },
        )
