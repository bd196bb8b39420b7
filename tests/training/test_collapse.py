"""A training whose adversary stops finding anything, watched."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from holdfast.attacks import PGD
from holdfast.data.digits import Digits
from holdfast.losses import cross_entropy
from holdfast.methods import Batch, Loss, Method, Progress
from holdfast.methods.base import accuracy, mean, search
from holdfast.models import MLP
from holdfast.noise import Noise
from holdfast.recipe import Adam, Constant, Recipe
from holdfast.threat import Linf, ThreatModel
from holdfast.training import Run, train

Make = Callable[..., Recipe]
Kill = Callable[..., None]


@dataclass(frozen=True)
class Tiring(Method):
    """PGD training for four epochs; then the adversary hands over the clean images, which the model soon masters."""

    @property
    def passes(self) -> float:
        return 4.0

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        attack = PGD(steps=3, step_size=0.5)
        x_adv = search(attack, threat, model, batch, noise, False) if progress.epoch < 4 else batch.x
        logits = model(x_adv)
        return Loss(mean(cross_entropy(logits, batch.y)), {"adversary_accuracy": accuracy(logits, batch.y)})


def settings(**changes: object) -> dict[str, object]:
    return {
        "method": Tiring(),
        "threat": Linf(0.25),
        "data": Digits(),
        "model": MLP(),
        "optimizer": Adam(lr=1e-2),
        "schedule": Constant(),
        "epochs": 8,
        "holdout": 300,
        "validation": PGD(steps=5, step_size=0.5, early_stop=True),
        **changes,
    }


def run(
    tiny: Make, out: Path, progress: bool = False, resume: bool = False, **changes: object
) -> tuple[Run, list[dict[str, object]]]:
    recipe = tiny(**settings(**changes))
    found = train(recipe, out, device="cpu", progress=progress, resume=resume, checkpoint_seconds=0.0)
    return found, [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_goes_back_and_stops(tmp_path: Path, tiny: Make, capsys: pytest.CaptureFixture[str]) -> None:
    found, events = run(tiny, tmp_path / "run", progress=True)
    (collapse,) = [event for event in events if event["event"] == "collapse"]
    fell = collapse["epoch"]
    assert fell >= 4, "while the adversary worked there was nothing to find"
    assert found.outcome == "collapse"
    assert len(found.history) == fell + 1, "training went on"
    robust = found.history["robust_accuracy"]
    assert fell == 4, "the first epoch after it is early enough"
    assert robust[fell] < 0.5 * max(robust[:fell])
    assert found.best["epoch"] < fell
    assert found.last["epoch"] == fell - 1
    told = capsys.readouterr().err
    assert f"Catastrophic overfitting in epoch {fell + 1}" in told
    assert f"last/ holds epoch {fell}" in told


def test_is_found_by_a_run_that_was_killed_before_the_fall(tmp_path: Path, tiny: Make, kill_after: Kill) -> None:
    """The watch's memory is in the checkpoint; an epoch has 20 steps."""
    kill_after(81, tiny(**settings()), tmp_path / "run")
    found, _ = run(tiny, tmp_path / "run", resume=True)
    assert found.outcome == "collapse"


def test_goes_on_if_asked_to(tmp_path: Path, tiny: Make) -> None:
    found, events = run(tiny, tmp_path / "run", on_collapse="continue")
    assert found.outcome == "finished"
    assert [event["event"] for event in events].count("collapse") == 1
    assert found.last["epoch"] == 7
    assert found.best["epoch"] < 5


def test_is_found_while_eps_warms_up_too(tmp_path: Path, tiny: Make) -> None:
    found, events = run(tiny, tmp_path / "run", eps_warmup=1.0)
    assert found.outcome == "collapse"
    assert [event["eps"] for event in events if event["event"] == "epoch"][-1] < 0.25


def test_a_healthy_warm_up_is_left_alone(tmp_path: Path, tiny: Make) -> None:
    found, _ = run(tiny, tmp_path / "run", eps_warmup=1.0, epochs=4)
    assert found.outcome == "finished"
