"""Hold back a part of the training set, so that the test split is never looked at in training."""

import torch
from torch import Tensor

from holdfast.errors import InvalidInput
from holdfast.noise import permutation
from holdfast.typing import Labels

_STREAM = 0x686F6C64  # keeps this choice apart from everything else that the seed decides


def holdout(labels: Labels, size: int | float | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Choose which examples to hold out, each class in proportion; the same for the same labels, size and seed.

    Args:
        labels: [N] class indices.
        size: a number of examples, or a fraction of them as a float in (0, 1). Default: 1,000 or a tenth, whichever is
            less (1,000 as Rice, Wong, Kolter 2020, arXiv:2002.11569, hold out of CIFAR-10).
        seed: of the choice.

    Returns:
        Positions of the examples to train on and of those held out, both int64 and ascending. Classes whose share is
        no whole number are rounded so that exactly `size` examples are held out (largest remainders first).

    Raises:
        InvalidInput: nothing, or everything, would be held out.
    """
    total = len(labels)
    count = _count(total, size)
    members = [(labels == label).nonzero().flatten() for label in sorted(set(labels.tolist()))]
    shares = [len(rows) * count / total for rows in members]
    quotas = [int(share) for share in shares]
    by_remainder = sorted(range(len(members)), key=lambda k: (quotas[k] - shares[k], k))
    for k in by_remainder[: count - sum(quotas)]:
        quotas[k] += 1
    chosen = torch.zeros(total, dtype=torch.bool)
    for k, (rows, quota) in enumerate(zip(members, quotas, strict=True)):
        chosen[rows[permutation(len(rows), seed, _STREAM, k)[:quota]]] = True
    return (~chosen).nonzero().flatten(), chosen.nonzero().flatten()


def _count(total: int, size: int | float | None) -> int:
    if size is None:
        count = min(1000, total // 10)
    elif isinstance(size, float):
        if not 0.0 < size < 1.0:
            raise InvalidInput(f"the held-out fraction is {size}; give a float in (0, 1), or an int, so many examples")
        count = round(size * total)
    else:
        count = size
    if not 0 < count < total:
        raise InvalidInput(f"{count} of {total} examples would be held out; give from 1 to {total - 1}")
    return count
