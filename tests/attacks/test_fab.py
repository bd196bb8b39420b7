"""FAB on boundaries whose nearest point is known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import FAB, Uniform, Zero, run
from holdfast.attacks.hyperplane import nearest_change
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import L1, L2, Linf, ThreatModel

THREATS = (Linf(0.1), L2(0.6), L1(2.0))
NOISE = Noise.of(1, torch.arange(12))


def two_classes(model: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A model whose logits are 0 and a function of the input."""
    return lambda x: torch.stack([torch.zeros(len(x)), model(x)], dim=1)


def problem() -> tuple[Tensor, Tensor, Tensor]:
    """12 inputs of class 0 under the boundary <w, x> = bound."""
    x = Noise.of(2, torch.arange(12)).uniform((20,), -0.2, 1.2).clamp(0, 1)
    w = Noise.of(3, torch.arange(1)).normal((20,))[0]
    return x, w, (x @ w).max() + 0.4


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_a_linear_boundary_is_met_at_its_nearest_point(threat: ThreatModel) -> None:
    """The first move overshoots by 5 %; further ones, from in between, come nearer."""
    x, w, bound = problem()
    model = two_classes(lambda z: z @ w - bound)
    _, least = nearest_change(threat, x, w.expand_as(x), bound - x @ w)
    target = torch.ones(12, dtype=torch.int64)
    wide = type(threat)(1.0) if isinstance(threat, Linf) else type(threat)(10.0)
    found = run(FAB(steps=30), wide, model, x, 1 - target, NOISE, target)
    assert found.success.all()
    assert (found.nearest >= least * (1 - 1e-5)).all()
    assert (found.nearest <= least * 1.01).all()
    torch.testing.assert_close(threat.distance(x, found.x_adv), found.nearest)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_an_adversary_counts_only_inside_the_ball(threat: ThreatModel) -> None:
    x, w, bound = problem()
    model = two_classes(lambda z: z @ w - bound)
    target = torch.ones(12, dtype=torch.int64)
    wide = run(
        FAB(steps=20), type(threat)(1.0 if isinstance(threat, Linf) else 10.0), model, x, 0 * target, NOISE, target
    )
    eps = float(wide.nearest.median()) * 1.0001
    found = run(FAB(steps=20), type(threat)(eps), model, x, 0 * target, NOISE, target)
    inside = wide.nearest <= eps
    assert inside.any()
    assert not inside.all()
    assert torch.equal(found.success, inside)
    assert torch.equal(found.x_adv[~inside], x[~inside]), "an adversary outside the ball was handed over"
    assert torch.equal(found.nearest, wide.nearest), "the walk must not depend on eps"


def test_a_curved_boundary_is_approached() -> None:
    """Outside the ball of radius 1 around the middle the model is wrong; each input's way there is known."""
    x = 0.5 + 0.1 * Noise.of(4, torch.arange(12)).normal((20,))
    model = two_classes(lambda z: (z - 0.5).square().sum(dim=1) - 1.0)
    target = torch.ones(12, dtype=torch.int64)
    found = run(FAB(steps=60), L2(2.0), model, x, 0 * target, NOISE, target)
    least = 1.0 - (x - 0.5).norm(dim=1)
    assert (found.nearest >= least * (1 - 1e-5)).all()
    assert (found.nearest <= least * 1.1).all()


def test_only_the_target_s_boundary_is_linearised() -> None:
    """The nearest boundary is another class's; aiming at the target walks past it, but meeting it counts."""
    x = torch.full((1, 2), 0.5)
    model = lambda z: torch.stack([torch.zeros(len(z)), z[:, 0] - 0.9, z[:, 1] - 0.6], dim=1)  # noqa: E731
    y, noise = torch.tensor([0]), Noise.of(1, torch.arange(1))
    first, second = (run(FAB(steps=5), Linf(0.5), model, x, y, noise, torch.tensor([k])).x_adv for k in (1, 2))
    assert float(first[0, 1]) == 0.5
    assert 0.9 < float(first[0, 0]) < 0.93
    assert float(second[0, 0]) == 0.5
    assert 0.6 < float(second[0, 1]) < 0.61


def test_a_flat_model_is_survived() -> None:
    x = torch.full((3, 4), 0.25)
    found = run(
        FAB(steps=3),
        Linf(0.1),
        two_classes(lambda z: 0.0 * z.sum(dim=1) - 1.0),
        x,
        torch.zeros(3).long(),
        Noise.of(1, torch.arange(3)),
        torch.ones(3).long(),
    )
    assert torch.equal(found.x_adv, x)
    assert not found.success.any()
    assert found.point.isfinite().all()


def test_inputs_that_are_wrong_already_need_no_change(cnn: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        wrong = (cnn(images).argmax(dim=1) + 1) % 5
    found = run(FAB(steps=2), Linf(0.1), cnn, images, wrong, NOISE, (wrong + 1) % 5)
    assert found.success.all()
    assert torch.equal(found.x_adv, images)


@pytest.mark.parametrize("initial", [Zero(), Uniform(0.5)], ids=["from x", "from half the ball"])
def test_the_laws_of_an_attack(initial: Zero | Uniform) -> None:
    check_attack(FAB(steps=6, target_classes=1, initial=initial), random=isinstance(initial, Uniform))


def test_restarts_need_a_random_start() -> None:
    FAB(restarts=2, initial=Uniform(0.5))
    with pytest.raises(InvalidInput, match=r"restarts is 2.*Uniform\(0.5\)"):
        FAB(restarts=2)


@pytest.mark.parametrize("field", ["steps", "target_classes"])
def test_numbers_below_one_are_refused(field: str) -> None:
    with pytest.raises(InvalidInput, match=f"{field} is 0"):
        FAB(**{field: 0})
