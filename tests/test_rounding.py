"""float32 means float32: no TF32 and no autocast where a model is measured."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import FGSM
from holdfast.data import ImageSet
from holdfast.diagnostics import diagnose
from holdfast.evaluation import Protocol, evaluate
from holdfast.noise import Noise
from holdfast.rounding import without_tf32
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


class Watched(nn.Module):
    """A linear classifier that notes how it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(20, 5)
        self.seen: list[list[str]] = []
        self.dtypes: set[torch.dtype] = set()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        self.seen.append(settings())
        self.dtypes.add(logits.dtype)
        return logits


def measured(model: nn.Module, images: ImageSet) -> None:
    evaluate(model, images, Linf(0.05), Protocol("one", "1", (FGSM(),)), progress=False)


def diagnosed(model: nn.Module, images: ImageSet) -> None:
    diagnose(model, images, Linf(0.05), which=("linearity",), progress=False)


@pytest.mark.parametrize("look", [measured, diagnosed])
def test_the_model_answers_in_float32(look: Callable[[nn.Module, ImageSet], None], rounded: list[str]) -> None:
    """Also where the caller has autocast on, as within its own training."""
    x = Noise.of(2, torch.arange(12)).uniform((20,), 0.3, 0.7)
    model = Watched()
    images = ImageSet(x, model(x).argmax(dim=1), tuple("abcde"), "synthetic/test")
    model.seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        model.seen.clear()
        model.dtypes.clear()
        look(model, images)
    assert model.seen
    assert all(one == ["ieee"] * 3 for one in model.seen)
    assert model.dtypes == {torch.float32}
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
