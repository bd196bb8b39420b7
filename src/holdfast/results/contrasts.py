"""What differs beyond noise: accuracies of methods that were trained with several seeds and met the same examples.

A method's accuracy is uncertain twice: another seed gives another network, and other test examples give another share.
Both count here, the examples in pairs (all networks met the same ones).

Of rows of bools, S seeds by N examples, with r[i] the mean over seeds of example i and a[s] the accuracy of seed s, the
variance of the mean is estimated as var(a) / S + var(r) / N, and that of a difference of two methods as
var(a) / S + var(b) / S' + var(r - q) / N. The part of the seeds' variance that differs from example to example is in
both terms, so the sum is on the large side. Intervals and p-values are Student's, with the degrees of freedom of
Welch and Satterthwaite. A method with one seed is lent the other's spread; where both have one, only the two networks
can be compared, and McNemar's exact test does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, sqrt

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InvalidInput
from holdfast.results.rates import interval, paired_difference

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """The mean accuracy over seeds with its interval, and the accuracy of each seed, on `n` examples.

    With one seed the interval is Wilson's and holds for that network alone.
    """

    mean: float
    low: float
    high: float
    values: tuple[float, ...]
    n: int


@dataclass(frozen=True)
class Contrast:
    """The accuracy of one method minus that of another, with its interval.

    p: probability of so large a difference if there were none; not corrected for other comparisons (see `holm`).
    of_methods: seeds are taken into account; if not, only two networks are compared.
    """

    difference: float
    low: float
    high: float
    p: float
    of_methods: bool


def estimate(right: Rows, level: float = 0.95) -> Estimate:
    """The accuracy of a method; `right` is bool [S, N].

    The interval is never narrower than Wilson's, which knows better near 0 and 1.
    """
    rows = _rows(right)
    seeds, n = rows.shape
    values = rows.mean(axis=1)
    mean = float(values.mean())
    low, high = interval(round(mean * n), n, level)
    if seeds > 1:
        half = _half([_Part(_variance(values) / seeds, seeds - 1), _examples(rows.mean(axis=0))], level)
        low, high = max(0.0, min(low, mean - half)), min(1.0, max(high, mean + half))
    return Estimate(mean, low, high, tuple(values.tolist()), n)


def contrast(first: Rows, second: Rows, level: float = 0.95) -> Contrast:
    """Compare two methods on the same examples; bool [S, N] and [S', N].

    Raises:
        InvalidInput: they do not cover as many examples.
    """
    one, other = _rows(first), _rows(second)
    if one.shape[1] != other.shape[1]:
        raise InvalidInput(
            f"{one.shape[1]} and {other.shape[1]} examples are not the same ones; compare like with like"
        )
    if len(one) == len(other) == 1:
        return _networks(one[0], other[0], level)
    a, b = one.mean(axis=1), other.mean(axis=1)
    difference = float(a.mean() - b.mean())
    spread = [_Part((_variance(x) if len(x) > 1 else _variance(y)) / len(x), len(x if len(x) > 1 else y) - 1)
              for x, y in ((a, b), (b, a))]  # fmt: skip
    parts = [*spread, _examples(one.mean(axis=0) - other.mean(axis=0))]
    half = _half(parts, level)
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return Contrast(difference, low, high, _p(difference, parts), True)


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Holm's correction of several p-values: no more than `level` of such families have one false finding below it.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6 (1979).
    """
    order = sorted(range(len(p)), key=lambda k: p[k])
    adjusted, least = [0.0] * len(p), 0.0
    for rank, k in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[k]))
        adjusted[k] = least
    return tuple(adjusted)


@dataclass(frozen=True)
class _Part:
    """A part of a variance, estimated with so many degrees of freedom."""

    variance: float
    freedom: float


def _rows(right: Rows) -> Rows:
    rows = np.atleast_2d(np.asarray(right, dtype=np.bool_))
    if rows.ndim != 2 or not rows.size:
        raise InvalidInput(f"an accuracy needs seeds and examples, got an array of shape {rows.shape}")
    return rows


def _variance(values: NDArray[np.float64]) -> float:
    return float(np.var(values, ddof=1))


def _examples(share: NDArray[np.float64]) -> _Part:
    return _Part(_variance(share) / len(share) if len(share) > 1 else 0.0, max(len(share) - 1, 1))


def _error(parts: Sequence[_Part]) -> tuple[float, float]:
    """Standard error of the sum of the parts, and its degrees of freedom."""
    total = sum(part.variance for part in parts)
    if total == 0.0:
        return 0.0, 1.0
    return sqrt(total), total**2 / sum(part.variance**2 / part.freedom for part in parts)


def _half(parts: Sequence[_Part], level: float) -> float:
    from scipy.special import stdtrit

    error, freedom = _error(parts)
    return error * float(stdtrit(freedom, (1.0 + level) / 2.0))


def _p(difference: float, parts: Sequence[_Part]) -> float:
    from scipy.special import stdtr

    error, freedom = _error(parts)
    if error == 0.0:
        return 0.0 if difference else 1.0
    return float(2.0 * stdtr(freedom, -abs(difference) / error))


def _networks(one: Rows, other: Rows, level: float) -> Contrast:
    """Two networks: the examples on which they disagree are heads and tails of a fair coin, if they do not differ."""
    from scipy.special import bdtr

    difference, low, high = paired_difference(one, other, level)
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    p = min(1.0, 2.0 * float(bdtr(min(wins, losses), wins + losses, 0.5))) if wins + losses else 1.0
    return Contrast(difference, low, high, 1.0 if isnan(p) else p, False)
