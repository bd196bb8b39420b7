"""On a linear model of two classes the worst point of S(x) is known; the attacks must reach it."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import (
    APGD,
    DLR,
    FGSM,
    FGSMRS,
    PGD,
    Attack,
    CrossEntropy,
    Margin,
    Sphere,
    TargetedDLR,
    Uniform,
    Zero,
    run,
)
from holdfast.losses import margin
from holdfast.noise import Noise
from holdfast.threat import L1, L2, Linf, ThreatModel

FAR = {"low": -100.0, "high": 100.0}  # a box that no ball meets
BALLS = (Linf(0.3, **FAR), L2(0.8, **FAR), L1(1.5, **FAR))


@dataclass(frozen=True)
class LinearProblem:
    """Linear logits of two classes in float64; the margin of row i is w[i] x + c[i], and all rows are right."""

    model: nn.Module
    x: Tensor
    y: Tensor
    w: Tensor

    def margin(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return margin(self.model(x), self.y)

    def least_margin(self, threat: ThreatModel) -> Tensor:
        """Hoelder: over the ball the margin falls by eps times the dual norm of w."""
        order = {Linf: 1, L2: 2, L1: torch.inf}[type(threat)]
        return self.margin(self.x) - threat.eps * torch.linalg.vector_norm(self.w, ord=order, dim=1)

    def attacked(self, attack: Attack[Any], threat: ThreatModel) -> Tensor:
        noise = Noise.of(1, torch.arange(len(self.x)))
        target = 1 - self.y if attack.targets else None
        return run(attack, threat, self.model, self.x, self.y, noise, target).x_adv


def linear_problem(low: float, high: float, bias: float = 0.0) -> LinearProblem:
    draw = Noise.of(2, torch.arange(6))
    with torch.random.fork_rng(devices=[]):
        model = nn.Linear(8, 2).double()
    model.weight.data = draw.fold(0).normal((8,))[:2].double()
    model.bias.data = torch.tensor([bias, 0.0]).double()
    x = draw.fold(1).uniform((8,), low, high).double()
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    side = torch.where(y == 0, 1.0, -1.0).double()[:, None]
    return LinearProblem(model, x, y, side * (model.weight.data[0] - model.weight.data[1]))


@pytest.fixture
def problem() -> LinearProblem:
    return linear_problem(-2.0, 2.0)


@pytest.mark.parametrize("threat", BALLS, ids=str)
@pytest.mark.parametrize("criterion", [CrossEntropy(), Margin(), DLR()], ids=lambda c: type(c).__name__)
def test_one_full_step_from_x_is_exact(problem: LinearProblem, threat: ThreatModel, criterion: Any) -> None:
    found = problem.attacked(FGSM(criterion=criterion), threat)
    assert torch.allclose(problem.margin(found), problem.least_margin(threat), atol=1e-12)


@pytest.mark.parametrize("threat", BALLS, ids=str)
@pytest.mark.parametrize("steps", [4, 7])
def test_pgd_from_x_is_exact_once_its_steps_reach(problem: LinearProblem, threat: ThreatModel, steps: int) -> None:
    found = problem.attacked(PGD(steps=steps, step_size=0.25, initial=Zero()), threat)
    assert torch.allclose(problem.margin(found), problem.least_margin(threat), atol=1e-12)


def test_pgd_that_cannot_reach_stops_where_its_steps_end(problem: LinearProblem) -> None:
    threat = Linf(0.3, **FAR)
    found = problem.attacked(PGD(steps=3, step_size=0.25, initial=Zero()), threat)
    assert torch.allclose(problem.margin(found), problem.least_margin(Linf(0.225, **FAR)), atol=1e-12)


def test_random_starts_reach_the_same_corner(problem: LinearProblem) -> None:
    threat = Linf(0.3, **FAR)
    for attack in (PGD(steps=8, step_size=0.25, initial=Uniform()), FGSMRS(step_size=2.0), APGD(steps=30)):
        found = problem.attacked(attack, threat)
        assert torch.allclose(problem.margin(found), problem.least_margin(threat), atol=1e-12), attack.name


def test_random_starts_in_l2_turn_towards_the_optimum(problem: LinearProblem) -> None:
    threat = L2(0.8, **FAR)
    found = problem.attacked(PGD(steps=30, step_size=2.0, initial=Uniform()), threat)
    assert torch.allclose(problem.margin(found), problem.least_margin(threat), atol=1e-9)


@pytest.mark.parametrize("threat", BALLS[:2], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"criterion": CrossEntropy()},
        {"criterion": Margin()},
        {"criterion": DLR()},
        {"criterion": TargetedDLR(), "target_classes": 1},
    ],
    ids=lambda o: type(o["criterion"]).__name__,
)
def test_apgd_is_exact(threat: ThreatModel, options: dict[str, Any]) -> None:
    # A large bias: no row can be broken, so that the point of greatest criterion is handed over.
    problem = linear_problem(-2.0, 2.0, bias=12.0)
    assert (problem.least_margin(threat) > 0).all()
    found = problem.attacked(APGD(steps=100, initial=Sphere(), **options), threat)
    assert torch.allclose(problem.margin(found), problem.least_margin(threat), atol=1e-9)


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=8, step_size=0.25), APGD(steps=30)], ids=lambda a: a.name)
def test_with_a_box_every_coordinate_goes_as_far_as_it_may(attack: Attack[Any]) -> None:
    problem, threat = linear_problem(0.0, 1.0, bias=9.0), Linf(0.3)
    room = torch.where(problem.w > 0, problem.x, 1.0 - problem.x).clamp(max=0.3)
    least = problem.margin(problem.x) - (problem.w.abs() * room).sum(dim=1)
    assert (least > 0).all()
    assert (room < 0.3).any()
    assert torch.allclose(problem.margin(problem.attacked(attack, threat)), least, atol=1e-12)
