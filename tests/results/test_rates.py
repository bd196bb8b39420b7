from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidInput
from holdfast.results import Rate, interval, paired_difference, spread

Z = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


def test_interval_solves_the_equation_of_wilson() -> None:
    """The bounds are the two p for which |k/n - p| = z sqrt(p (1 - p) / n)."""
    for p in interval(457, 1000):
        assert abs(0.457 - p) == pytest.approx(Z * sqrt(p * (1 - p) / 1000), rel=1e-12)


def test_interval_at_the_ends_has_its_closed_form() -> None:
    assert interval(0, 50) == (0.0, pytest.approx(Z**2 / (50 + Z**2), rel=1e-12))
    assert interval(50, 50) == (pytest.approx(50 / (50 + Z**2), rel=1e-12), 1.0)


def test_interval_of_half_of_ten() -> None:
    """Published value for 5 of 10 at 95 %: (0.2366, 0.7634)."""
    assert interval(5, 10) == (pytest.approx(0.236593, abs=1e-6), pytest.approx(0.763407, abs=1e-6))


def test_interval_of_nothing_is_everything() -> None:
    assert interval(0, 0) == (0.0, 1.0)


@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_interval_holds_the_rate_and_mirrors(n: int, share: float, level: float) -> None:
    k = round(share * n)
    low, high = interval(k, n, level)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = interval(n - k, n, level)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-12)


@pytest.mark.parametrize(("k", "n", "level"), [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0), (1, 5, 95)])
def test_interval_refuses(k: int, n: int, level: float) -> None:
    with pytest.raises(InvalidInput):
        interval(k, n, level)


def test_rate() -> None:
    assert Rate(1, 4).value == 0.25
    assert Rate(1, 4).interval() == interval(1, 4)
    assert isnan(Rate(0, 0).value)
    with pytest.raises(InvalidInput, match="5 of 4"):
        Rate(5, 4)


def test_paired_difference_depends_on_disagreements_only() -> None:
    first = np.array([True] * 60 + [False] * 40)
    second = first.copy()
    second[:10] = False
    difference, low, high = paired_difference(first, second)
    assert difference == pytest.approx(0.1)
    assert 0 < low < 0.1 < high
    centre, half = 10 / 102, Z * sqrt(11 - 100 / 102) / 102
    assert (low, high) == (pytest.approx(centre - half), pytest.approx(centre + half))
    assert paired_difference(second, first) == (-difference, pytest.approx(-high), pytest.approx(-low))


def test_paired_difference_of_equals_straddles_zero() -> None:
    difference, low, high = paired_difference([True, False], [True, False])
    assert difference == 0
    assert low < 0 < high


def test_paired_difference_refuses_other_examples() -> None:
    with pytest.raises(InvalidInput, match="same examples"):
        paired_difference([True], [True, False])


def test_spread() -> None:
    assert spread([0.4, 0.5, 0.6]).mean == pytest.approx(0.5)
    assert spread([0.4, 0.5, 0.6]).std == pytest.approx(0.1)
    assert isnan(spread([0.4]).std)
    with pytest.raises(InvalidInput):
        spread([])
    with pytest.raises(InvalidInput, match="nan"):
        spread([0.1, float("nan")])
