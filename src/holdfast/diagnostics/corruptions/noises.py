"""Noise: gaussian, shot, impulse; speckle as an extra."""

import torch

from holdfast.diagnostics.corruptions.corruption import Corruption
from holdfast.noise import Noise
from holdfast.typing import Images


def gaussian(x: Images, noise: Noise, deviation: float) -> Images:
    """Add a normal number to every value."""
    return x + deviation * noise.normal(x.shape[1:])


def speckle(x: Images, noise: Noise, deviation: float) -> Images:
    """Add to every value a normal number in proportion to it."""
    return x * (1.0 + deviation * noise.normal(x.shape[1:]))


def shot(x: Images, noise: Noise, photons: float) -> Images:
    """Count light: a Poisson number of mean `photons` * x, over `photons`. x has 8 bits."""
    return poisson(x, noise, photons) / photons


def poisson(x: Images, noise: Noise, photons: float) -> Images:
    """Poisson numbers of mean `photons` * x, by inversion: one uniform number each, looked up in a table of levels."""
    level = (x * 255.0).round().long()
    mean = photons / 255.0 * torch.arange(256, dtype=torch.float64, device=x.device)[:, None]
    # Beyond 12 deviations above the greatest mean lies less than a 24-bit uniform number can tell.
    count = torch.arange(int(photons + 12.0 * photons**0.5) + 20, dtype=torch.float64, device=x.device)
    below = (torch.xlogy(count, mean) - mean - torch.lgamma(count + 1.0)).exp().cumsum(dim=1).clamp_(max=1.0)
    below[:, -1] = 1.0
    # One rising sequence for all levels: row i of the table stands in [i, i + 1].
    rising = (below + torch.arange(256, dtype=torch.float64, device=x.device)[:, None]).flatten()
    place = torch.searchsorted(rising, level + noise.uniform(x.shape[1:]).double(), right=True)
    return (place - level * len(count)).to(x.dtype)


def impulse(x: Images, noise: Noise, share: float) -> Images:
    """Make a share of the values white or black, with equal probability (salt and pepper)."""
    struck = noise.fold(0).uniform(x.shape[1:]) < share
    return torch.where(struck, (noise.fold(1).signs(x.shape[1:]) + 1.0) / 2.0, x)


NOISES = (
    Corruption("gaussian_noise", "noise", gaussian, ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))),
    Corruption("shot_noise", "noise", shot, ((500,), (250,), (100,), (75,), (50,))),
    Corruption("impulse_noise", "noise", impulse, ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
)
SPECKLE = Corruption("speckle_noise", "extra", speckle, ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,)))
