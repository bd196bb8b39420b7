import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.diagnostics.corruptions.weather import brightness, fog, plasma, snow
from holdfast.noise import Noise


def _plasma_by_loops(noise: Noise, row: int, side: int, decay: float) -> np.ndarray:
    """The diamond-square algorithm, point by point."""
    heights = np.zeros((side, side))
    step, size, draw = side, 100.0, 0
    while step >= 2:
        half, n = step // 2, side // step

        def random(shape: tuple[int, int], size: float = size) -> np.ndarray:
            nonlocal draw
            draw += 1
            return size * noise.fold(draw).uniform(shape, -size, size)[row].double().numpy()

        def at(h: int, w: int) -> float:
            return float(heights[h % side, w % side])

        for place, around in (
            ((half, half), ((0, 0), (0, step), (step, 0), (step, step))),
            ((0, half), ((0, 0), (0, step), (-half, half), (half, half))),
            ((half, 0), ((0, 0), (step, 0), (half, -half), (half, half))),
        ):
            draws = random((n, n))
            for i in range(n):
                for j in range(n):
                    h, w = i * step, j * step
                    mean = sum(at(h + dh, w + dw) for dh, dw in around) / 4
                    heights[h + place[0], w + place[1]] = mean + draws[i, j]
        step, size = half, size / decay
    heights -= heights.min()
    return heights / heights.max()


def test_plasma_by_loops() -> None:
    noise = Noise.of(3, torch.arange(2))
    ours = plasma(noise, 16, 2.5).numpy()
    for row in range(2):
        np.testing.assert_allclose(ours[row], _plasma_by_loops(noise, row, 16, 2.5), atol=1e-12)


def test_fog_keeps_the_brightest_value_possible(pictures: Tensor, noise: Noise) -> None:
    half = pictures / 2
    foggy = fog(half, noise, 1.5, 1.75)
    assert (foggy.flatten(1).amax(dim=1) <= half.flatten(1).amax(dim=1) + 1e-6).all()
    cloud = plasma(noise, 16, 1.75)[:, None, :, :12].float()
    top = half.flatten(1).amax(dim=1)[:, None, None, None]
    torch.testing.assert_close(foggy, (half + 1.5 * cloud) * top / (top + 1.5))


def test_brightness_moves_the_value_alone() -> None:
    pixel = torch.tensor([0.2, 0.4, 0.1]).reshape(1, 3, 1, 1)
    noise = Noise.of(0, torch.arange(1))
    torch.testing.assert_close(brightness(pixel, noise, 0.2), pixel * 0.6 / 0.4)
    torch.testing.assert_close(brightness(pixel, noise, 0.9), pixel / 0.4)
    torch.testing.assert_close(brightness(pixel[:, :1], noise, 0.2), pixel[:, :1] + 0.2)


def test_snow_whitens_and_falls() -> None:
    black, noise = torch.zeros(50, 3, 32, 32), Noise.of(0, torch.arange(50))
    snowy = snow(black, noise, 0.1, 0.2, 1, 0.6, 8, 3, 0.9)
    # Without flakes a black pixel becomes (1 - 0.9) * 0.5.
    assert float(snowy.flatten(1).amin(dim=1).max()) == pytest.approx(0.05)
    assert float(snowy.max()) > 0.2
    flakes = snowy - 0.05
    torch.testing.assert_close(flakes, flakes.flip(2, 3))
    along = (flakes[:, :, 1:] * flakes[:, :, :-1]).mean()
    across = (flakes[:, :, :, 1:] * flakes[:, :, :, :-1]).mean()
    assert along > 1.5 * across
