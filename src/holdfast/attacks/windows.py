"""The windows of Square: how large they are at a query, where they lie, and what is drawn into them in L2 and L1."""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

# Up to which query each size of window is used; at each step its area halves.
_LAST = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@lru_cache
def sides(height: int, width: int, share: float, odd: bool) -> tuple[tuple[int, int], ...]:
    """Height and width of the windows of each size, the first covering `share` of the image.

    Square where the image is high and wide enough for that; otherwise they keep their area as far as the image allows,
    so that a table (height 1) is changed in runs of columns. `odd`: at least 3 and odd, for patterns with a middle.
    """
    found = []
    for halvings in range(len(_LAST) + 1):
        area = share / 2**halvings * height * width
        side = max(round(math.sqrt(area)), 3 if odd else 1)
        side += 1 if odd and side % 2 == 0 else 0
        rows, columns = min(side, height), min(side, width)
        if rows == height:
            columns = min(max(columns, round(area / rows)), width)
        elif columns == width:
            rows = min(max(rows, round(area / columns)), height)
        found.append((rows, columns))
    return tuple(found)


class _Tables(NamedTuple):
    """What placing needs, on the device; H rows and W columns stand one after the other in one dimension."""

    last: Tensor  # up to which query each size is used
    sides: Tensor  # [sizes, H + W]: the window's height for rows, its width for columns
    places: Tensor  # [sizes, 2]: how many corners there are
    position: Tensor  # [H + W]: 0 ... H - 1, 0 ... W - 1
    axis: Tensor  # [H + W]: 0 for rows, 1 for columns


@lru_cache
def _tables(height: int, width: int, share: float, odd: bool, device: torch.device) -> _Tables:
    found = torch.tensor(sides(height, width, share, odd))
    axis = torch.tensor([0] * height + [1] * width)
    tables = _Tables(
        last=torch.tensor(_LAST),
        sides=found[:, axis],
        places=torch.tensor([height, width]) - found + 1,
        position=torch.cat([torch.arange(height), torch.arange(width)]),
        axis=axis,
    )
    return _Tables(*(table.to(device) for table in tables))


class Windows(NamedTuple):
    """A window for each of B images.

    Attributes:
        size: [B] int64, which of `sides`.
        row: [B, H] int64, each image row's position within the window; outside 0 ... side - 1 it is not in the window.
        column: [B, W] the same of the columns.
        inside: [B, 1, H, W] float32, 1 in the window and 0 outside.
    """

    size: Tensor
    row: Tensor
    column: Tensor
    inside: Tensor


def spots(query: Tensor, draw: Tensor, height: int, width: int, share: float, odd: bool) -> Tensor | None:
    """[B, h * w] int64: where the windows of `place` lie in images of one dimension, [H * W], if all have one size.

    None if they have not, or where asking for it would be to wait for an accelerator.
    """
    if query.device.type != "cpu" or not len(query):
        return None
    tables = _tables(height, width, share, odd, query.device)
    size = torch.bucketize(query, tables.last)
    if bool((size != size[0]).any()):
        return None
    rows, columns = sides(height, width, share, odd)[int(size[0])]
    corner = (draw * tables.places[size]).long()
    inner = torch.arange(rows)[:, None] * width + torch.arange(columns)
    return (corner[:, 0] * width + corner[:, 1])[:, None] + inner.flatten()


def place(query: Tensor, draw: Tensor, height: int, width: int, share: float, odd: bool) -> Windows:
    """Windows of the size that belongs to each row's query, at uniformly drawn places.

    Small operations are most of what Square adds to the model's passes, so rows and columns share them.

    Args:
        query: [B] int64, queries made by the search.
        draw: [B, 2] uniform on [0, 1).
        height, width, share, odd: see `sides`.
    """
    tables = _tables(height, width, share, odd, query.device)
    size = torch.bucketize(query, tables.last)
    corner = (draw * tables.places[size]).long()
    position = tables.position - corner[:, tables.axis]
    covered = ((position >= 0) & (position < tables.sides[size])).float()
    inside = covered[:, :height, None] * covered[:, None, height:]
    return Windows(size, position[:, :height], position[:, height:], inside[:, None])


def _pyramid(height: int, width: int, power: int) -> Tensor:
    """[height, width] float64: steps that rise towards the middle; the k-th from there adds 1 / k**power."""
    steps = torch.arange(1, max(height, width) // 2 + 2, dtype=torch.float64).pow(-power)
    reached = steps.flip(0).cumsum(0).flip(0)
    from_middle = [(torch.arange(side) - side // 2).abs() for side in (height, width)]
    return reached[torch.maximum(from_middle[0][:, None], from_middle[1])]


@lru_cache
def pattern(height: int, width: int, power: int) -> Tensor:
    """[2, height, width] float32: two pyramids of opposite sign, one above the other and side by side.

    Each pyramid and the whole have norm 1: the Euclidean norm for power 2 (used in L2), the sum of absolute values for
    power 4 (L1).
    """
    order = 2 if power == 2 else 1

    def of_norm_1(values: Tensor) -> Tensor:
        scaled: Tensor = values / torch.linalg.vector_norm(values, order)
        return scaled

    def halves(height: int, width: int) -> Tensor:
        parts = [of_norm_1(_pyramid(rows, width, power)) for rows in (height // 2, height - height // 2) if rows]
        parts[-1].neg_()
        return of_norm_1(torch.cat(parts))

    return torch.stack([halves(height, width), halves(width, height).T]).float()


@lru_cache
def _stacked_patterns(height: int, width: int, share: float, power: int, device: torch.device) -> Tensor:
    """[2 * sizes, H + 1, W + 1]: the patterns of all sizes, zero where they end."""
    found = sides(height, width, share, True)
    table = torch.zeros(2 * len(found), height + 1, width + 1)
    for size, (rows, columns) in enumerate(found):
        table[2 * size : 2 * size + 2, :rows, :columns] = pattern(rows, columns, power)
    return table.to(device)


def drawn(windows: Windows, sideways: Tensor, share: float, power: int) -> Tensor:
    """[B, 1, H, W] float32: each row's pattern in its window, 0 outside.

    Args:
        sideways: [B] int64, 1 for the pattern with its pyramids side by side.
    """
    height, width = windows.row.shape[1], windows.column.shape[1]
    table = _stacked_patterns(height, width, share, power, windows.row.device)
    # Positions before and after the window are both sent to the zeros behind the pattern.
    row = windows.row.where(windows.row >= 0, height)
    column = windows.column.where(windows.column >= 0, width)
    at = (2 * windows.size + sideways)[:, None] * (height + 1) + row
    return table.flatten()[at[:, :, None] * (width + 1) + column[:, None, :]][:, None]
