"""Recipes so small that a training takes a tenth of a second."""

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.attacks import PGD
from holdfast.data import Tensors
from holdfast.data.digits import Digits
from holdfast.methods import FGSMRSAT
from holdfast.models import WongCNN
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.threat import Linf

Make = Callable[..., Recipe]


@pytest.fixture(scope="session")
def few_digits() -> Tensors:
    """300 of the digits to train on."""
    train, test = (Digits().load(split) for split in ("train", "test"))
    return Tensors((train.images[:300], train.labels[:300]), (test.images[:50], test.labels[:50]), train.classes)


@pytest.fixture
def tiny(few_digits: Tensors) -> Make:
    """A recipe of 2 epochs of 5 steps of 50 images, with any field changed; 50 images are held out."""

    def make(**changes: Any) -> Recipe:
        fields: dict[str, Any] = {
            "method": FGSMRSAT(),
            "threat": Linf(0.1),
            "data": few_digits,
            "model": WongCNN(),
            "optimizer": Adam(lr=5e-3),
            "schedule": OneCycle(),
            "epochs": 2,
            "batch_size": 50,
            "holdout": 50,
            "validation": PGD(steps=2, early_stop=True),
        }
        return Recipe(**{**fields, **changes})

    return make
