"""How a run comes by its passes: from the recipe, from a trial, or from its record."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm

from holdfast.errors import InvalidInput
from holdfast.methods import ATLAS, AWP, CURE, PGDAT, TRADES, GradAlign, GradientPenalty, JacobianRegularisation, Task
from holdfast.models import MLP
from holdfast.processes import Processes
from holdfast.recipe import EMA, Recipe
from holdfast.speed import PLAIN, Demand, Passes, Trial, Tried
from holdfast.training import settle, train
from holdfast.training.settle import told

Make = Callable[..., Recipe]
AUTO = {"precision": "auto", "channels_last": "auto", "compile": "auto"}
HALF = Passes("bfloat16", channels_last=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What trials are asked, which choose the last way."""
    found = []

    def trial(model: Any, x: Any, y: Any, demand: Demand, ways: Any, **options: Any) -> Trial:
        found.append({"shape": tuple(x.shape), "demand": demand, "ways": ways, **options})
        return Trial(ways[-1], (Tried(ways[-1], Demand(1.0, 2.0, 3.0)),), 8, 0.5)

    monkeypatch.setattr(settle, "trial", trial)
    return found


def test_a_trial_is_of_the_runs_own_work(tiny: Make, asked: list[dict[str, Any]]) -> None:
    recipe = tiny(method=TRADES(), accumulate=5, **AUTO)
    model = recipe.model.build((1, 8, 8), 10, 0)
    settle.settle(recipe, model, Task(10, 300, 50, (1, 8, 8)), 100, Processes(0, 1, torch.device("cpu")))
    (question,) = asked
    assert question["shape"] == (10, 1, 8, 8)
    assert question["demand"] == Demand(gradient=5000.0, training=pytest.approx(500.0 * 7.0 / 3.0))
    assert len(question["ways"]) == 4
    assert all(way.folded or way.plain for way in question["ways"])
    assert (question["batch_statistics"], question["compiled"]) == (False, None)


def test_what_the_recipe_says_is_not_tried(tmp_path: Path, tiny: Make, asked: list[dict[str, Any]]) -> None:
    recipe = tiny(method=PGDAT(), precision="bfloat16", channels_last="auto")
    model = recipe.model.build((1, 8, 8), 10, 0)
    task, alone = Task(10, 300, 50, (1, 8, 8)), Processes(0, 1, torch.device("cpu"))
    settle.settle(recipe, model, task, 100, alone)
    assert asked[0]["ways"] == [Passes("bfloat16"), HALF]
    assert asked[0]["compiled"] is False
    twice = tiny(method=ATLAS(local_component=GradientPenalty(), together=False), **AUTO)
    settle.settle(twice, model, task, 100, alone)
    assert asked[1]["compiled"] is False
    with pytest.raises(InvalidInput, match="ATLAS differentiates a gradient again"):
        train(tiny(method=twice.method, compile=True), tmp_path / "run", progress=False)


def test_a_run_keeps_its_choice(
    tmp_path: Path, tiny: Make, asked: list[dict[str, Any]], kill_after: Callable[..., None]
) -> None:
    recipe = tiny(**AUTO)
    kill_after(7, recipe, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert record["recipe"]["precision"] == "auto"
    assert record["trial"]["passes"] == {"type": "holdfast.speed.passes.Passes", **vars(HALF)}
    assert len(asked) == 1
    resumed = train(recipe, tmp_path / "run", resume=True, progress=False)
    assert len(asked) == 1, "the run that goes on tried again"
    straight = train(recipe, tmp_path / "straight", progress=False)
    pinned = train(tiny(precision="bfloat16", channels_last=True), tmp_path / "pinned", progress=False)
    files = [(run.folder / "last" / "model.safetensors").read_bytes() for run in (resumed, straight, pinned)]
    assert files[0] == files[1] == files[2]


def test_bfloat16_is_not_tried_where_nothing_would_use_it(tiny: Make, asked: list[dict[str, Any]]) -> None:
    penalty = ATLAS(local_component=GradientPenalty(), together=False)
    for method in (JacobianRegularisation(), AWP(CURE()), GradAlign(), penalty):
        recipe = tiny(method=method, **AUTO)
        model = recipe.model.build((1, 8, 8), 10, 0)
        settle.settle(recipe, model, Task(10, 300, 50, (1, 8, 8)), 100, Processes(0, 1, torch.device("cpu")))
    tried = ["bfloat16" in {way.precision for way in question["ways"]} for question in asked]
    assert tried == [False, False, True, True]


class Uncopied(MLP):
    """A network whose weights are made of others in each pass, by hooks of an older torch: it cannot be copied."""

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        network = super()._network(shape, classes)
        last = next(layer for layer in reversed(list(network.modules())) if isinstance(layer, nn.Linear))
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            weight_norm(last)
        return network


def test_a_model_that_cannot_be_copied_is_trained_by_plain_passes(tmp_path: Path, tiny: Make) -> None:
    run = train(tiny(model=Uncopied(), **AUTO), tmp_path / "run", progress=False)
    assert run.outcome == "finished"
    assert json.loads((tmp_path / "run/recipe.json").read_text())["trial"]["tried"] == []
    half = tiny(model=Uncopied(), epochs=1, **{**AUTO, "precision": "bfloat16"})
    assert train(half, tmp_path / "half", progress=False).outcome == "finished"
    for name, needs in (("compile", {"compile": True}), ("ema", {"ema": EMA()})):
        with pytest.raises(InvalidInput, match="the model cannot be copied"):
            train(tiny(model=Uncopied(), **needs), tmp_path / name, progress=False)


def test_all_processes_take_the_first_ones_choice(tiny: Make) -> None:
    first, second = (Processes(rank, 1, torch.device("cpu")) for rank in (0, 1))
    chosen = Passes("bfloat16", channels_last=True, folded=True, compiled=True)
    assert settle._shared(chosen, first) == chosen
    assert settle._shared(chosen, second) == PLAIN


def test_a_person_sees_what_was_tried() -> None:
    tried = (Tried(PLAIN, Demand(0.0, 0.02, 0.03)), Tried(HALF, fault="RuntimeError: no"))
    assert told(Trial(PLAIN, tried, 8, 1.25)) == (
        "passes: float32, by a trial of 1.2 s (search + training pass: "
        "float32 20.0 + 30.0 ms; bfloat16 + channels last RuntimeError: no)"
    )
    assert told(Trial(HALF)) == "passes: bfloat16 + channels last"
