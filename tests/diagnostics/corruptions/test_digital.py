import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from holdfast.diagnostics.corruptions.digital import contrast, elastic, jpeg, pixelate, saturate, through_pillow
from holdfast.noise import Noise


def _affine_by_hand(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[2, 3] map from points after the move to points before it, least squares over the three points."""
    return np.linalg.lstsq(np.c_[after, np.ones(3)], before, rcond=None)[0].T


def test_elastic_moves_points_and_then_pixels(noise: Noise) -> None:
    x = Noise.of(9, torch.arange(6)).uniform((1, 16, 12))
    ours = elastic(x, noise, 0.08, 0.06, 0.06)
    corners = np.array([[10.0, 12.0], [10.0, 4.0], [2.0, 4.0]])  # across and down from the centre (6, 8) by 12 // 3
    moves, field = noise.fold(0).uniform((3, 2), -0.72, 0.72), noise.fold(1).uniform((2, 16, 12), -1.0, 1.0)
    row, column = np.mgrid[:16, :12].astype(float)
    for k in range(6):
        back = _affine_by_hand(corners, corners + moves[k].double().numpy())
        across, down = (back[axis, 0] * column + back[axis, 1] * row + back[axis, 2] for axis in (0, 1))
        moved = ndimage.map_coordinates(x[k, 0].double().numpy(), [down, across], order=1, mode="mirror")
        shift = [ndimage.gaussian_filter(f.double().numpy(), 0.72, mode="reflect", truncate=3) * 0.96 for f in field[k]]
        expected = ndimage.map_coordinates(moved, [row + shift[1], column + shift[0]], order=1, mode="reflect")
        np.testing.assert_allclose(ours[k, 0].numpy(), expected, atol=1e-4)


def test_elastic_without_strength_is_the_three_points_alone(pictures: Tensor, noise: Noise) -> None:
    still = elastic(pictures, noise, 0, 0, 0)
    torch.testing.assert_close(still, pictures, atol=1e-5, rtol=0)
    assert float((elastic(pictures, noise, 0, 0, 0.08) - pictures).abs().mean()) > 0.01


def test_contrast_and_saturation_by_hand(noise: Noise) -> None:
    x = torch.tensor([0.0, 0.4]).reshape(1, 1, 1, 2)
    torch.testing.assert_close(contrast(x, noise, 0.5), torch.tensor([0.1, 0.3]).reshape(1, 1, 1, 2))
    pixel = torch.tensor([0.2, 0.4, 0.4]).reshape(1, 3, 1, 1)  # saturation 0.5, value 0.4
    torch.testing.assert_close(saturate(pixel, noise, 0.5, 0.0), torch.tensor([0.3, 0.4, 0.4]).reshape(1, 3, 1, 1))
    torch.testing.assert_close(saturate(pixel, noise, 2.0, 0.2), torch.tensor([0.0, 0.4, 0.4]).reshape(1, 3, 1, 1))


def test_pixelate_takes_means_of_boxes(noise: Noise) -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4) * 10 / 255
    boxes = torch.tensor([[25.0, 45.0], [105.0, 125.0]]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(pixelate(x, noise, 0.5), boxes.reshape(1, 1, 4, 4) / 255)


def test_jpeg_of_less_quality_is_further_away(pictures: Tensor, noise: Noise) -> None:
    gap = [float((jpeg(pictures, noise, quality) - pictures).abs().mean()) for quality in (95, 80, 40)]
    assert 0 < gap[0] < gap[1] < gap[2]


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pillow_sees_the_image_the_right_way_up(channels: int) -> None:
    x = (Noise.of(1, torch.arange(2)).uniform((channels, 4, 6)) * 255).round() / 255
    changed = through_pillow(x, lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    torch.testing.assert_close(changed, x.flip(3))
