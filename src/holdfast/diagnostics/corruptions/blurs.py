"""Blur: defocus, glass, motion, zoom; gaussian as an extra."""

import numpy as np
import torch

from holdfast.diagnostics.blur import convolve, disk, gaussian_blur, motion_blur
from holdfast.diagnostics.corruptions.corruption import Corruption, eight_bits
from holdfast.diagnostics.sampling import zoomed
from holdfast.noise import Noise
from holdfast.typing import Images


def gaussian(x: Images, noise: Noise, sigma: float) -> Images:
    """A Gaussian of deviation `sigma` pixels."""
    return gaussian_blur(x, sigma)


def defocus(x: Images, noise: Noise, radius: float, softness: float) -> Images:
    """A disk, as a lens out of focus makes of every point."""
    return convolve(x, disk(radius, softness), "mirror")


def glass(x: Images, noise: Noise, sigma: float, iterations: float) -> Images:
    """Blur, let pixels take the place of others near by, and blur again.

    The reference swaps two pixels of a numpy image through views, by which the second is lost: a pixel takes the value
    of one at most 1 to the left and 1 above. In the reference's order no pixel is read after it was written, so all of
    an iteration is one gather; rows and columns 0 and 1 stay, as there.
    """
    x = eight_bits(gaussian_blur(x, sigma))
    height, width = x.shape[2:]
    row, column = torch.meshgrid(
        torch.arange(height, device=x.device), torch.arange(width, device=x.device), indexing="ij"
    )
    moves = (row > 1) & (column > 1)
    for iteration in range(int(iterations)):
        back = noise.fold(iteration).integers(2, (2, height, width)) * moves
        source = (row - back[:, 0]) * width + column - back[:, 1]
        x = x.flatten(2).gather(2, source.flatten(1)[:, None].expand(-1, x.shape[1], -1)).reshape(x.shape)
    return gaussian_blur(x, sigma)


def motion(x: Images, noise: Noise, length: float, sigma: float) -> Images:
    """A smear in a direction within 45 degrees of the horizontal."""
    return motion_blur(x, int(length), sigma, noise.uniform((), -45.0, 45.0))


def zoom(x: Images, noise: Noise, end: float) -> Images:
    """The mean of the image and of its enlargements by 1, 1.01, ... to below `end`, itself counted once more."""
    # The reference's expression, whose rounding decides whether `end` is among the factors: it is for 1.06 and 1.11.
    factors = np.arange(1, end, 0.01)
    total = x.clone()
    for factor in factors:
        total += zoomed(x, float(factor))
    return total / (len(factors) + 1)


BLURS = (
    Corruption("defocus_blur", "blur", defocus, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    Corruption("glass_blur", "blur", glass, ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))),
    Corruption("motion_blur", "blur", motion, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    Corruption("zoom_blur", "blur", zoom, ((1.06,), (1.11,), (1.16,), (1.21,), (1.26,))),
)
GAUSSIAN_BLUR = Corruption("gaussian_blur", "extra", gaussian, ((0.4,), (0.6,), (0.7,), (0.8,), (1.0,)))
