"""What differs beyond noise: against textbook tests in the limits, and against simulated methods that do not differ."""

import numpy as np
import pytest
from scipy import stats

from holdfast.errors import InvalidInput
from holdfast.results import contrast, estimate, holm, interval, paired_difference


def rows(seeds: int, n: int, rng: np.random.Generator, spread: float = 0.0, shift: float = 0.0) -> np.ndarray:
    """Verdicts of networks whose quality differs from seed to seed, on examples of differing hardness."""
    hardness = np.random.default_rng(1).random(n)
    quality = 0.6 + shift + spread * rng.normal(size=(seeds, 1))
    return hardness + 0.1 * rng.normal(size=(seeds, n)) < quality


def test_one_seed_has_wilsons_interval() -> None:
    found = estimate(np.arange(50)[None] < 40)
    assert (found.mean, found.values, found.n) == (0.8, (0.8,), 50)
    assert (found.low, found.high) == pytest.approx(interval(40, 50))


def test_the_interval_counts_seeds_and_examples() -> None:
    right = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], dtype=bool)
    found = estimate(right)
    # var(0.75, 0.5, 1) / 3 with 2 degrees of freedom, var(1, 1, 2/3, 1/3) / 4 with 3.
    seeds, examples = 0.0625 / 3, np.var([1, 1, 2 / 3, 1 / 3], ddof=1) / 4
    freedom = (seeds + examples) ** 2 / (seeds**2 / 2 + examples**2 / 3)
    half = stats.t.ppf(0.975, freedom) * (seeds + examples) ** 0.5
    assert found.low == pytest.approx(0.75 - half)
    assert found.high == 1.0


def test_an_interval_is_never_narrower_than_wilsons() -> None:
    assert estimate(np.zeros((3, 100), dtype=bool)).high == pytest.approx(interval(0, 100)[1])


def test_seeds_that_agree_leave_the_paired_test_of_the_examples() -> None:
    rng = np.random.default_rng(0)
    one, other = rows(1, 300, rng, shift=0.05), rows(1, 300, rng)
    found = contrast(np.repeat(one, 3, axis=0), np.repeat(other, 3, axis=0))
    expected = stats.ttest_rel(one[0].astype(float), other[0].astype(float))
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_two_networks_are_compared_exactly() -> None:
    one, other = np.arange(40) < 30, np.arange(40) >= 5
    found = contrast(one, other)
    assert found.p == pytest.approx(stats.binomtest(5, 15).pvalue)
    assert (found.difference, found.low, found.high) == pytest.approx(paired_difference(one, other))
    assert not found.of_methods
    assert contrast(one, one).p == 1.0


def test_methods_that_do_not_differ_are_seldom_told_apart() -> None:
    """Seeds scatter by 4 points: a test that took the networks for the methods would find differences half the time."""
    rng = np.random.default_rng(0)
    drawn = [(rows(3, 400, rng, 0.04), rows(3, 400, rng, 0.04)) for _ in range(300)]
    false = np.mean([contrast(a, b).p < 0.05 for a, b in drawn])
    naive = np.mean([contrast(a[0], b[0]).p < 0.05 for a, b in drawn])
    assert false <= 0.07
    assert naive > 0.2


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(0)
    found = contrast(rows(3, 400, rng, 0.01, shift=0.1), rows(3, 400, rng, 0.01))
    assert found.p < 0.01
    assert found.low < 0.1 < found.high


def test_a_method_of_one_seed_is_lent_the_others_spread() -> None:
    rng = np.random.default_rng(0)
    wide, narrow = rows(3, 400, rng, 0.3), rows(3, 400, rng, 0.001)
    one = rows(1, 400, rng, shift=0.1)
    assert contrast(one, wide).of_methods
    width = {name: (c := contrast(one, of)).high - c.low for name, of in (("wide", wide), ("narrow", narrow))}
    assert width["wide"] > 2 * width["narrow"]
    assert contrast(wide, one).p == pytest.approx(contrast(one, wide).p)


def test_holms_correction() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)


def test_other_examples_are_refused() -> None:
    with pytest.raises(InvalidInput, match="4 and 5 examples"):
        contrast(np.ones((2, 4), dtype=bool), np.ones((2, 5), dtype=bool))
    with pytest.raises(InvalidInput, match="seeds and examples"):
        estimate(np.ones((2, 0), dtype=bool))
