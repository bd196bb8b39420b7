"""Moving pixels: bilinear reading of [B, C, H, W] images at other places than the grid's."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.typing import Images


def read(x: Images, row: Tensor, column: Tensor, border: str) -> Images:
    """The values at [B, H', W'] places, bilinear, as [B, C, H', W'].

    Args:
        row, column: where, in pixels; (0, 0) is the centre of the first pixel.
        border: what lies outside: "zeros"; "mirror", the image reflected at the centres of its border pixels (d c b |
            a b c d); or "symmetric", reflected at their outer edges (c b a | a b c d).
    """
    height, width = x.shape[2:]
    # "mirror" is what grid_sample does with aligned corners, where a side of one pixel has no unit of length.
    aligned = border == "mirror" and min(height, width) > 1
    unit = [
        2.0 * at / (side - 1) - 1.0 if aligned else (2.0 * at + 1.0) / side - 1.0
        for at, side in ((column, width), (row, height))
    ]
    outside = "zeros" if border == "zeros" else "reflection"
    return F.grid_sample(x, torch.stack(unit, dim=-1).to(x.dtype), "bilinear", outside, align_corners=aligned)


def grid(x: Images) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel, [H, W] each, in the images' dtype."""
    height, width = x.shape[2:]
    row, column = torch.meshgrid(
        torch.arange(height, device=x.device), torch.arange(width, device=x.device), indexing="ij"
    )
    return row.to(x.dtype), column.to(x.dtype)


def rotate(x: Images, degrees: float) -> Images:
    """Turn images anticlockwise about their centre; black comes in at the corners."""
    height, width = x.shape[2:]
    row, column = grid(x)
    down, right = row - (height - 1) / 2, column - (width - 1) / 2
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    source_row = cosine * down + sine * right + (height - 1) / 2
    source_column = cosine * right - sine * down + (width - 1) / 2
    return read(x, source_row.expand(len(x), -1, -1), source_column.expand(len(x), -1, -1), "zeros")


def zoomed(x: Images, factor: float) -> Images:
    """Enlarge the middle of images by `factor` >= 1, bilinear, and keep their size.

    Sizes are rounded as in make_cifar_c.py's use of scipy's zoom: the middle ceil(side / factor) pixels become
    round(ceil(side / factor) * factor), whose corner pixels stand on theirs, and the middle of that is kept.
    """
    sides = [(side, math.ceil(side / factor)) for side in x.shape[2:]]
    for dim, (side, part) in enumerate(sides, start=2):
        x = x.narrow(dim, (side - part) // 2, part)
    large = F.interpolate(x, [round(part * factor) for _, part in sides], mode="bilinear", align_corners=True)
    for dim, (side, _) in enumerate(sides, start=2):
        large = large.narrow(dim, (large.shape[dim] - side) // 2, side)
    return large
