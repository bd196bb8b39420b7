"""What only a GPU shows: that the steps of a training are queued, and nobody waits for them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch

from holdfast.attacks import PGD
from holdfast.data import HorizontalFlip, RandomCrop
from holdfast.methods import ATLAS, PGDAT, SPROUT, TRADES, Method
from holdfast.models import PreActResNet18
from holdfast.processes import Processes
from holdfast.recipe import SGD, Recipe
from holdfast.training.rehearsal import Rehearsal

SHORT = PGD(steps=2)


@pytest.mark.gpu
@pytest.mark.parametrize("method", [ATLAS(), PGDAT(inner=SHORT), TRADES(inner=SHORT), SPROUT()])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_waits_for_nothing(
    tiny: Callable[..., Recipe],
    unwaited: Callable[[], AbstractContextManager[None]],
    method: Method,
    precision: str,
) -> None:
    """From the loader's batch to the optimizer's update. Losses are read every few steps, in none of these."""
    recipe = tiny(
        method=method,
        model=PreActResNet18(width=4),
        optimizer=SGD(),
        augment=(RandomCrop(padding=1), HorizontalFlip()),
        precision=precision,
        channels_last=True,
    )
    rehearsal = Rehearsal(recipe, Processes(0, 1, torch.device("cuda", torch.cuda.current_device())))
    rehearsal.take(2)  # stand-ins and momenta are made
    with unwaited():
        rehearsal.take(1)
