import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from holdfast.diagnostics.blur import bordered, disk, gaussian_blur, motion_blur
from holdfast.noise import Noise


@pytest.mark.parametrize(("border", "mode"), [("edge", "edge"), ("mirror", "reflect"), ("symmetric", "symmetric")])
def test_borders_are_numpy_s(border: str, mode: str) -> None:
    picture = torch.arange(12.0).reshape(1, 1, 3, 4)
    wide = bordered(picture, (7, 2), border)
    np.testing.assert_array_equal(wide[0, 0].numpy(), np.pad(picture[0, 0].numpy(), ((7, 7), (2, 2)), mode=mode))


@pytest.mark.parametrize(("border", "mode"), [("edge", "nearest"), ("symmetric", "reflect")])
@pytest.mark.parametrize(("sigma", "truncate"), [(0.05, 4.0), (0.4, 4.0), (1.0, 4.0), (2.3, 3.0)])
def test_the_gaussian_is_scipy_s(border: str, mode: str, sigma: float, truncate: float) -> None:
    picture = Noise.of(1, torch.arange(2)).uniform((3, 6, 9))
    ours = gaussian_blur(picture, sigma, border, truncate)
    oracle = ndimage.gaussian_filter(picture.double().numpy(), (0, 0, sigma, sigma), mode=mode, truncate=truncate)
    np.testing.assert_allclose(ours.numpy(), oracle, atol=1e-6)


def test_a_disk_by_hand() -> None:
    # Radius 1: five pixels of 1/5; the softening leaves (1 - 2e)**2 of a lone pixel, e being the side weight.
    side = np.exp(-0.5 / 0.2**2) / (1 + 2 * np.exp(-0.5 / 0.2**2))
    soft = disk(1.0, 0.2)
    assert soft.shape == (5, 5)
    assert float(soft.sum()) == pytest.approx(1.0)
    assert float(soft[2, 2]) == pytest.approx(0.2 * (1 - 2 * side) ** 2 + 4 * 0.2 * side * (1 - 2 * side))
    assert float(disk(0.3, 0.1).max()) == pytest.approx(1.0)


def _impulse(angle: float) -> Tensor:
    picture = torch.zeros(1, 1, 21, 21)
    picture[0, 0, 10, 10] = 1.0
    return motion_blur(picture, 3, 2.0, torch.tensor([angle]))[0, 0]


def test_motion_by_hand() -> None:
    weights = np.exp(-0.5 * (np.arange(7) / 2.0) ** 2)
    weights /= weights.sum()
    # A pixel reads from those to its right, so a point is smeared to the left.
    np.testing.assert_allclose(_impulse(0.0)[10, 4:11].numpy(), weights[::-1], rtol=1e-5)
    np.testing.assert_allclose(_impulse(90.0)[4:11, 10].numpy(), weights[::-1], rtol=1e-5)
    np.testing.assert_allclose(_impulse(-90.0)[10:17, 10].numpy(), weights, rtol=1e-5)
    diagonal = _impulse(45.0)
    assert float(diagonal.sum()) == pytest.approx(1.0)
    assert float(diagonal[10, 10]) == pytest.approx(weights[0], rel=1e-5)
    # Steps 1 and 2 are 0.71 and 1.41 pixels both ways: both round to one.
    assert float(diagonal[9, 9]) == pytest.approx(weights[1] + weights[2], rel=1e-5)


def test_each_row_has_its_own_direction_and_edges_stand_on() -> None:
    pictures = Noise.of(1, torch.arange(2)).uniform((3, 8, 6))
    angles = torch.tensor([20.0, -130.0])
    both = motion_blur(pictures, 6, 2.0, angles)
    torch.testing.assert_close(both[1:], motion_blur(pictures[1:], 6, 2.0, angles[1:]))
    constant = torch.full((2, 1, 5, 5), 0.3)
    torch.testing.assert_close(motion_blur(constant, 9, 2.5, angles), constant)
