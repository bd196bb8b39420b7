"""Recipes so small that a training takes a tenth of a second."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.attacks import PGD
from holdfast.data import Tensors
from holdfast.data.digits import Digits
from holdfast.methods import FGSMRSAT
from holdfast.models import WongCNN
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.results.history import STAGES
from holdfast.threat import Linf
from holdfast.training import Run, train
from holdfast.training.learner import Learner

Make = Callable[..., Recipe]


class Killed(BaseException):
    """What a step raises to end a training without a word."""


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
            # No trial, and the same bits everywhere.
            "precision": "float32",
            "channels_last": False,
            "compile": False,
        }
        return Recipe(**{**fields, **changes})

    return make


@pytest.fixture(scope="session")
def outcome() -> Callable[[Run], tuple[Any, ...]]:
    """All that a training leaves, but the times."""
    times = {"seconds", "seconds_left", "training_seconds", "cpu_seconds", "validation_seconds", "examples_per_second"}
    times |= {f"{stage}_seconds" for stage in STAGES}

    def read(run: Run) -> tuple[Any, ...]:
        lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        log = [{name: value for name, value in line.items() if name not in times} for line in lines]
        weights = [(run.folder / which / "model.safetensors").read_bytes() for which in ("best", "last")]
        return log, weights, run.best, run.last

    return read


@pytest.fixture
def kill_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a training come to the end of an update, and no further."""

    def kill(step: int, recipe: Recipe, out: Path, device: str = "cpu") -> None:
        real = Learner.update

        def update(self: Learner, number: int) -> None:
            real(self, number)
            if number == step:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Learner, "update", update)
            with pytest.raises(Killed):
                train(recipe, out, device=device, progress=False, checkpoint_seconds=0.0)

    return kill
