"""Dirichlet samples from an example's own random numbers, differentiable in their concentrations."""

from collections.abc import Sequence
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
    # All tries at once, [B, TRIES, K]: the numbers are few, and what costs is how often tensors are touched.
    rows, tries = d[:, None], (TRIES, *shape)
    normal = noise.fold(0).normal(tries).to(kind)
    log_uniform = _log_uniform(noise.fold(1), tries, kind)
    ratio = (1.0 + normal / (9.0 * rows).sqrt()) ** 3
    log_ratio = ratio.clamp(min=torch.finfo(kind).tiny).log()
    fits = (ratio > 0.0) & (log_uniform < 0.5 * normal.square() + rows * (1.0 - ratio + log_ratio))
    # The first that fits; argmax takes the first of equals, and where none fits that is a 0.
    first = fits.byte().argmax(dim=1, keepdim=True)
    taken = torch.where(fits, log_ratio, 0.0).gather(1, first)[:, 0]
    power = _log_uniform(noise.fold(2), shape, kind) / concentration
    return d.log() + taken + torch.where(low, power, 0.0)


def _log_uniform(noise: Noise, shape: Sequence[int], kind: torch.dtype) -> Tensor:
    """Logarithms of numbers that are uniform on (0, 1], so that they are finite."""
    return (1.0 - noise.uniform(shape).to(kind)).log()


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
