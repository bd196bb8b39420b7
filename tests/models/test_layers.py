import pytest
import torch
from torch import Tensor, nn

from holdfast.errors import InvalidInput
from holdfast.models.layers import head, leaves, watching


class Shared(nn.Module):
    """Uses one layer twice, gives a pair in one, and registers its layers out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 2)
        self.first = nn.Linear(4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.pair = nn.GRU(3, 3, batch_first=True)
        self.unused = nn.Linear(9, 9)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.pair(self.relu(self.first(x))[:, None])
        return self.last(self.relu(hidden[:, 0]))


def _watched(model: nn.Module, layers: list[str]) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    seen: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
    with watching(model, layers, lambda name, given, output: seen.append((name, given.shape, output.shape))):
        model(torch.zeros(5, 4))
    return seen


def test_calls_are_numbered_and_what_is_no_tensor_is_passed_over() -> None:
    model = Shared()
    assert _watched(model, leaves(model)) == [
        ("first", (5, 4), (5, 3)),
        ("relu", (5, 3), (5, 3)),
        ("relu#2", (5, 3), (5, 3)),
        ("last", (5, 3), (5, 2)),
    ]
    assert not any(module._forward_hooks for module in model.modules())


def test_the_head_is_the_last_layer_with_parameters() -> None:
    model = Shared()
    assert head(model, torch.zeros(1, 4)) == "last"
    assert head(nn.Sequential(model, nn.Softmax(dim=1)), torch.zeros(1, 4)) == "0.last"
    with pytest.raises(InvalidInput, match="no layer of the model has parameters"):
        head(nn.Flatten(), torch.zeros(1, 4))


def test_an_unknown_layer_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="unknown layer 'frist'; did you mean 'first'"):
        _watched(Shared(), ["frist"])


def test_hooks_go_when_the_model_fails() -> None:
    model = Shared()
    with pytest.raises(RuntimeError), watching(model, ["first"], lambda *_: None):
        model(torch.zeros(5, 3))
    assert not model.first._forward_hooks
