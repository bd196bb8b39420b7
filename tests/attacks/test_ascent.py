"""From gradients to moves: Adam against torch's own, and the falling step size."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import APGD, APGDL1, FAB, PGD, Adam, Attack, Margin, Steepest, TargetedMargin, Zero, run
from holdfast.attacks.criteria import TargetedDLR
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.testing import check_attack
from holdfast.threat import L1, L2, Linf, ThreatModel

ROWS, FEATURES = 3, 6


def gradients(count: int) -> Tensor:
    """[count, ROWS, FEATURES], of very different sizes."""
    draw = Noise.of(61, torch.arange(count)).normal((ROWS, FEATURES)).double()
    return draw * torch.tensor([1e-3, 1.0, 1e3]).double()[:, None]


@pytest.mark.parametrize(("threat", "size"), [(Linf(0.1), 1.0), (L2(0.5), FEATURES**0.5), (L1(2.0), FEATURES)], ids=str)
def test_adam_moves_as_torchs_own(threat: ThreatModel, size: float) -> None:
    rule, given = Adam(), gradients(7)
    parameter = nn.Parameter(torch.zeros(ROWS, FEATURES, dtype=torch.float64))
    own = torch.optim.Adam([parameter], lr=1.0, eps=1e-9, maximize=True)
    memory = torch.zeros(ROWS, rule.slots, FEATURES, dtype=torch.float64)
    for time in range(7):
        before = parameter.detach().clone()
        parameter.grad = given[time]
        own.step()
        direction, memory = rule(threat, given[time], memory, torch.full((ROWS,), time))
        assert torch.allclose(direction * size, parameter.detach() - before, atol=1e-9)


def test_adam_counts_each_rows_moves() -> None:
    rule, (first, second) = Adam(), gradients(2)
    start = torch.zeros(ROWS, rule.slots, FEATURES, dtype=torch.float64)
    zero = torch.zeros(ROWS, dtype=torch.int64)
    fresh, _ = rule(Linf(0.1), second, start, zero)
    _, memory = rule(Linf(0.1), first, start, zero)
    older, _ = rule(Linf(0.1), second, memory, zero + 1)
    young = torch.tensor([True, False, True])
    mixed = torch.where(young[:, None, None], start, memory)
    together, _ = rule(Linf(0.1), second, mixed, torch.where(young, 0, 1))
    assert torch.equal(together, torch.where(young[:, None], fresh, older))
    assert not torch.equal(fresh, older)


def test_step_sizes_fall_to_tenths() -> None:
    """On a linear model in Linf every move has full length, so that the lengths add up."""
    with torch.random.fork_rng(devices=[]):
        model = nn.Linear(4, 2).double()
    model.weight.data = torch.tensor([[1.0, -1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]]).double()
    x, y = torch.full((1, 4), 0.5).double(), torch.zeros(1, dtype=torch.int64)
    attack = PGD(steps=10, step_size=0.1, initial=Zero(), criterion=Margin(), drops=(0.5, 0.8))
    found = run(attack, Linf(0.2), model, x, y, Noise.of(0, torch.arange(1)))
    moved = 0.2 * 0.1 * (5 * 1.0 + 3 * 0.1 + 2 * 0.01)
    assert torch.allclose((found.x_adv - x).abs(), torch.full_like(x, moved), atol=1e-12)


@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=5, rule=Adam(), drops=(0.5,)),
        PGD(steps=5, rule=Adam(), criterion=TargetedMargin(), target_classes=2, early_stop=True),
    ],
    ids=lambda attack: attack.name,
)
def test_laws(attack: PGD) -> None:
    check_attack(attack, random=True)


def test_the_rule_is_in_the_name() -> None:
    assert PGD(steps=20).name == PGD(steps=20, rule=Steepest()).name == "pgd-20"
    assert PGD(steps=40, rule=Adam(), criterion=Margin()).name == "pgd-margin-adam-40"


def test_drops_lie_within_the_search() -> None:
    with pytest.raises(InvalidInput, match=r"drops is \(0.5, 1.0\)"):
        PGD(drops=(0.5, 1.0))


def test_adam_refuses_decays_that_do_not_decay() -> None:
    with pytest.raises(InvalidInput, match=r"decays lie in \[0, 1\)"):
        Adam(first=1.0)


AIMING = [
    PGD(criterion=TargetedMargin(), target_classes=1),
    APGD(criterion=TargetedMargin(), target_classes=1),
    APGDL1(criterion=TargetedDLR(), target_classes=1),
    FAB(),
]


@pytest.mark.parametrize("attack", AIMING, ids=lambda attack: attack.name)
def test_a_targeted_search_must_be_given_targets(attack: Attack[Any]) -> None:
    x, y = torch.full((2, 3), 0.5), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(InvalidInput, match="aims at a class"):
        run(attack, Linf(0.1), nn.Flatten(), x, y, Noise.of(0, torch.arange(2)))


@pytest.mark.parametrize("kind", [PGD, APGD, APGDL1])
@pytest.mark.parametrize("options", [{"criterion": TargetedMargin()}, {"target_classes": 2}], ids=str)
def test_a_loss_that_aims_needs_classes_to_aim_at(kind: type[PGD], options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="do not fit"):
        kind(**options)
