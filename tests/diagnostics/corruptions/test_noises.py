import pytest
import torch

from holdfast.diagnostics.corruptions.noises import gaussian, impulse, poisson, shot, speckle
from holdfast.noise import Noise

NOISE = Noise.of(0, torch.arange(4))
MIDDLE = torch.full((4, 3, 100, 100), 127 / 255)


@pytest.mark.parametrize("photons", [50.0, 500.0])
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_poisson_numbers_have_the_mean_and_variance_of_their_level(level: int, photons: float) -> None:
    numbers = poisson(torch.full((4, 3, 100, 100), level / 255), NOISE, photons).double()
    mean = photons * level / 255
    assert float(numbers.mean()) == pytest.approx(mean, abs=4 * (mean / numbers.numel()) ** 0.5)
    assert float(numbers.var()) == pytest.approx(mean, rel=0.03)
    assert torch.equal(numbers, numbers.round())


def test_poisson_numbers_follow_the_distribution() -> None:
    numbers = poisson(torch.full((4, 3, 100, 100), 13 / 255), NOISE, 50.0)
    mean = torch.tensor(50.0 * 13 / 255)
    for count in range(8):
        share = float((numbers == count).double().mean())
        expected = float((count * mean.log() - mean - torch.lgamma(torch.tensor(count + 1.0))).exp())
        assert share == pytest.approx(expected, abs=4 * (expected / numbers.numel()) ** 0.5)


def test_shot_noise_keeps_the_mean_and_black() -> None:
    assert float(shot(MIDDLE, NOISE, 50.0).mean()) == pytest.approx(127 / 255, abs=1e-3)
    assert shot(torch.zeros(4, 1, 5, 5), NOISE, 50.0).abs().max() == 0


def test_deviations() -> None:
    assert float((gaussian(MIDDLE, NOISE, 0.08) - MIDDLE).std()) == pytest.approx(0.08, rel=0.01)
    assert float((speckle(MIDDLE, NOISE, 0.2) - MIDDLE).std()) == pytest.approx(0.2 * 127 / 255, rel=0.01)


def test_salt_and_pepper() -> None:
    struck = impulse(MIDDLE, NOISE, 0.07)
    for value in (0.0, 1.0):
        assert float((struck == value).double().mean()) == pytest.approx(0.035, rel=0.05)
    assert float((struck == 127 / 255).double().mean()) == pytest.approx(0.93, rel=0.01)
