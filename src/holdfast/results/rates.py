"""Shares of examples with their uncertainty: one rate, two rates on the same examples, several seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from statistics import NormalDist, fmean, stdev

import numpy as np
from numpy.typing import ArrayLike

from holdfast.errors import InvalidInput


def interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of the rate k/n: (low, high) in [0, 1].

    Unlike k/n ± z·sqrt(p(1-p)/n) it stays inside [0, 1] and keeps its coverage near 0 and 1, where robust
    accuracies of undefended models lie. With no example at all it is (0, 1): nothing is known.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    Raises InvalidInput unless 0 <= k <= n and 0 < level < 1.
    """
    if not 0 <= k <= n:
        raise InvalidInput(f"{k} of {n} is no rate: the count must lie between 0 and the number of examples")
    z = _quantile(level)
    if n == 0:
        return 0.0, 1.0
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # The bounds are exactly 0 and 1 at the ends; rounding must not move them.
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise InvalidInput(f"level {level} is no confidence: write a number between 0 and 1, such as 0.95")
    return NormalDist().inv_cdf((1 + level) / 2)


@dataclass(frozen=True)
class Rate:
    """`count` of `n` examples; `value` is their share in [0, 1], nan without examples."""

    count: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.n:
            raise InvalidInput(f"{self.count} of {self.n} is no rate: the count must lie between 0 and n")

    @property
    def value(self) -> float:
        """The share in [0, 1]."""
        return self.count / self.n if self.n else nan

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson score interval of the share."""
        return interval(self.count, self.n, level)


def paired_difference(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Share of `first` minus share of `second`, bool [N], with its interval: (difference, low, high).

    Only the examples on which the two disagree carry information, so the interval is much narrower than that of
    two independent samples. Source: A. Agresti and Y. Min, "Simple improved confidence intervals for comparing
    matched proportions", Statistics in Medicine 24 (2005): Wald's interval after adding half an example to each
    of the four cells, which keeps its coverage on small samples.
    """
    one, two = np.asarray(first, dtype=np.bool_), np.asarray(second, dtype=np.bool_)
    if one.shape != two.shape or one.ndim != 1 or not one.size:
        raise InvalidInput(f"a paired difference needs the same examples twice, got {one.shape} and {two.shape}")
    z = _quantile(level)
    n = one.size
    only_first, only_second = int((one & ~two).sum()), int((two & ~one).sum())
    b, c, m = only_first + 0.5, only_second + 0.5, n + 2
    centre = (b - c) / m
    half = z * sqrt(b + c - (b - c) ** 2 / m) / m
    return (only_first - only_second) / n, max(-1.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1 in the denominator; nan for one value) of `n` seeds."""

    mean: float
    std: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Summarise the values that several seeds gave. Raises InvalidInput for none and for values not finite."""
    if not values or not all(isfinite(value) for value in values):
        raise InvalidInput(f"mean and spread need at least one value, all finite; got {list(values)}")
    return Spread(fmean(values), stdev(values) if len(values) > 1 else nan, len(values))
