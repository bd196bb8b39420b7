"""Blurs of [B, C, H, W]: convolutions with every channel by itself."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.typing import Images, PerExample


def bordered(x: Images, reach: tuple[int, int], border: str) -> Images:
    """Images with `reach` = (rows, columns) more pixels on either side.

    Args:
        border: "edge" repeats the border pixel (a a | a b c d), "mirror" reflects at its centre (c b | a b c d),
            "symmetric" at its outer edge (b a | a b c d); any reach, however small the image.
    """
    for dim, more in zip((2, 3), reach, strict=True):
        side = x.shape[dim]
        at = torch.arange(-more, side + more, device=x.device)
        if border == "edge":
            at = at.clamp(0, side - 1)
        elif border == "mirror":
            period = max(2 * (side - 1), 1)
            at = at.remainder(period)
            at = torch.minimum(at, period - at)
        else:
            at = at.remainder(2 * side)
            at = torch.minimum(at, 2 * side - 1 - at)
        x = x.index_select(dim, at)
    return x


def convolve(x: Images, kernel: Tensor, border: str) -> Images:
    """Weigh each pixel's neighbours by a [h, w] kernel with odd sides.

    In float64: a GPU may round float32 convolutions to 10 bits, which moves grey levels.
    """
    reach = (kernel.shape[0] // 2, kernel.shape[1] // 2)
    channels = bordered(x.double(), reach, border).flatten(0, 1)[:, None]
    return F.conv2d(channels, kernel.to(channels)[None, None]).reshape(x.shape).to(x.dtype)


def gaussian_weights(sigma: float, radius: int) -> Tensor:
    """[2 radius + 1] float64 weights of sum 1."""
    at = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (at / sigma) ** 2) if radius else torch.ones(1, dtype=torch.float64)
    return weights / weights.sum()


def gaussian_blur(x: Images, sigma: float, border: str = "edge", truncate: float = 4.0) -> Images:
    """Gaussian of standard deviation `sigma` pixels, cut at `truncate` of them, as scipy.ndimage rounds it."""
    weights = gaussian_weights(sigma, int(truncate * sigma + 0.5))
    return convolve(convolve(x, weights[:, None], border), weights[None, :], border)


def disk(radius: float, softness: float) -> Tensor:
    """[h, h] weights of a disk of `radius` pixels, its edge softened by a 3 x 3 Gaussian of deviation `softness`."""
    reach = math.floor(radius) + 1
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    hard = (at[:, None] ** 2 + at**2 <= radius**2).double()
    soft = gaussian_weights(softness, 1)
    return F.conv2d((hard / hard.sum())[None, None], torch.outer(soft, soft)[None, None], padding=1)[0, 0]


def motion_blur(x: Images, length: int, sigma: float, degrees: PerExample) -> Images:
    """Smear each image along a line: 2 length + 1 pixels with the weights of half a Gaussian of deviation `sigma`.

    The line leaves the pixel at [B] `degrees` clockwise from the right, its points rounded to whole pixels; beyond the
    image its border pixel stands. So ImageMagick's MotionBlurImage does it, which CIFAR-10-C was made with.
    """
    height, width = x.shape[2:]
    angle = torch.deg2rad(degrees.double())
    steps = torch.arange(2 * length + 1, device=x.device)
    weights = torch.exp(-0.5 * (steps.double() / sigma) ** 2)
    weights = (weights / weights.sum()).to(x.dtype)
    # [B, steps], rounded half down.
    down, right = (torch.ceil(steps * part[:, None] - 0.5).long() for part in (angle.sin(), angle.cos()))
    blurred = torch.zeros_like(x)
    every = torch.arange(len(x), device=x.device)[:, None, None]
    for step in range(len(steps)):
        row = (torch.arange(height, device=x.device) + down[:, step, None]).clamp(0, height - 1)
        column = (torch.arange(width, device=x.device) + right[:, step, None]).clamp(0, width - 1)
        # Indexing with the channels in between gives [B, H, W, C].
        shifted = x[every, :, row[:, :, None], column[:, None, :]].permute(0, 3, 1, 2)
        blurred += weights[step] * shifted
    return blurred
