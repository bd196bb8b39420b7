"""Points are normalised by the statistics of another batch, exactly and with gradients."""

import pytest
import torch
from torch import Tensor, nn

from holdfast import batchnorm, modes


@pytest.fixture
def layer() -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(3).double()
    layer.weight.data, layer.bias.data = torch.tensor([0.5, 1.0, 2.0]).double(), torch.tensor([0.1, 0.0, -1.0]).double()
    return layer


@pytest.fixture
def two() -> tuple[Tensor, Tensor]:
    values = torch.arange(4 * 3 * 2 * 2).double().reshape(4, 3, 2, 2)
    return (1.7 * values).sin(), 1.0 + 3.0 * (2.3 * values).cos()


def test_the_noted_batch_itself_is_normalised_as_ever(layer: nn.BatchNorm2d, two: tuple[Tensor, Tensor]) -> None:
    with batchnorm.noting(layer) as statistics:
        expected = layer(two[0])
    with batchnorm.reusing(statistics):
        torch.testing.assert_close(layer(two[0]), expected)


def test_another_batch_is_normalised_by_it_and_running_averages_rest(
    layer: nn.BatchNorm2d, two: tuple[Tensor, Tensor]
) -> None:
    noted, other = two[0].clone().requires_grad_(), two[1]
    with batchnorm.noting(layer) as statistics:
        layer(noted)
    moved = layer.running_mean.clone()
    with batchnorm.reusing(statistics):
        found = layer(other)
    mean, deviation = noted.mean((0, 2, 3)), noted.var((0, 2, 3), correction=0).add(layer.eps).sqrt()
    shape = (1, 3, 1, 1)
    expected = (other - mean.view(shape)) / deviation.view(shape) * layer.weight.view(shape) + layer.bias.view(shape)
    torch.testing.assert_close(found, expected)
    assert torch.equal(layer.running_mean, moved)
    assert int(layer.num_batches_tracked) == 1
    weights = torch.linspace(-1.0, 1.0, found.numel()).double().view_as(found)
    ours, theirs = (torch.autograd.grad((value * weights).sum(), noted)[0] for value in (found, expected))
    torch.testing.assert_close(ours, theirs)
    assert ours.abs().max() > 1e-3
    assert "forward" not in vars(layer)


def test_calls_keep_their_order_in_every_pass(two: tuple[Tensor, Tensor]) -> None:
    layer = nn.BatchNorm2d(3, affine=False).double()
    twice = nn.Sequential(layer, nn.Softplus(), layer)
    with batchnorm.noting(twice) as statistics:
        expected = twice(two[0])
    with batchnorm.reusing(statistics):
        for _ in range(2):
            torch.testing.assert_close(twice(two[0]), expected)


def test_frozen_layers_keep_their_own_statistics(layer: nn.BatchNorm2d, two: tuple[Tensor, Tensor]) -> None:
    layer.eval()
    with batchnorm.noting(layer) as statistics:
        expected = layer(two[0])
    with batchnorm.reusing(statistics):
        assert torch.equal(layer(two[0]), expected)


def test_without_dropout_only_batch_norm_trains() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(), nn.BatchNorm1d(2).eval(), nn.Linear(2, 2))
    with modes.without_dropout(model):
        assert [module.training for module in model] == [True, False, False, False]
        assert not model.training
    assert [module.training for module in model] == [True, True, False, True]
    assert model.training
