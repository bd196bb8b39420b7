"""The greatest entries of each row, without sorting."""

import torch
from torch import Tensor


def greatest(values: Tensor, weight: Tensor, need: Tensor) -> tuple[Tensor, Tensor]:
    """Which entries of greatest value together weigh `need`.

    Bisection, because sorting a row takes several times as long. Entries that are equal to nine digits of the row's
    greatest are not told apart.

    Args:
        values: [B, D] at least 0; entries of value 0 are never taken.
        weight: [B, D] at least 0.
        need: [B, 1].

    Returns:
        Two [B, D] masks of 0 and 1 in the type of `values`: the entries above the threshold, of weight less than
        `need`, and those at it, with which `need` is reached; all but the zeros, where all of them weigh less.
    """
    low, high = torch.zeros_like(need), values.amax(dim=1, keepdim=True)
    above = torch.empty_like(values)
    for _ in range(30):
        middle = (low + high) / 2.0
        torch.gt(values, middle, out=above)
        enough = torch.linalg.vecdot(above, weight)[:, None] >= need
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    torch.gt(values, high, out=above)
    return above, torch.gt(values, low, out=torch.empty_like(values)).sub_(above)
