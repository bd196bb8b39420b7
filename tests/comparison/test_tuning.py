"""The search for hyper-parameters: equal for all, on held-out images, resumable."""

import importlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.attacks import PGD
from holdfast.comparison import compare, tuning
from holdfast.comparison.tunables import TUNABLES, tunables
from holdfast.errors import InvalidInput, MissingExtra
from holdfast.evaluation import Protocol
from holdfast.methods import ATLAS, AWP, METHODS, TRADES, GradAlign, Natural
from holdfast.recipe import Recipe
from holdfast.training import load_recipe

TWO = {"natural": Natural(), "trades": TRADES()}
ONE = {"natural": Natural()}
# The package has the function's name.
comparing = importlib.import_module("holdfast.comparison.compare")


@pytest.fixture
def ask(tmp_path: Path, base: Recipe, brief: Protocol) -> Any:
    def call(out: str = "cmp", trials: int = 4, methods: Any = TWO) -> Any:
        pytest.importorskip("optuna", reason="Optuna is not installed (extra: tune)")
        return compare(
            methods,
            base,
            "passes:2",
            tmp_path / out,
            seeds=(0,),
            attacks=brief,
            n=40,
            trials=trials,
            trial_share=0.5,
            device="cpu",
            progress=False,
        )

    return call


