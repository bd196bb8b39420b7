"""Where searches begin."""

import pytest
import torch
from torch import Tensor

from holdfast.attacks import From, Gaussian, Initial, Sphere, Uniform, Zero
from holdfast.attacks.initial import check_start
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import L1, L2, Linf, ThreatModel

THREATS = (Linf(0.1), L2(0.5), L1(2.0))
NOISE = Noise.of(4, torch.arange(12))


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("initial", [Zero(), Uniform(), Sphere()], ids=lambda i: type(i).__name__)
def test_starts_lie_in_the_ball_and_belong_to_their_row(initial: Initial, threat: ThreatModel, images: Tensor) -> None:
    start = initial(threat, images, NOISE)
    assert threat.contains(images, start).all()
    order = torch.tensor([7, 2])
    assert torch.allclose(initial(threat, images[order], NOISE.select(order)), start[order], atol=1e-7)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_a_sphere_start_touches_the_surface(threat: ThreatModel) -> None:
    x = torch.full((12, 2, 6, 6), 0.5)
    assert torch.allclose(threat.distance(x, Sphere()(threat, x, NOISE)), torch.tensor(threat.eps), rtol=1e-4)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_a_uniform_start_is_a_sample_of_a_scaled_ball(threat: ThreatModel, images: Tensor) -> None:
    assert torch.equal(Uniform()(threat, images, NOISE), threat.sample(images, NOISE))
    assert torch.equal(Uniform(0.5)(threat, images, NOISE), threat.scaled(0.5).sample(images, NOISE))


def test_a_gaussian_start_is_neither_projected_nor_clipped(images: Tensor) -> None:
    start = Gaussian(0.001)(Linf(1e-4), images, NOISE)
    move = start - images
    assert move.std().item() == pytest.approx(0.001, rel=0.1)
    assert start.min() < 0
    assert move.abs().max() > 1e-3


def test_points_of_the_callers_own(images: Tensor) -> None:
    assert From(images.flip(0))(Linf(0.1), images, NOISE) is not images
    assert torch.equal(From(images.flip(0))(Linf(0.1), images, NOISE), images.flip(0))
    assert Zero()(Linf(0.1), images, NOISE) is images


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (torch.tensor([[-0.5, 1.0]]), r"\[-0\.5, 1\]"),
        (torch.tensor([[0.0, 255.0]]), r"\[0, 255\]"),
        (torch.tensor([[0.0, float("nan")]]), "nan"),
    ],
)
def test_inputs_outside_the_box_are_refused_with_the_remedy(x: Tensor, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        check_start(x, Linf(0.1))
    assert "holdfast.models.Normalize" in str(caught.value)
    check_start(torch.tensor([[0.0, 1.0 + 1e-7]]), Linf(0.1))
