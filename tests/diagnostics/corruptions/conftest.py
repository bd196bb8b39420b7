import pytest
import torch
from torch import Tensor

from holdfast.data import ImageSet
from holdfast.noise import Noise


@pytest.fixture
def pictures(colours: ImageSet) -> Tensor:
    """6 images [3, 16, 12] in [0, 1] of whole grey levels."""
    return colours.images.float() / 255


@pytest.fixture
def noise() -> Noise:
    return Noise.of(0, torch.arange(6))
