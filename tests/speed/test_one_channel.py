"""The quick input gradient is the convolution's own."""

import copy

import pytest
import torch
from torch import nn

from holdfast.models import WongCNN
from holdfast.speed import Passes, StandIn
from holdfast.speed.one_channel import quicken

SHAPES = [
    {"kernel_size": 4, "stride": 2, "padding": 1},
    {"kernel_size": 5, "stride": 1, "padding": 2},
    {"kernel_size": (3, 2), "stride": (3, 2), "padding": (0, 1), "dilation": (2, 1)},
]


def gradient(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.detach().requires_grad_()
    out = layer(x)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return torch.autograd.grad((out * weights).sum(), x)[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_gradient_are_the_convolutions_own(shape: dict[str, object]) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(1, 7, **shape).double()  # type: ignore[arg-type]
    quick = copy.deepcopy(plain)
    quicken(quick)
    x = torch.randn(3, 1, 13, 11, dtype=torch.float64)
    assert type(quick) is not nn.Conv2d
    torch.testing.assert_close(quick(x), plain(x), rtol=0, atol=0)
    torch.testing.assert_close(gradient(quick, x), gradient(plain, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3, padding="same"), nn.Conv2d(1, 4, 3, padding_mode="circular")]
)
def test_others_stay_as_they_are(layer: nn.Conv2d) -> None:
    quicken(layer)
    assert type(layer) is nn.Conv2d


def test_a_stand_in_answers_by_it_and_its_model_does_not() -> None:
    model = WongCNN().build((1, 28, 28), 10, seed=0).eval()
    before = {type(layer) for layer in model.modules()}
    stand_in = StandIn(model, Passes("bfloat16"))
    x = torch.rand(8, 1, 28, 28)
    cheap, own = gradient(stand_in, x), gradient(model, x)  # type: ignore[arg-type]
    assert cheap.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(cheap.flatten(1), own.flatten(1)).min() > 0.99
    assert {type(layer) for layer in model.modules()} == before
    assert any(type(layer).__name__ == "_OneChannel" for layer in stand_in._copy.modules())
