"""Initialisation of the small networks, and the arithmetic of Normalize and the MLP."""

import pytest
import torch

from holdfast.errors import InvalidInput
from holdfast.models import MLP, MadryCNN, Normalize, TradesCNN


def test_trades_cnn_starts_undecided_with_he_normal_convolutions() -> None:
    model = TradesCNN().build((1, 28, 28), 10, seed=0).eval()
    assert not model(torch.rand(2, 1, 28, 28)).any()
    weight = model.get_submodule("conv4").weight
    assert abs(weight.std().item() / (2.0 / (9 * 64)) ** 0.5 - 1.0) < 0.02
    assert not model.get_submodule("conv1").bias.any()
    assert model.get_submodule("dropout").p == 0.5


def test_madry_cnn_starts_from_a_cut_normal_and_positive_biases() -> None:
    model = MadryCNN().build((1, 28, 28), 10, seed=0)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0.1).all(), name
        else:
            assert 0.15 < parameter.abs().max() <= 0.2, name


def test_mlp_without_hidden_layer_is_linear() -> None:
    model = MLP(hidden=()).build((4,), 3, seed=0)
    weights = model.state_dict()
    x = torch.rand(5, 4)
    torch.testing.assert_close(model(x), x @ weights["fc1.weight"].T + weights["fc1.bias"])
    names = [name for name, _ in MLP(hidden=(8, 4), activation="silu").build((4,), 3, seed=0).named_children()]
    assert names == ["flatten", "fc1", "silu1", "fc2", "silu2", "fc3"]


def test_normalize_works_channel_by_channel_at_any_rank() -> None:
    layer = Normalize((0.5, 0.25), (0.5, 0.125))
    for shape in ((3, 2), (3, 2, 4), (3, 2, 4, 5)):
        x = torch.rand(*shape)
        out = layer(x)
        assert out.shape == x.shape
        torch.testing.assert_close(out[:, 0], (x[:, 0] - 0.5) / 0.5)
        torch.testing.assert_close(out[:, 1], (x[:, 1] - 0.25) / 0.125)
    assert list(layer.state_dict()) == ["mean", "std"]
    assert not list(layer.parameters())


def test_normalize_refuses_a_standard_deviation_that_is_not_positive() -> None:
    with pytest.raises(InvalidInput, match=r"std\[1\] is -0.1.*above 0"):
        Normalize((0.5, 0.5), (0.2, -0.1))
