"""LLR's measure of how linear the loss is in S(x) (Qin et al., NeurIPS 2019, arXiv:1907.02610, Eq. 5)."""

from dataclasses import dataclass

import torch
from torch import nn

from holdfast import losses, modes
from holdfast.attacks import PGD, CrossEntropy, Query, run
from holdfast.attacks.base import evaluate, opening
from holdfast.data import ImageSet, ordered_batches
from holdfast.noise import Noise
from holdfast.results import Linearity
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels, Logits, PerExample

STEPS = 50
STEP_SIZE = 0.1  # in units of eps; ours

_STREAM = 0x6C6C7267


@dataclass(frozen=True)
class LinearityGap:
    """|l(x') - l(x) - <x' - x, grad l(x)>|, l being the cross-entropy: what its tangent at x misses at x'.

    Its gradient towards x' is exact, sign(.) (grad l(x') - grad l(x)). LLR's released training code
    (local_linearity_regularizer 0471752) takes the linear term for constant in its search, and so climbs another way.

    Args:
        loss: [B] l(x).
        gradient: [B, ...] of l at x, a row for each example; both without a graph.
    """

    loss: PerExample
    gradient: Images

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        rise = losses.cross_entropy(logits, query.y) - self.loss
        return (rise - self.linear(query.x_adv - query.x)).abs()

    def linear(self, change: Images) -> PerExample:
        """[B] <change, grad l(x)>."""
        return (change * self.gradient).flatten(1).sum(dim=1)


def linearity_gap(
    model: Classifier, threat: ThreatModel, x: Images, y: Labels, noise: Noise, steps: int = STEPS
) -> tuple[PerExample, PerExample]:
    """Search S(x) for the greatest gap, by PGD on it.

    Returns:
        gamma [B], the gap at the last point of the search, a lower bound on the greatest one; and |<d, grad l(x)>|
        [B] for the change d that leads there.
    """
    clean = evaluate(model, CrossEntropy(), opening(x, y, noise, None, x))
    gap = LinearityGap(clean.value, clean.gradient)
    # At x itself the gap has no gradient, hence PGD's uniform start.
    state = run(PGD(steps=steps, step_size=STEP_SIZE, criterion=gap), threat, model, x, y, noise)
    with torch.no_grad():
        logits = losses.precise(model(state.x_adv))
        gamma = gap(logits, Query(x, y, state.target, state.x_adv))
    return gamma, gap.linear(state.x_adv - x).abs()


def local_linearity(
    model: nn.Module,
    images: ImageSet,
    threat: ThreatModel,
    *,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Linearity:
    """Measure gamma(eps, x) of every example by 50 steps of PGD, the model in eval mode.

    A large gamma means that one gradient says little of the loss in S(x): attacks of few steps then look weak without
    the model being robust. Two models are compared at the same eps only.
    """
    gammas, linears = [], []
    with modes.inference(model):
        for x, y, index in ordered_batches(images, batch_size, device):
            gamma, linear = linearity_gap(model, threat, x, y, Noise.of(seed, index, _STREAM))
            gammas.append(gamma.cpu())
            linears.append(linear.cpu())
    attack = f"PGD(steps={STEPS}, step_size={STEP_SIZE}, criterion=LinearityGap)"
    return Linearity(torch.cat(gammas).numpy(), torch.cat(linears).numpy(), attack)
