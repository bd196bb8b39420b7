"""A linear classifier whose robust accuracy is known in closed form, on inputs far from the box."""

import pytest
import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.noise import Noise

CLASSES = ("a", "b", "c", "d", "e")
EPS = 0.05


def margins(model: nn.Module, images: ImageSet) -> tuple[Tensor, Tensor]:
    """[N, K] logit gaps to the label's class and [N, K] L1 norms of their gradients; inf and 1 at the label."""
    weight, bias = model.weight.detach(), model.bias.detach()
    logits = images.images @ weight.T + bias
    gap = logits.gather(1, images.labels[:, None]) - logits
    slope = (weight[images.labels][:, None] - weight[None]).abs().sum(dim=2)
    own = nn.functional.one_hot(images.labels, len(CLASSES)).bool()
    return gap.masked_fill(own, torch.inf), slope.masked_fill(own, 1.0)


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(20, len(CLASSES))
    layer.weight.data = Noise.of(1, torch.arange(len(CLASSES))).normal((20,))
    layer.bias.data = torch.zeros(len(CLASSES))
    return layer.eval()


@pytest.fixture
def images(model: nn.Module) -> ImageSet:
    """60 rows of a table in [0.3, 0.7]; the model is right on all but every tenth."""
    x = Noise.of(2, torch.arange(60)).uniform((20,), 0.3, 0.7)
    y = model(x).argmax(dim=1)
    y[::10] = (y[::10] + 1) % len(CLASSES)
    return ImageSet(x, y, CLASSES, "synthetic/test")


@pytest.fixture
def robust(model: nn.Module, images: ImageSet) -> Tensor:
    """[N] bool: no input within EPS (Linf) changes the right prediction; exact for a linear model."""
    gap, slope = margins(model, images)
    return (gap > EPS * slope).all(dim=1)
