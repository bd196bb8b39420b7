from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.diagnostics.adversary import adversaries
from holdfast.diagnostics.features import adversarial_features, class_distances, relative_distance
from holdfast.errors import InvalidInput
from holdfast.threat import Linf


def test_relative_distances_by_hand() -> None:
    clean = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    moved = torch.tensor([[3.0, -2.0], [1.0, 1.0]])
    torch.testing.assert_close(relative_distance(clean, moved, 1).nan_to_num(-1.0).tolist(), [2 / 7, -1.0])
    torch.testing.assert_close(relative_distance(clean, moved, 2).nan_to_num(-1.0).tolist(), [2 / 5, -1.0])


def test_class_distances_by_hand() -> None:
    first = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 6.0]])
    second = torch.tensor([[1.0, 0.0], [2.0, 4.0], [0.0, 0.0]])
    y = torch.tensor([0, 0, 1])
    # Pairs (0, 1), (1, 0) lie within class 0; (0, 2), (1, 2), (2, 0), (2, 1) between; the diagonal is no pair.
    within, between = class_distances(first, second, y)
    assert within == pytest.approx((3.0 + 0.5) / 2)
    assert between == pytest.approx((0.0 + 1.0 + 3.5 + 2.0) / 4)
    assert np.isnan(class_distances(first, second, torch.tensor([0, 1, 2]))[0])


def test_many_examples_are_compared_block_by_block() -> None:
    features, y = torch.arange(600.0)[:, None], torch.arange(600) % 2
    within, between = class_distances(features, features, y)
    gap = (features - features.T).abs()
    other = ~torch.eye(600, dtype=torch.bool)
    assert within == pytest.approx(float(gap[(y[:, None] == y) & other].mean()), rel=1e-5)
    assert between == pytest.approx(float(gap[y[:, None] != y].mean()), rel=1e-5)


@pytest.fixture
def named(cnn: nn.Sequential) -> nn.Sequential:
    names = ("conv1", "relu1", "conv2", "relu2", "flatten", "fc")
    return nn.Sequential(OrderedDict(zip(names, cnn, strict=True)))


def test_every_layer_is_measured_as_by_hand(named: nn.Sequential, some: ImageSet) -> None:
    threat, x, y = Linf(0.1), some.images, some.labels
    divergence, compactness = adversarial_features(named, some, threat, seed=3)
    assert divergence.layers == ("input", "conv1", "relu1", "conv2", "relu2", "flatten", "fc")
    x_adv = adversaries(named, threat, x, y, 3, torch.arange(12))
    values = {"input": (x, x_adv)}
    with torch.no_grad():
        for name, layer in named.named_children():
            values[name] = tuple(layer(value) for value in next(reversed(values.values())))  # type: ignore[assignment]
    for order, column in ((1, divergence.l1), (2, divergence.l2)):
        expected = [float(relative_distance(*values[name], order).mean()) for name in divergence.layers]
        np.testing.assert_allclose(column, expected, rtol=1e-4)
    assert compactness.layer == "input of fc"
    assert compactness.pairs == ("clean", "adversarial", "adversarial-clean")
    clean, adversarial = values["flatten"]
    pairs = ((clean, clean), (adversarial, adversarial), (adversarial, clean))
    expected_pairs = [class_distances(*pair, y) for pair in pairs]
    np.testing.assert_allclose(np.stack([compactness.within, compactness.between], axis=1), expected_pairs, rtol=1e-4)


def test_layers_that_work_in_place_change_nothing(named: nn.Sequential, some: ImageSet) -> None:
    expected = adversarial_features(named, some, Linf(0.1), compact_layer="conv2")
    named.relu1, named.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
    assert adversarial_features(named, some, Linf(0.1), compact_layer="conv2") == expected
    assert expected[1].layer == "conv2"


def test_chosen_layers(named: nn.Sequential, some: ImageSet) -> None:
    everything, _ = adversarial_features(named, some, Linf(0.1))
    few, _ = adversarial_features(named, some, Linf(0.1), layers=("relu1", "fc"))
    assert few.layers == ("input", "relu1", "fc")
    np.testing.assert_array_equal(few.l2, everything.l2[[0, 2, 6]])
    with pytest.raises(InvalidInput, match="unknown layer 'conv3'"):
        adversarial_features(named, some, Linf(0.1), layers=("conv3",))


class Rows(nn.Module):
    """Gives a row for each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, 1)


def test_layers_without_a_row_for_each_example(some: ImageSet) -> None:
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(Rows(), nn.Unflatten(0, (-1, 72)), nn.Flatten(), nn.Linear(72, 5))
    divergence, _ = adversarial_features(model, some, Linf(0.1))
    assert divergence.layers == ("input", "1", "2", "3")
    with pytest.raises(InvalidInput, match="layer '0' gives no tensor with one row"):
        adversarial_features(model, some, Linf(0.1), layers=("0",))
    with pytest.raises(InvalidInput, match="layer '0' gives 1728 rows for 24 inputs"):
        adversarial_features(model, some, Linf(0.1), compact_layer="0")
    model.append(nn.Identity()).spare = nn.Identity()
    model.forward = lambda x: model[3](x.flatten(1))  # type: ignore[method-assign,assignment]
    with pytest.raises(InvalidInput, match="layer 'spare' was not called"):
        adversarial_features(model, some, Linf(0.1), compact_layer="spare")


def test_batches_and_modes_do_not_matter(bn_cnn: nn.Module, some: ImageSet) -> None:
    whole = adversarial_features(bn_cnn, some, Linf(0.1))
    assert bn_cnn.training
    parts = adversarial_features(bn_cnn, some, Linf(0.1), batch_size=5)
    np.testing.assert_allclose(parts[0].l1, whole[0].l1, rtol=1e-3)
    np.testing.assert_allclose(parts[1].within, whole[1].within, rtol=1e-3)
    assert whole[0].l1[0] <= 0.1 / float(some.images.mean(dim=(1, 2, 3)).min())
