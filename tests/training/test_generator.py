"""torch's generator in a step: keyed by the step, and nobody else notices."""

import pytest
import torch
from torch import nn

from holdfast.methods import AWP, FGSMRSAT, GradAlign
from holdfast.models import MLP, PreActResNet18, TradesCNN
from holdfast.training.generator import draws, seeded

CPU = torch.device("cpu")


@pytest.mark.usefixtures("global_state_rests")
def test_is_a_function_of_the_stream_and_restores_the_generator() -> None:
    drawn = []
    for stream in ((1, 2), (1, 2), (1, 3)):
        with seeded(CPU, *stream):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


class Noisy(nn.Module):
    """A user's layer, which may do anything."""


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()), False),
        (PreActResNet18(width=4).build((3, 8, 8), 10, seed=0), False),
        (nn.Sequential(nn.Dropout(0.0)), False),
        (nn.Sequential(nn.Dropout(0.1)), True),
        (TradesCNN(dropout=0.5).build((1, 28, 28), 10, seed=0), True),
        (nn.Sequential(nn.Linear(2, 2), Noisy()), True),
    ],
)
def test_knows_which_models_draw(model: nn.Module, expected: bool) -> None:
    assert draws(model, FGSMRSAT()) is expected


def test_a_users_method_may_draw() -> None:
    class Mine(FGSMRSAT):
        pass

    model = MLP().build((4,), 2, seed=0)
    assert draws(model, Mine())
    assert draws(model, AWP(method=GradAlign(method=Mine())))
    assert not draws(model, AWP(method=GradAlign(method=FGSMRSAT())))
