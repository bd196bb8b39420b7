"""What every architecture promises: shape, parameter count, a seed of its own, and refusals at construction."""

from collections.abc import Callable

import pytest
import torch

from holdfast.errors import InvalidInput
from holdfast.models import (
    MLP,
    Architecture,
    MadryCNN,
    PreActResNet18,
    TradesCNN,
    WideResNet,
    WongCNN,
)

MNIST, CIFAR, DIGITS = (1, 28, 28), (3, 32, 32), (1, 8, 8)


def parameters(architecture: Architecture, shape: tuple[int, ...], classes: int = 10) -> int:
    return sum(p.numel() for p in architecture.build(shape, classes, 0).parameters())


@pytest.mark.parametrize(
    ("architecture", "shape", "count"),
    [
        (WongCNN(), MNIST, 166_406),
        (MadryCNN(), MNIST, 3_274_634),
        (TradesCNN(), MNIST, 312_202),
        (PreActResNet18(), CIFAR, 11_172_170),
        # 16-8 is published with 11.0 million parameters; 28-10 and 34-10 are checked below without building them.
        (WideResNet(depth=16, widen=8), CIFAR, 10_961_370),
    ],
)
def test_parameter_counts_are_those_of_the_reference_layouts(
    architecture: Architecture, shape: tuple[int, ...], count: int
) -> None:
    assert parameters(architecture, shape) == count


def wide_resnet_count(depth: int, widen: int) -> int:
    """Count the layers of the paper's table 1 one by one; a normalised channel has two numbers."""
    count, inputs = 3 * 16 * 9, 16
    for width in (16 * widen, 32 * widen, 64 * widen):
        for _ in range((depth - 4) // 6):
            count += 2 * inputs + inputs * width * 9 + 2 * width + width * width * 9
            count += inputs * width if inputs != width else 0
            inputs = width
    return count + 2 * inputs + inputs * 10 + 10


def test_wide_resnet_has_the_published_sizes() -> None:
    assert wide_resnet_count(28, 10) == 36_479_194
    assert wide_resnet_count(34, 10) == 46_160_474
    for depth, widen in ((10, 1), (16, 2), (22, 3)):
        assert parameters(WideResNet(depth, widen), CIFAR) == wide_resnet_count(depth, widen)


SMALL: list[tuple[Architecture, tuple[int, ...]]] = [
    (WongCNN(), DIGITS),
    (WongCNN(mean=(0.1,), std=(0.3,)), (1, 7, 5)),
    (MadryCNN(), DIGITS),
    (TradesCNN(), (3, 16, 17)),
    (MLP(), (13,)),
    (MLP(hidden=()), DIGITS),
    (MLP(hidden=(8, 4), activation="softplus", mean=(0.5,) * 13, std=(0.2,) * 13), (13,)),
    (PreActResNet18(width=2), CIFAR),
    (PreActResNet18(width=1, activation="silu"), (1, 5, 3)),
    (WideResNet(10, 1, dropout=0.3, activation="softplus", mean=(0.5,) * 3, std=(0.2,) * 3), CIFAR),
]


@pytest.mark.parametrize(("architecture", "shape"), SMALL, ids=lambda value: str(value))
def test_builds_a_classifier_from_its_seed_alone(architecture: Architecture, shape: tuple[int, ...]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = architecture.build(shape, 7, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = architecture.build(shape, 7, seed=1), architecture.build(shape, 7, seed=2)
    weights = model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.state_dict().items())
    assert any(not torch.equal(value, weights[name]) for name, value in other.state_dict().items())
    assert model.training
    logits = model(torch.rand(3, *shape))
    assert logits.shape == (3, 7)
    assert logits.dtype == torch.float32
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_normalisation_is_the_first_layer_and_travels_in_the_state() -> None:
    plain, normalised = MLP(hidden=(4,)), MLP(hidden=(4,), mean=(0.2, 0.4), std=(0.5, 0.1))
    model = normalised.build((2,), 3, seed=0)
    assert next(iter(dict(model.named_children()))) == "normalize"
    assert {"normalize.mean", "normalize.std", "fc1.weight"} <= set(model.state_dict())
    x = torch.rand(5, 2)
    expected = plain.build((2,), 3, seed=0)((x - torch.tensor([0.2, 0.4])) / torch.tensor([0.5, 0.1]))
    assert torch.allclose(model(x), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PreActResNet18(width=0), ["width", "0", "at least 1"]),
        (lambda: PreActResNet18(activation="rulu"), ["rulu", "did you mean 'relu'"]),
        (lambda: WideResNet(depth=27), ["depth", "27", "28"]),
        (lambda: WideResNet(depth=4), ["depth", "4", "10"]),
        (lambda: WideResNet(widen=0), ["widen", "0", "at least 1"]),
        (lambda: WideResNet(dropout=1.0), ["dropout", "1.0", "[0, 1)"]),
        (lambda: TradesCNN(dropout=-0.1), ["dropout", "-0.1", "[0, 1)"]),
        (lambda: MLP(hidden=(8, 0)), ["hidden", "(8, 0)", "at least 1"]),
        (lambda: MLP(activation="tanh"), ["tanh", "relu"]),
        (lambda: WongCNN(mean=(0.5,)), ["mean has 1", "std has 0"]),
        (lambda: WongCNN(mean=(0.5,), std=(0.0,)), ["std[0]", "0.0", "above 0"]),
        (lambda: WongCNN(mean=(float("nan"),), std=(1.0,)), ["mean[0]", "nan", "finite"]),
    ],
)
def test_bad_options_are_refused_at_construction(make: Callable[[], Architecture], words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        make()
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("architecture", "shape", "words"),
    [
        (WongCNN(), (1, 3, 8), ["wong_cnn", "4 x 4", "(1, 3, 8)", "mlp"]),
        (TradesCNN(), (1, 15, 28), ["trades_cnn", "16 x 16", "(1, 15, 28)"]),
        (PreActResNet18(width=1), (13,), ["preact_resnet18", "(13,)", "mlp"]),
        (WideResNet(10, 1), (32, 32), ["wide_resnet10_1", "(32, 32)"]),
        (MLP(), (), ["()"]),
        (MLP(mean=(0.5,), std=(1.0,)), (3, 8, 8), ["1 values", "3 channels"]),
    ],
)
def test_examples_that_do_not_fit_are_refused(
    architecture: Architecture, shape: tuple[int, ...], words: list[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        architecture.build(shape, 10, seed=0)
    assert all(word in str(caught.value) for word in words), caught.value


def test_one_class_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"1 classes .* at least 2"):
        MLP().build((3,), 1, seed=0)
