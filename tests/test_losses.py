"""Losses against numbers computed in plain floating point from their definitions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from holdfast import losses

LOGITS = [[1.0, -2.0, 0.5, 3.0, 0.25], [0.0, 4.0, -1.0, 2.0, 3.5], [2.0, 2.0, -5.0, 1.0, 0.0]]
LABELS = [0, 1, 2]
TARGETS = [3, 4, 0]


def softmax(row: list[float]) -> list[float]:
    total = sum(map(math.exp, row))
    return [math.exp(z) / total for z in row]


def others(row: list[float], y: int) -> list[float]:
    return [z for j, z in enumerate(row) if j != y]


def double(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def assert_rows(got: Tensor, expected: list[float]) -> None:
    assert got.shape == (len(expected),)
    assert got.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_cross_entropy() -> None:
    expected = [-math.log(softmax(row)[y]) for row, y in zip(LOGITS, LABELS, strict=True)]
    assert_rows(losses.cross_entropy(double(LOGITS), torch.tensor(LABELS)), expected)


def test_kl() -> None:
    p, q = LOGITS, LOGITS[1:] + LOGITS[:1]
    expected = [
        sum(a * math.log(a / b) for a, b in zip(softmax(x), softmax(y), strict=True)) for x, y in zip(p, q, strict=True)
    ]
    assert_rows(losses.kl(double(p), double(q)), expected)


def test_kl_of_a_certain_prediction_is_cross_entropy() -> None:
    """T9: the direction is KL(p || q): with p one-hot it is the cross-entropy of q."""
    certain = torch.full((3, 5), -1e4, dtype=torch.float64).scatter(1, torch.tensor(LABELS)[:, None], 1e4)
    q = double(LOGITS)
    assert torch.allclose(losses.kl(certain, q), losses.cross_entropy(q, torch.tensor(LABELS)), rtol=1e-12)
    assert not torch.allclose(losses.kl(q, certain), losses.kl(certain, q))


def test_kl_has_gradients_in_both_arguments() -> None:
    p, q = double(LOGITS).requires_grad_(), double(LOGITS[::-1]).requires_grad_()
    assert torch.autograd.gradcheck(losses.kl, (p, q))
    losses.kl(p, q).sum().backward()
    assert p.grad is not None
    assert q.grad is not None
    assert p.grad.abs().max() > 0.1
    # With respect to q's logits the gradient is softmax(q) - softmax(p).
    assert torch.allclose(q.grad, q.softmax(1) - p.softmax(1))


def test_margins() -> None:
    logits, y = double(LOGITS), torch.tensor(LABELS)
    hard = [row[c] - max(others(row, c)) for row, c in zip(LOGITS, LABELS, strict=True)]
    soft = [row[c] - math.log(sum(map(math.exp, others(row, c)))) for row, c in zip(LOGITS, LABELS, strict=True)]
    assert_rows(losses.margin(logits, y), hard)
    assert_rows(losses.soft_margin(logits, y), soft)


def test_margin_counts_a_tie_as_wrong() -> None:
    tie = torch.tensor([[1.0, 1.0, 0.0]])
    assert losses.margin(tie, torch.tensor([0])).item() == 0.0
    assert losses.margin(tie, torch.tensor([2])).item() == -1.0


def test_dlr() -> None:
    expected = []
    for row, y in zip(LOGITS, LABELS, strict=True):
        first, _, third, *_ = sorted(row, reverse=True)
        expected.append(-(row[y] - max(others(row, y))) / (first - third + 1e-12))
    assert_rows(losses.dlr(double(LOGITS), torch.tensor(LABELS)), expected)


def test_targeted_dlr() -> None:
    expected = []
    for row, y, t in zip(LOGITS, LABELS, TARGETS, strict=True):
        first, _, third, fourth, *_ = sorted(row, reverse=True)
        expected.append(-(row[y] - row[t]) / (first - 0.5 * (third + fourth) + 1e-12))
    assert_rows(losses.targeted_dlr(double(LOGITS), torch.tensor(LABELS), torch.tensor(TARGETS)), expected)


def test_dlr_by_hand() -> None:
    logits, y = torch.tensor([[5.0, 3.0, 1.0, 0.0]]), torch.tensor([0])
    assert losses.dlr(logits, y).item() == pytest.approx(-(5 - 3) / (5 - 1))
    assert losses.dlr(logits, torch.tensor([2])).item() == pytest.approx((5 - 1) / (5 - 1))
    assert losses.targeted_dlr(logits, y, torch.tensor([3])).item() == pytest.approx(-(5 - 0) / (5 - 0.5 * (1 + 0)))


def test_few_classes() -> None:
    three, two, y, t = torch.tensor([[5.0, 3.0, 1.0]]), torch.tensor([[5.0, 3.0]]), torch.tensor([0]), torch.tensor([1])
    assert losses.dlr(three, y).item() == pytest.approx(-(5 - 3) / (5 - 1))
    assert losses.targeted_dlr(three, y, t).item() == pytest.approx(-(5 - 3) / (5 - 1))
    assert losses.dlr(two, y).item() == pytest.approx(-2)
    assert losses.targeted_dlr(two, y, t).item() == pytest.approx(-2)
    assert losses.margin(two, y).item() == losses.soft_margin(two, y).item() == pytest.approx(2)


@given(
    st.lists(st.lists(st.floats(-20, 20), min_size=5, max_size=5), min_size=1, max_size=4),
    st.floats(0.1, 10),
    st.floats(-5, 5),
)
def test_invariances(rows: list[list[float]], scale: float, shift: float) -> None:
    logits, y = double(rows), torch.arange(len(rows))
    for loss in (losses.cross_entropy, losses.margin, losses.soft_margin):
        assert torch.allclose(loss(logits + shift, y), loss(logits, y), atol=1e-9)
    top = logits.topk(3, dim=1).values
    spread = top[:, 0] - top[:, 2] > 1e-3  # apart from ties, where the ratio is 0 / 0
    moved = losses.dlr(scale * logits + shift, y)
    assert torch.allclose(moved[spread], losses.dlr(logits, y)[spread], atol=1e-6)
    assert (losses.kl(logits, logits.flip(0)) >= -1e-12).all()
    right = losses.margin(logits, y) > 0
    assert torch.equal(right, (losses.dlr(logits, y) < 0) & right)
    assert (losses.soft_margin(logits, y) <= losses.margin(logits, y) + 1e-9).all()


def test_ties_and_extremes_stay_finite() -> None:
    flat = torch.zeros(2, 5, requires_grad=True)
    huge = torch.tensor([[1e4, -1e4, 0.0, 0.0, 0.0]] * 2)
    y, t = torch.tensor([0, 3]), torch.tensor([1, 0])
    for logits in (flat, huge):
        for value in (
            losses.cross_entropy(logits, y),
            losses.kl(logits, logits.flip(1)),
            losses.margin(logits, y),
            losses.soft_margin(logits, y),
            losses.dlr(logits, y),
            losses.targeted_dlr(logits, y, t),
        ):
            assert value.isfinite().all()
            assert value.dtype == torch.float32


def test_gradients_of_margins_reach_label_and_runner_up_alone() -> None:
    logits = double(LOGITS[:1]).requires_grad_()
    losses.margin(logits, torch.tensor([0])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1.0, 0.0, 0.0, -1.0, 0.0]]


@pytest.mark.parametrize(
    ("given_dtype", "kept"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_lifted(given_dtype: torch.dtype, kept: torch.dtype) -> None:
    logits = torch.tensor(LOGITS, dtype=given_dtype)
    assert losses.precise(logits).dtype == kept
    assert (losses.precise(logits) is logits) == (given_dtype == kept)
