import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from holdfast.diagnostics.sampling import grid, read, rotate, zoomed
from holdfast.noise import Noise


@pytest.fixture
def pictures() -> Tensor:
    return Noise.of(1, torch.arange(3)).uniform((2, 9, 9))


def test_quarter_turns(pictures: Tensor) -> None:
    for turns in (-1, 1, 2, 4):
        torch.testing.assert_close(
            rotate(pictures, 90.0 * turns), torch.rot90(pictures, turns, (2, 3)), atol=1e-5, rtol=0
        )
    torch.testing.assert_close(rotate(pictures, 0.0), pictures, atol=1e-5, rtol=0)


def test_a_turn_is_bilinear_and_black_outside(pictures: Tensor) -> None:
    turned = rotate(pictures, 30.0)
    assert (turned[:, :, 0, 0] == 0).all()
    for picture, ours in zip(pictures.flatten(0, 1), turned.flatten(0, 1), strict=True):
        # scipy turns the array's axes by a positive angle the way the eye sees anticlockwise.
        oracle = ndimage.rotate(picture.double().numpy(), 30.0, reshape=False, order=1, mode="grid-constant")
        np.testing.assert_allclose(ours.numpy(), oracle, atol=1e-4)


@pytest.mark.parametrize(
    ("border", "mode"), [("mirror", "mirror"), ("symmetric", "reflect"), ("zeros", "grid-constant")]
)
def test_reading_between_and_beyond_pixels(border: str, mode: str) -> None:
    picture = Noise.of(2, torch.arange(2)).uniform((1, 5, 7))
    move = Noise.of(3, torch.arange(2)).uniform((2, 5, 7), -4.0, 4.0)
    row, column = grid(picture)
    ours = read(picture, row + move[:, 0], column + move[:, 1], border)
    for k in range(2):
        places = torch.stack([row + move[k, 0], column + move[k, 1]]).double().numpy()
        oracle = ndimage.map_coordinates(picture[k, 0].double().numpy(), places, order=1, mode=mode)
        np.testing.assert_allclose(ours[k, 0].numpy(), oracle, atol=1e-4)


@pytest.mark.parametrize("factor", [1.0, 1.03, 1.25, 1.75, 2.25])
def test_zooming_as_scipy_does(factor: float) -> None:
    pictures = Noise.of(4, torch.arange(2)).uniform((1, 32, 28))
    ours = zoomed(pictures, factor)
    assert ours.shape == pictures.shape
    for k in range(2):
        picture = pictures[k, 0].double().numpy()
        part = [int(np.ceil(side / factor)) for side in picture.shape]
        first = [(side - size) // 2 for side, size in zip(picture.shape, part, strict=True)]
        large = ndimage.zoom(picture[first[0] :, first[1] :][: part[0], : part[1]], factor, order=1)
        first = [(size - side) // 2 for side, size in zip(picture.shape, large.shape, strict=True)]
        np.testing.assert_allclose(ours[k, 0].numpy(), large[first[0] :, first[1] :][:32, :28], atol=1e-5)
