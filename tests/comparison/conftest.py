"""A comparison so small that a run takes a moment."""

import pytest

from holdfast.attacks import FGSM, PGD
from holdfast.data.digits import Digits
from holdfast.evaluation import Protocol
from holdfast.methods import Natural
from holdfast.models import MLP
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.threat import Linf


@pytest.fixture
def base() -> Recipe:
    """A recipe to put methods into."""
    return Recipe(
        Natural(),
        Linf(0.1),
        Digits(),
        MLP(hidden=(16,)),
        Adam(lr=1e-2),
        OneCycle(),
        epochs=1,
        batch_size=200,
        precision="float32",
        channels_last=False,
        compile=False,
        validation=PGD(steps=2, early_stop=True),
        sources={"method": "of the base", "epochs": "of the base", "optimizer": "of the base"},
    )


@pytest.fixture
def brief() -> Protocol:
    """Attacks that take no time."""
    return Protocol("brief", "1", (FGSM(), PGD(steps=2)))
