"""The projection onto a hyperplane in the box against linear programming and a slow reference."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from torch import Tensor

from holdfast.attacks.hyperplane import nearest_change
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import L1, L2, Linf, ThreatModel

THREATS = (Linf(0.1), L2(0.5), L1(2.0))


def cases(seed: int, dimensions: int, count: int = 24, share: float = 0.95) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs with entries on the box's faces, normals with zeros, and rises up to `share` of what the box allows."""
    draw = Noise.of(seed, torch.arange(count))
    x = draw.fold(0).uniform((dimensions,), -0.4, 1.4).clamp(0, 1)
    normal = draw.fold(1).normal((dimensions,)) * (draw.fold(2).uniform((dimensions,)) > 0.2)
    normal[:, 0] = 1.0
    up = normal.clamp(min=0) @ torch.ones(dimensions) - (normal * x).sum(dim=1)
    down = normal.clamp(max=0) @ torch.ones(dimensions) - (normal * x).sum(dim=1)
    level = draw.fold(3).uniform((), -share, share)
    return x, normal, torch.where(level > 0, level * up, -level * down)


def least_norm(norm: str, x: np.ndarray, normal: np.ndarray, rise: float) -> float:
    """The least norm of a change, by a solver for general problems."""
    size = len(x)
    low, high = -x, 1.0 - x
    if norm == "L2":
        start = np.clip(normal * rise / (normal @ normal), low, high)
        found = minimize(
            lambda d: d @ d,
            start,
            jac=lambda d: 2 * d,
            bounds=list(zip(low, high, strict=True)),
            constraints={"type": "eq", "fun": lambda d: normal @ d - rise, "jac": lambda d: normal},
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )
        assert found.success
        return float(np.sqrt(found.fun))
    # Variables: the change d, and its size, one number (Linf) or one a coordinate (L1).
    sizes = 1 if norm == "Linf" else size
    over = np.ones((size, 1)) if norm == "Linf" else np.eye(size)
    found = linprog(
        c=np.r_[np.zeros(size), np.ones(sizes)],
        A_ub=np.block([[np.eye(size), -over], [-np.eye(size), -over]]),
        b_ub=np.zeros(2 * size),
        A_eq=np.r_[normal, np.zeros(sizes)][None],
        b_eq=[rise],
        bounds=[*zip(low, high, strict=True), *[(0, None)] * sizes],
    )
    assert found.success
    return float(found.fun)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_no_change_is_smaller(threat: ThreatModel) -> None:
    x, normal, rise = (values.double() for values in cases(1, 9))
    change, found = nearest_change(threat, x, normal, rise)
    torch.testing.assert_close((normal * change).sum(dim=1), rise, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(threat.distance(x, x + change), found)
    least = [least_norm(threat.norm, *row) for row in zip(x.numpy(), normal.numpy(), rise.tolist(), strict=True)]
    np.testing.assert_allclose(found.numpy(), least, rtol=1e-5, atol=1e-7)


@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from(THREATS))
def test_the_hyperplane_is_met_within_the_box(seed: int, dimensions: int, threat: ThreatModel) -> None:
    x, normal, rise = cases(seed, dimensions, count=4)
    change, _ = nearest_change(threat, x, normal, rise)
    assert ((x + change >= -1e-6) & (x + change <= 1 + 1e-6)).all()
    assert (change[normal == 0] == 0).all()
    slack = 1e-5 * normal.abs().sum(dim=1)
    assert ((normal * change).sum(dim=1) - rise).abs().le(slack).all()


@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from(THREATS))
def test_where_the_box_is_too_small_the_change_goes_to_its_corner(
    seed: int, dimensions: int, threat: ThreatModel
) -> None:
    x, normal, rise = cases(seed, dimensions, count=4)
    rise = torch.where(rise >= 0, 2.0, -2.0) * normal.abs().sum(dim=1)
    corner = torch.where((normal > 0) == (rise > 0)[:, None], 1.0, 0.0)
    expected = torch.where(normal != 0, corner - x, 0.0)
    torch.testing.assert_close(nearest_change(threat, x, normal, rise)[0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
@pytest.mark.parametrize("length", [1e-25, 1e-3, 1e12])
def test_the_length_of_the_normal_does_not_matter(threat: ThreatModel, length: float) -> None:
    x, normal, rise = cases(3, 30)
    change, _ = nearest_change(threat, x, normal, rise)
    torch.testing.assert_close(
        nearest_change(threat, x, length * normal, length * rise)[0], change, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_degenerate_rows_stay_finite(threat: ThreatModel) -> None:
    x = torch.tensor([[0.0, 0.5], [0.0, 0.5], [1.0, 0.5], [0.2, 0.5]])
    normal = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    rise = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert torch.equal(nearest_change(threat, x, normal, rise)[0], torch.zeros(4, 2))


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_rows_are_solved_one_by_one(threat: ThreatModel) -> None:
    x, normal, rise = cases(4, 12)
    together, _ = nearest_change(threat, x, normal, rise)
    alone = torch.cat([nearest_change(threat, x[[i]], normal[[i]], rise[[i]])[0] for i in range(len(x))])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    images, _ = nearest_change(threat, x.reshape(-1, 3, 2, 2), normal.reshape(-1, 3, 2, 2), rise)
    assert torch.equal(images.flatten(1), together)


def test_a_box_of_another_size() -> None:
    """Everything scales with the box."""
    x, normal, rise = cases(5, 12)
    small, _ = nearest_change(L2(0.5), x, normal, rise)
    large, _ = nearest_change(L2(0.5, low=-3.0, high=5.0), 8.0 * x - 3.0, normal, 8.0 * rise)
    torch.testing.assert_close(large, 8.0 * small, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_a_box_without_end(threat: ThreatModel) -> None:
    x, normal, rise = cases(7, 12)
    open_box = type(threat)(threat.eps, low=-math.inf, high=math.inf)
    change, norm = nearest_change(open_box, x, normal, rise)
    # Hoelder: the least norm is |rise| over the dual norm of the normal.
    dual = torch.linalg.vector_norm(normal, {"Linf": 1, "L2": 2, "L1": math.inf}[threat.norm], dim=1)
    torch.testing.assert_close(norm, rise.abs() / dual, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close((normal * change).sum(dim=1), rise, atol=1e-5, rtol=1e-4)


def test_other_norms_are_refused() -> None:
    class Sum(L1):
        pass

    class Other(ThreatModel):
        norm = "L0"
        distance = project = sample = steepest = L1.distance

    x, normal, rise = cases(6, 3)
    nearest_change(Sum(1.0), x, normal, rise)
    with pytest.raises(InvalidInput, match="use Linf, L2 or L1"):
        nearest_change(Other(1.0), x, normal, rise)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)], ids=str)
def test_rounds_too_many_change_nothing(threat: ThreatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerators take some, because asking whether all is done means waiting for them."""
    x, normal, rise = cases(3, 40)
    change, norm = nearest_change(threat, x, normal, rise)
    looks: list[int] = []

    def never(one: Tensor, other: Tensor) -> bool:
        looks.append(0)
        return False

    monkeypatch.setattr(torch, "equal", never)
    again, norm_again = nearest_change(threat, x, normal, rise)
    assert len(looks) == 40
    assert bool((again == change).all())
    assert bool((norm_again == norm).all())
