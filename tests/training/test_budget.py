"""How much training a budget buys."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.attacks import PGD
from holdfast.errors import InvalidInput
from holdfast.methods import PGDAT, TRADES, Natural
from holdfast.recipe import Recipe
from holdfast.speed import Trial
from holdfast.training import learner
from holdfast.training.budget import Budget, Pace, fit, pace, settled
from holdfast.training.trainer import Trainer

Make = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("text", "amount", "unit", "told"),
    [
        ("90s", 90.0, "seconds", "1.5 min"),
        ("45 s", 45.0, "seconds", "45 s"),
        ("0.5s", 0.5, "seconds", "0.5 s"),
        ("5min", 300.0, "seconds", "5 min"),
        ("2h", 7200.0, "seconds", "2 h"),
        ("passes:20", 20.0, "passes", "20 passes"),
        ("epochs:2.5", 2.5, "epochs", "2.5 epochs"),
    ],
)
def test_a_budget_is_read_and_told(text: str, amount: float, unit: str, told: str) -> None:
    found = Budget.parse(text)
    assert (found.amount, found.unit, str(found)) == (amount, unit, told)


@pytest.mark.parametrize("text", ["", "5", "5 days", "passes:", "passes:1.2.3", "epochs:0", "0s", "-3s"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="budget"):
        Budget.parse(text)


def test_what_a_budget_buys(tiny: Make) -> None:
    recipe = tiny(method=PGDAT(inner=PGD(steps=3)))
    assert Budget(10.0, "epochs").epochs(recipe) == 10.0
    assert Budget(10.0, "passes").epochs(recipe) == 2.5
    # 10 s at 0.25 s a step are 40 steps, 8 epochs of 5.
    assert Budget(10.0).epochs(recipe, Pace(ratio=2.5, natural_seconds=0.1, per_epoch=5)) == 8.0
    # In hundredths, rounded down; never nothing.
    assert Budget(1.0).epochs(recipe, Pace(3.0, 0.1, 5)) == 0.66
    assert Budget(1e-6).epochs(recipe, Pace(3.0, 0.1, 5)) == 0.01


def test_a_replayed_batch_costs_its_passes_each_time(tiny: Make) -> None:
    class Replayed(Natural):
        replays = 4

    assert Budget(8.0, "passes").epochs(tiny(method=Replayed())) == 2.0


def test_a_pace_is_measured_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Make, global_state_rests: None
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny(method=TRADES(inner=PGD(steps=10)), batch_size=100)
    found = pace(recipe, "cpu")
    assert found.ratio > 3.0
    assert found.per_epoch == 2
    assert 0.0 < found.natural_seconds < 1.0
    assert found.seconds == found.ratio * found.natural_seconds
    assert 0.4 < pace(replace(recipe, method=Natural()), "cpu").ratio < 2.5
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_open_is_settled(tiny: Make) -> None:
    open_ = tiny(precision="auto", channels_last="auto", compile="auto")
    found = fit(open_, Budget(4.0, "passes"), "cpu")
    assert found.epochs == 2.0
    assert found.precision in ("float32", "bfloat16")
    assert isinstance(found.channels_last, bool)
    assert found.compile is False, "so short a training does not earn compilation"
    assert found.data is open_.data
    assert settled(tiny(), Budget(1.0), "cpu") == tiny()


def test_what_is_measured_is_what_is_trained(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN's repeatable algorithms may be slower than the others, and a training has no choice."""
    cudnn, held = torch.backends.cudnn, []
    real_step, real_settle = Trainer.take_step, learner.settle

    def take_step(trainer: Trainer, *given: Any) -> None:
        held.append((cudnn.deterministic, cudnn.benchmark))
        real_step(trainer, *given)

    def settle(*given: Any) -> Trial:
        held.append((cudnn.deterministic, cudnn.benchmark))
        return real_settle(*given)

    monkeypatch.setattr(Trainer, "take_step", take_step)
    monkeypatch.setattr(learner, "settle", settle)
    before = cudnn.deterministic, cudnn.benchmark
    fit(tiny(method=Natural(), channels_last="auto"), Budget(1.0), "cpu")
    assert set(held) == {(True, False)}
    assert (cudnn.deterministic, cudnn.benchmark) == before == (False, False)
