"""APGD in L1 against closed forms, a slow search of one example, and its laws."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from holdfast.attacks import APGDL1, DLR, CrossEntropy, TargetedDLR, Zero, run
from holdfast.attacks.apgd_l1 import _plan, _sparse_step
from holdfast.attacks.selection import greatest
from holdfast.errors import InvalidInput
from holdfast.losses import cross_entropy, margin
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import L1, Linf

NOISE = Noise.of(1, torch.arange(12))
LABELS = torch.arange(12) % 5
STAGES = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))


def test_the_plan_is_autoattack_s() -> None:
    """30, 30 and 40 moves, a pass at the start of each stage, a review after every move."""
    plan = _plan(100, STAGES, torch.device("cpu"))
    assert plan.radius.tolist() == [3.0] * 31 + [2.0] * 31 + [1.0] * 41
    assert plan.next_radius.tolist() == [3.0] * 30 + [2.0] * 31 + [1.0] * 42
    assert plan.first.nonzero()[:, 0].tolist() == [0, 31, 62]
    assert plan.last.nonzero()[:, 0].tolist() == [30, 61, 102]
    assert torch.equal(plan.review, ~plan.first)
    assert _plan(200, ((1.0, 1.0),), torch.device("cpu")).review.nonzero()[:, 0].tolist() == list(range(8, 201, 8))


@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(0.0, 1.2))
def test_the_greatest_entries_are_those_that_sorting_finds(seed: int, size: int, share: float) -> None:
    draw = Noise.of(seed, torch.arange(3))
    values, weight = draw.fold(0).uniform((size,), -0.5).clamp(min=0), draw.fold(1).uniform((size,)) + 0.01
    need = share * (weight * (values > 0)).sum(dim=1, keepdim=True) + 1e-3
    above, at = greatest(values, weight, need)
    for row in range(3):
        filled = 0.0
        for entry in values[row].argsort(descending=True).tolist():
            taken = float(values[row, entry]) > 0 and filled < float(need[row])
            if abs(filled - float(need[row])) > 1e-4:
                assert float(above[row, entry] + at[row, entry]) == taken
            filled += float(weight[row, entry]) * (float(values[row, entry]) > 0)
        if filled > need[row] + 1e-4:
            assert float((above[row] * weight[row]).sum()) < need[row]


def test_a_sparse_step_moves_the_steepest_entries() -> None:
    gradient = torch.tensor([[0.1, -0.4, 0.3, 0.2], [0.1, -0.4, 0.3, 0.2], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.5]])
    step = _sparse_step(gradient, torch.tensor([2.0, 0.3, 2.0, 1.2]), torch.tensor([1.0, 2.0, 1.0, 3.0]))
    expected = torch.tensor([[0.0, -0.5, 0.5, 0.0], [0.0, -2.0, 0.0, 0.0], [0.0] * 4, [1.0, 1.0, 1.0, 0.0]])
    torch.testing.assert_close(step, expected)


def slow_search(model: nn.Module, x: Tensor, y: Tensor, point: Tensor, eps: float, steps: int) -> tuple[Tensor, Tensor]:
    """One example, one stage after the other, as Croce and Hein's code does it: best point and last adversary."""

    def asked(z: Tensor) -> tuple[float, Tensor, bool]:
        z = z.clone().requires_grad_()
        logits = model(z)
        value = cross_entropy(logits, y).sum()
        return float(value.detach()), torch.autograd.grad(value, z)[0], bool(logits.argmax() != y)

    adversary, moves = x, [math.ceil(0.3 * steps), math.ceil(0.3 * steps)]
    for factor, count in zip((3.0, 2.0, 1.0), [*moves, steps - sum(moves)], strict=True):
        ball = L1(factor * eps)
        point = ball.project(x, point)
        best_value, gradient, wrong = asked(point)
        best, best_gradient = point, gradient
        adversary = point if wrong and L1(eps).contains(x, point) else adversary
        entries, size = float((point != x).sum()), factor * eps
        for _ in range(count):
            threshold = gradient.abs().flatten().sort(descending=True).values[max(math.ceil(entries / 1.5), 1) - 1]
            signs = gradient.sign() * (gradient.abs() >= threshold)
            point = ball.project(x, point + size * signs / signs.abs().sum())
            value, gradient, wrong = asked(point)
            adversary = point if wrong and L1(eps).contains(x, point) else adversary
            if value > best_value:
                best, best_gradient, best_value = point, gradient, value
            changed = float((best != x).sum())
            if changed / entries < 0.95:
                point, gradient, size = best, best_gradient, factor * eps
            else:
                size = max(size / 1.5, factor * eps / 10)
            entries = changed
        point = best
    return best, adversary


