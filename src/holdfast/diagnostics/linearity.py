"""LLR's measure of how linear the loss is in S(x) (Qin et al., NeurIPS 2019, arXiv:1907.02610, Eq. 5)."""

import torch
from torch import nn

from holdfast import losses, modes
from holdfast.attacks import PGD, CrossEntropy, LinearityGap, Query, run
from holdfast.attacks.base import evaluate, opening
from holdfast.data import ImageSet, ordered_batches
from holdfast.noise import Noise
from holdfast.results import Linearity
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels, PerExample

STEPS = 50
STEP_SIZE = 0.1  # in units of eps; ours

_STREAM = 0x6C6C7267


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
