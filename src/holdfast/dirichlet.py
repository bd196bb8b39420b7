"""Dirichlet samples from an example's own random numbers, differentiable in their concentrations."""

from typing import Any

import torch
from torch import Tensor

from holdfast.noise import Noise

TRIES = 8  # of the rejection sampler, each of which is taken with a probability above 0.95


def dirichlet(concentration: Tensor, noise: Noise) -> Tensor:
    """One sample for each row of [B, K] concentrations above 0; row i is a function of the noise's row i.

    Gamma numbers by Marsaglia and Tsang (ACM TOMS 26, 2000), normalised. Gradients towards the concentrations are the
    pathwise ones of `torch.distributions.Dirichlet.rsample`, whose samples come from torch's global generator.
    """
    with torch.no_grad():
        sample = _log_gammas(concentration, noise).softmax(dim=1)
        # As torch does: the gradient has no value on the simplex's faces.
        limits = torch.finfo(sample.dtype)
        sample = sample.clamp(limits.tiny, 1.0 - limits.eps / 2.0)
    drawn: Tensor = _Pathwise.apply(concentration, sample)  # type: ignore[no-untyped-call]
    return drawn


def _log_gammas(concentration: Tensor, noise: Noise) -> Tensor:
    """[B, K] logarithms of gamma numbers; below 1, one of concentration + 1 times a power of a uniform number."""
    shape, kind = concentration.shape[1:], concentration.dtype
    low = concentration < 1.0
    d = torch.where(low, concentration + 1.0, concentration) - 1.0 / 3.0
    log_ratio, taken = torch.zeros_like(d), torch.zeros_like(low)
    for turn in range(TRIES):
        normal = noise.fold(turn, 0).normal(shape).to(kind)
        # 1 - u lies in (0, 1], so that the logarithm is finite.
        log_uniform = (1.0 - noise.fold(turn, 1).uniform(shape).to(kind)).log()
        ratio = (1.0 + normal / (9.0 * d).sqrt()) ** 3
        log_found = ratio.clamp(min=torch.finfo(kind).tiny).log()
        fits = (ratio > 0.0) & (log_uniform < 0.5 * normal.square() + d * (1.0 - ratio + log_found))
        log_ratio = torch.where(fits & ~taken, log_found, log_ratio)
        taken = taken | fits
    power = (1.0 - noise.fold(TRIES).uniform(shape).to(kind)).log() / concentration
    return d.log() + log_ratio + torch.where(low, power, 0.0)


class _Pathwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, concentration: Tensor, sample: Tensor) -> Tensor:
        ctx.save_for_backward(concentration, sample)
        return sample.view_as(sample)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        concentration, sample = ctx.saved_tensors
        (gradient,) = gradients
        total = concentration.sum(dim=1, keepdim=True).expand_as(concentration)
        slope = torch._dirichlet_grad(sample, concentration, total)
        return slope * (gradient - (sample * gradient).sum(dim=1, keepdim=True)), None
