"""How many rows a batch of an evaluation has."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

NUMBERS = 2**20  # of the inputs in a batch; an attack's own small operations are then a small share of its time
MEMORY = 8 * 2**30  # bytes of a CUDA device for each `NUMBERS`: twice as large a device takes twice as large batches

T = TypeVar("T")


def rows_of(shape: Sequence[int], room: float = 1.0) -> int:
    """Inputs of this shape in a batch: a power of two from 32 to 1,024, with at most room * `NUMBERS` numbers."""
    return 1 << int(math.log2(min(max(room * NUMBERS / math.prod(shape), 32), 1024)))


def room(device: torch.device) -> float:
    """How many times `NUMBERS` a device holds, by its memory; 1 where that is not known, and at least."""
    if device.type != "cuda":
        return 1.0
    return max(1.0, torch.cuda.get_device_properties(device).total_memory / MEMORY)


def fitting(rows: int, work: Callable[[int], T]) -> tuple[int, T]:
    """Do a piece of work in batches of `rows`, or of the half, the quarter, ... until the device's memory suffices.

    Args:
        work: given the rows of a batch; called anew, it goes on or begins anew.

    Returns:
        The rows that it was done with, and its result.

    Raises:
        OutOfMemoryError: one row is too much.
    """
    while True:
        try:
            return rows, work(rows)
        except torch.OutOfMemoryError:
            if rows == 1:
                raise
        # Out of the handler, which holds the frames that hold the batch.
        torch.cuda.empty_cache()
        rows //= 2