def trials(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/trial.json"))]


def test_each_method_has_as_many_trials_and_the_best_is_taken(ask: Any, tmp_path: Path, base: Recipe) -> None:
    found = ask()
    for entrant, share in zip(found.entrants, ({"optimizer.lr"}, {"optimizer.lr", "method.beta"}), strict=True):
        made = trials(tmp_path / "cmp/tuning" / entrant.label)
        assert len(made) == 4
        assert made[0]["values"] == {}, "the first trial has the recipe's own numbers"
        assert all(share <= set(trial["values"]) for trial in made[1:])
        assert len({json.dumps(trial["values"]) for trial in made}) == 4
        best = max(made, key=lambda trial: trial["score"])
        assert dict(entrant.tuned) == best["values"]
        recipe = load_recipe(tmp_path / "cmp/runs" / f"{entrant.label}-s0")
        assert recipe.optimizer.lr == float(best["values"].get("optimizer.lr", base.optimizer.lr))
        assert load_recipe(tmp_path / "cmp/tuning" / entrant.label / "001/run").epochs == recipe.epochs / 2
    assert ("optimizer.lr", "0.01") not in found.shared


def test_the_test_split_is_not_looked_at(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = tuning.evaluate

    def listen(model: Any, images: Any, *rest: Any, **options: Any) -> Any:
        asked.append(images.name)
        return real(model, images, *rest, **options)

    monkeypatch.setattr(tuning, "evaluate", listen)
    ask()
    assert len(asked) == 8
    assert not any("test" in name for name in asked), asked


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(
    ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("whole")
    calls = []

    def stop(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    real = tuning._propose
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "_propose", stop)
        with pytest.raises(KeyboardInterrupt):
            ask("stopped")
    ask("stopped")
    for name in ("natural", "trades"):
        assert trials(tmp_path / "stopped/tuning" / name) == trials(tmp_path / "whole/tuning" / name)


def test_trials_may_be_raised_until_a_final_run_begins(
    ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any) -> None:
        tuning.tune(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(comparing, "tune", stopped)
        with pytest.raises(KeyboardInterrupt):
            ask(trials=1, methods=ONE)
    first = tmp_path / "cmp/tuning/natural/000/trial.json"
    before = first.stat().st_mtime_ns

    assert ask(trials=2, methods=ONE).entrants[0].trials == 2
    assert len(trials(tmp_path / "cmp/tuning/natural")) == 2
    plan = tmp_path / "cmp/comparison.json"
    assert json.loads(plan.read_text())["terms"]["trials"] == 2

    with pytest.raises(InvalidInput, match=r"final runs with the best of 2 trials \(natural-s0\).*remove .*runs"):
        ask(trials=3, methods=ONE)
    with pytest.raises(InvalidInput, match=r"other terms \(trials: 2 -> 1\)"):
        ask(trials=1, methods=ONE)
    assert json.loads(plan.read_text())["terms"]["trials"] == 2
    shutil.rmtree(tmp_path / "cmp/runs")
    assert ask(trials=3, methods=ONE).entrants[0].cells[0].outcome == "finished"
    assert len(trials(tmp_path / "cmp/tuning/natural")) == 3
    assert first.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("asked", "text"), [({"trials": -1}, "trials is -1"), ({"trial_share": 0.0}, "a trial with 0")]
)
def test_a_search_of_nothing_is_refused(base: Recipe, tmp_path: Path, asked: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        compare(ONE, base, "passes:2", tmp_path / "cmp", device="cpu", progress=False, **asked)
    assert not (tmp_path / "cmp").exists()


def test_who_lives_on_while_trials_are_raised_begins_no_final_run(
    ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tmp_path / "cmp/comparison.json"

    def tune(*arguments: Any) -> None:
        tuning.tune(*arguments)
        found = json.loads(plan.read_text())
        plan.write_text(json.dumps({**found, "terms": {**found["terms"], "trials": 5}}))

    monkeypatch.setattr(comparing, "tune", tune)
    with pytest.raises(InvalidInput, match=r"raised the trials of .*cmp from 1 to 5; .* --tune 5"):
        ask(trials=1, methods=ONE)
    assert not (tmp_path / "cmp/runs").exists()


def test_random_trials_differ_between_methods_and_are_the_same_again(base: Recipe) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed (extra: tune)")
    made = [{"values": {}, "score": 0.5}]

    def proposed(label: str, trials: list[dict[str, Any]]) -> float:
        return float(tuning._propose(label, base, trials)["optimizer.lr"])

    again = [*made, {"values": {"optimizer.lr": "0.02"}, "score": 0.4}]
    found = [proposed(label, trials) for label in ("one", "other") for trials in (made, again)]
    assert len(set(found)) == 4
    assert found == [proposed(label, trials) for label in ("one", "other") for trials in (made, again)]


def test_a_value_that_was_rounded_out_of_its_range_is_taken_into_it(base: Recipe) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed (extra: tune)")
    recipe = replace(base, method=TRADES(inner=PGD(steps=4, step_size=0.007 / 0.031)))
    low, _, _ = tunables(recipe)["method.inner.step_size"]
    rounded = f"{low:.4g}"
    assert float(rounded) < low, "in four digits the least step size is less than itself"
    tried = [{"values": {}, "score": 0.5}, {"values": {"method.inner.step_size": rounded}, "score": 0.6}]
    assert "method.inner.step_size" in tuning._propose("trades", recipe, tried)


def test_a_missing_optuna_is_told_before_anything_is_trained(
    base: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'holdfast\[tune\]'"):
        compare({"natural": Natural()}, base, "passes:2", tmp_path / "cmp", trials=2, device="cpu", progress=False)
    assert not (tmp_path / "cmp").exists()


def test_what_is_searched_lies_around_the_recipes_own(base: Recipe) -> None:
    found = tunables(replace(base, method=ATLAS()))
    assert found["optimizer.lr"] == (0.0025, 0.01, 0.04)
    assert found["method.local_component.rho"] == pytest.approx((2 / 9, 2 / 3, 2.0))
    assert set(found) >= {"method.global_component.beta", "method.inner.step_size"}
    # What is switched off is not searched.
    assert not any("local" in path for path in tunables(replace(base, method=ATLAS(local_component=None))))


def test_a_wrapper_is_searched_with_what_it_holds(base: Recipe) -> None:
    found = tunables(replace(base, method=AWP(method=GradAlign(method=TRADES()))))
    assert set(found) == {
        "optimizer.lr",
        "method.gamma",
        "method.method.weight",
        "method.method.method.beta",
        "method.method.method.inner.step_size",
    }


@pytest.mark.parametrize("name", METHODS)
def test_every_declared_number_is_there(name: str, base: Recipe) -> None:
    method = METHODS[name]()
    declared = next((TUNABLES[kind] for kind in type(method).__mro__ if kind in TUNABLES), ())
    assert {tunable.field for tunable in declared} <= set(tunables(replace(base, method=method)))
    assert declared or name == "natural", f"{name} has no numbers to search; declare them in comparison/tunables.py"
