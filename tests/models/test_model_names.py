"""From text to architecture."""

import pytest

from holdfast.errors import InvalidInput
from holdfast.models import (
    MLP,
    Architecture,
    MadryCNN,
    PreActResNet18,
    TradesCNN,
    WideResNet,
    WongCNN,
    architecture,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("wong_cnn", WongCNN()),
        ("madry-cnn", MadryCNN()),
        ("TRADES_CNN", TradesCNN()),
        ("mlp", MLP()),
        ("preact_resnet18", PreActResNet18()),
        ("preact-resnet-18", PreActResNet18()),
        ("PreActResNet18", PreActResNet18()),
        ("wide_resnet28_10", WideResNet(28, 10)),
        ("wide-resnet-34-10", WideResNet(34, 10)),
        ("wrn28_10", WideResNet(28, 10)),
        ("wrn-28-10", WideResNet(28, 10)),
        ("WRN-70-16", WideResNet(70, 16)),
    ],
)
def test_names_and_aliases(text: str, value: Architecture) -> None:
    assert architecture(text) == value
    assert architecture(value.label) == value


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"unknown model 'wong_cn'; did you mean 'wong_cnn'.*wide_resnet28_10"):
        architecture("wong_cn")
    with pytest.raises(InvalidInput, match=r"6n \+ 4, but it is 30"):
        architecture("wrn-30-10")


def test_an_architecture_is_a_value_that_shows_its_options() -> None:
    assert repr(PreActResNet18(width=16)) == "PreActResNet18(mean=(), std=(), activation='relu', width=16)"
    assert PreActResNet18(width=16) == PreActResNet18(width=16) != PreActResNet18()
    assert len({WongCNN(), WongCNN(), WongCNN(mean=(0.1,), std=(0.3,))}) == 2
