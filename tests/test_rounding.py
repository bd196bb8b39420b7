"""float32 means float32: no TF32 in an evaluation's own passes."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import FGSM
from holdfast.data import ImageSet
from holdfast.evaluation import Protocol, evaluate
from holdfast.evaluation.rounding import without_tf32
from holdfast.threat import Linf

OPERATIONS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)


def settings() -> list[str]:
    return [operation.fp32_precision for operation in OPERATIONS]


@pytest.fixture
def rounded() -> Iterator[list[str]]:
    """All operations in TF32, as a user may have set them."""
    before = settings()
    for operation in OPERATIONS:
        operation.fp32_precision = "tf32"
    yield settings()
    for operation, value in zip(OPERATIONS, before, strict=True):
        operation.fp32_precision = value


def test_the_model_answers_an_evaluation_in_float32(model: nn.Module, images: ImageSet, rounded: list[str]) -> None:
    seen: list[list[str]] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            seen.append(settings())
            logits: Tensor = self.inner(x)
            return logits

    evaluate(Watched(), images, Linf(0.05), Protocol("one", "1", (FGSM(),)), progress=False)
    assert seen
    assert all(one == ["ieee"] * 3 for one in seen)
    assert settings() == rounded == ["tf32"] * 3


def test_the_settings_come_back_after_an_error(rounded: list[str]) -> None:
    with pytest.raises(KeyError), without_tf32():
        raise KeyError
    assert settings() == rounded


@pytest.mark.gpu
def test_convolutions_and_products_have_the_bits_of_float32(rounded: list[str]) -> None:
    generator = torch.Generator("cuda").manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator, device="cuda") for shape in ((8, 64, 16, 16), (64, 64, 3, 3)))
    a = torch.randn(512, 512, generator=generator, device="cuda")

    def error() -> float:
        pairs = (
            (nn.functional.conv2d(x, weight), nn.functional.conv2d(x.double(), weight.double())),
            (a @ a, a.double() @ a.double()),
        )
        return max(float((found - exact).norm() / exact.norm()) for found, exact in pairs)

    with without_tf32():
        assert error() < 1e-5
    assert torch.cuda.get_device_capability() < (8, 0) or error() > 1e-4, "nothing to switch off here"
