"""Models whose loss is a known function of the input, and few images to look at."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.noise import Noise


class Loss(nn.Module):
    """Logits of two classes whose cross-entropy with class 0 is exactly `of(x)`, a positive function."""

    def __init__(self, of: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor) -> Tensor:
        # log(1 + exp(-z)) = l for z = -log(exp(l) - 1).
        z = -self.of(x).expm1().log()
        return torch.stack([z, torch.zeros_like(z)], dim=1)


@pytest.fixture
def loss_model() -> type[Loss]:
    return Loss


def weights(shape: tuple[int, ...], seed: int = 8) -> Tensor:
    """Numbers in [-1, 1], the same at every call."""
    return Noise.of(seed, torch.arange(1)).uniform(shape, -1.0, 1.0)[0]


@pytest.fixture
def slope() -> Tensor:
    return 0.02 * weights((2, 6, 6))


@pytest.fixture
def linear_loss(slope: Tensor) -> Loss:
    """Cross-entropy 1 + <slope, x - 0.5> with class 0."""
    return Loss(lambda x: 1.0 + ((x - 0.5) * slope).flatten(1).sum(dim=1))


@pytest.fixture
def bend() -> Tensor:
    return 0.5 + 0.5 * weights((2, 6, 6), seed=9).abs()


@pytest.fixture
def quadratic_loss(bend: Tensor) -> Loss:
    """Cross-entropy 1 + sum(bend * (x - 0.5)**2) / 2 with class 0."""
    return Loss(lambda x: 1.0 + ((x - 0.5).square() * bend).flatten(1).sum(dim=1) / 2)


@pytest.fixture
def inner() -> ImageSet:
    """7 examples [2, 6, 6] of class 0 in [0.3, 0.7], so that small balls lie inside the box."""
    return ImageSet(
        Noise.of(6, torch.arange(7)).uniform((2, 6, 6), 0.3, 0.7),
        torch.zeros(7, dtype=torch.int64),
        ("a", "b"),
        "inner",
    )


@pytest.fixture
def some(images: Tensor, labels: Tensor) -> ImageSet:
    """12 examples [2, 6, 6] of 5 classes, some pixels at 0 and at 1."""
    return ImageSet(images, labels, tuple("abcde"), "some")


@pytest.fixture
def colours() -> ImageSet:
    """6 smooth 8-bit images [3, 16, 12] of 3 classes."""
    row, column = torch.meshgrid(torch.arange(16), torch.arange(12), indexing="ij")
    phase = Noise.of(7, torch.arange(6)).uniform((3,), 0.0, 6.0)[:, :, None, None]
    pixels = (127.5 + 127.5 * (0.5 * row + 0.7 * column + phase).sin()).round().to(torch.uint8)
    return ImageSet(pixels, torch.arange(6) % 3, ("a", "b", "c"), "colours")


@pytest.fixture
def colour_cnn() -> nn.Module:
    """Images [3, 16, 12] to logits of 3 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 14 * 10, 3))