def test_the_search_is_that_of_the_slow_code(cnn: nn.Module, images: Tensor) -> None:
    network = cnn.double().eval()
    x = images.double()
    with torch.no_grad():
        y = network(x).argmax(dim=1)
    eps, steps = 1.0, 20
    found = run(APGDL1(steps=steps), L1(eps), network, x, y, NOISE)
    begun = APGDL1(steps=steps).start(L1(eps), x, y, NOISE).point
    assert 0 < found.success.sum() < 12, "the fixture must have both outcomes"
    for row in range(12):
        best, adversary = slow_search(network, x[[row]], y[[row]], begun[[row]], eps, steps)
        expected = adversary if found.success[row] else best
        torch.testing.assert_close(found.x_adv[[row]], expected, atol=1e-9, rtol=0)


def test_a_linear_model_falls_nearly_as_far_as_it_can() -> None:
    """The worst change is all in the steepest entry; the search ends with the two steepest, since 2 / 1.5 is not 1."""
    w = Noise.of(3, torch.arange(1)).normal((30,))[0]
    x = torch.full((4, 30), 0.5)
    model = lambda z: torch.stack([torch.zeros(len(z)), (z - 0.5) @ w - 5.0], dim=1)  # noqa: E731
    threat = L1(2.0, low=-50.0, high=50.0)  # far from the box
    found = run(APGDL1(), threat, model, x, torch.zeros(4).long(), Noise.of(1, torch.arange(4)))
    first, second = w.abs().topk(2).values.tolist()
    reached = margin(model(found.x_adv), torch.zeros(4).long())
    assert (reached >= 5.0 - threat.eps * first - 1e-4).all()
    assert (reached <= 5.0 - threat.eps * (first + second) / 2 + 1e-2).all()


def test_nothing_outside_the_ball_is_ever_handed_over(cnn: nn.Module, images: Tensor) -> None:
    """The search begins in a ball three times as large."""
    threat, attack = L1(1.0), APGDL1(steps=10)
    state = attack.start(threat, images, LABELS, NOISE)
    assert (threat.distance(images, state.point) > 2.0).any()
    for _ in range(attack.budget):
        state = attack.step(threat, cnn, state)
        assert threat.contains(images, state.x_adv).all()
    assert (state.x_adv != images).flatten(1).any(dim=1).all()


@pytest.mark.parametrize(
    "attack",
    [
        APGDL1(steps=7),
        APGDL1(steps=5, criterion=TargetedDLR(), target_classes=1),
        APGDL1(steps=4, criterion=DLR(), stages=((1.0, 1.0),)),
        APGDL1(steps=3, passes=2),
    ],
    ids=["ce", "targeted", "one stage", "several passes"],
)
def test_the_laws_of_an_attack(attack: APGDL1) -> None:
    check_attack(attack, threats=[L1(2.0)], random=True)


def test_the_names_are_those_of_the_dense_attack() -> None:
    assert APGDL1().name == "apgd-ce"
    assert APGDL1(criterion=TargetedDLR(), target_classes=5).name == "apgd-t"


def test_other_norms_are_refused(images: Tensor) -> None:
    with pytest.raises(InvalidInput, match="made for L1, not for Linf"):
        APGDL1().start(Linf(0.1), images, LABELS, NOISE)


def test_stages_have_to_fit() -> None:
    with pytest.raises(InvalidInput, match="the last radius must be 1"):
        APGDL1(stages=((2.0, 0.5), (1.5, 0.5)))
    with pytest.raises(InvalidInput, match="shares sum to 1"):
        APGDL1(stages=((2.0, 0.5), (1.0, 0.6)))
    with pytest.raises(InvalidInput, match="each of the 3 stages"):
        APGDL1(steps=2)


def test_gradients_are_averaged_over_passes() -> None:
    """A model whose gradient jumps between two values at every call."""
    calls = []

    def model(x: Tensor) -> Tensor:
        calls.append(len(x))
        slope = 1.0 if len(calls) % 2 else -3.0
        return torch.stack([torch.zeros(len(x)), slope * x.sum(dim=1)], dim=1)

    x = torch.full((2, 3), 0.5)
    attack = APGDL1(steps=3, passes=4, initial=Zero(), criterion=CrossEntropy())
    state = attack.start(L1(1.0), x, torch.zeros(2).long(), Noise.of(1, torch.arange(2)))
    gradient = attack.ask(model, state).gradient
    assert calls == [2] * 4
    once = [torch.sigmoid(torch.tensor(slope * 1.5)) * slope for slope in (1.0, -3.0)]
    torch.testing.assert_close(gradient, torch.full_like(x, float(sum(once)) / 2))
