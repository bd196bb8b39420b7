"""Whole trainings, tiny."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from holdfast.attacks import PGD
from holdfast.data.digits import Digits
from holdfast.errors import InvalidInput, TrainingDiverged
from holdfast.methods import ATLAS, PGDAT, Natural
from holdfast.models import MLP, PreActResNet18, WongCNN
from holdfast.recipe import EMA, SGD, SWA, Adam, Recipe, Step
from holdfast.threat import Linf
from holdfast.training import Run, load_model, trainer
from holdfast.training import train as train_aloud

Make = Callable[..., Recipe]


def train(recipe: Recipe, out: Path, **options: Any) -> Run:
    return train_aloud(recipe, out, device="cpu", progress=False, **options)


def weights(run: Run, which: str = "last") -> bytes:
    return (run.folder / which / "model.safetensors").read_bytes()


def events(run: Run, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def accuracy(model: nn.Module) -> float:
    test = Digits().load("test")
    with torch.no_grad():
        return float((model(test.images / 255).argmax(1) == test.labels).float().mean())


@pytest.mark.usefixtures("global_state_rests")
def test_learns_digits_and_keeps_what_it_learnt(tmp_path: Path, tiny: Make) -> None:
    run = train(tiny(data=Digits(), epochs=8, model=MLP()), tmp_path / "run")
    assert run.outcome == "finished"
    assert len(run.history) == 8
    assert run.best["robust_accuracy"] == max(run.history["robust_accuracy"])
    assert run.last["epoch"] == 7
    model, recipe = load_model(run.folder)
    assert recipe == tiny(data=Digits(), epochs=8, model=MLP())
    assert not model.training
    assert accuracy(model) > 0.85


def test_two_trainings_of_a_recipe_have_the_same_bytes(tmp_path: Path, tiny: Make) -> None:
    first, second = (train(tiny(method=ATLAS()), tmp_path / name) for name in "ab")
    assert weights(first) == weights(second)
    assert weights(first) != weights(train(tiny(method=ATLAS(), seed=1), tmp_path / "c"))


def test_ramps_never_waste_a_step(tmp_path: Path, tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One-cycle over 10 steps, eps warmed up over 4 of them, each at the middle of its step."""
    monkeypatch.setattr(trainer, "READ_EVERY", 1)
    steps = events(train(tiny(eps_warmup=0.4, optimizer=Adam(lr=1.0e-3)), tmp_path / "run"), "step")
    assert [step["step"] for step in steps] == list(range(1, 11))
    rising, falling = [0.125, 0.375, 0.625, 0.875], [11 / 12, 9 / 12, 7 / 12, 5 / 12, 3 / 12, 1 / 12]
    assert [step["lr"] for step in steps] == pytest.approx([1e-3 * factor for factor in rising + falling])
    assert [step["eps"] for step in steps] == pytest.approx([0.1 * f for f in rising] + [0.1] * 6)


def test_milestones_fall_between_steps(tmp_path: Path, tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "READ_EVERY", 1)
    steps = events(train(tiny(schedule=Step((0.5, 0.8)), optimizer=SGD(lr=0.1)), tmp_path / "run"), "step")
    assert [step["lr"] for step in steps] == pytest.approx([0.1] * 5 + [0.01] * 3 + [0.001] * 2)


@pytest.mark.parametrize("method", [ATLAS(), PGDAT(inner=PGD(steps=2))])
def test_a_batch_in_parts_is_the_whole_batch(tmp_path: Path, tiny: Make, method: Any) -> None:
    whole, parted = (
        train(tiny(method=method, optimizer=SGD(lr=0.1), accumulate=parts), tmp_path / str(parts)) for parts in (1, 5)
    )
    for one, other in zip(whole.load("last").parameters(), parted.load("last").parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert parted.history["loss"] == pytest.approx(whole.history["loss"], rel=1e-5)


@pytest.mark.parametrize("change", [{"channels_last": True}, {"precision": "bfloat16"}])
def test_faster_passes_change_little(tmp_path: Path, tiny: Make, change: dict[str, Any]) -> None:
    plain = train(tiny(optimizer=SGD(lr=0.1)), tmp_path / "plain")
    changed = train(tiny(optimizer=SGD(lr=0.1), **change), tmp_path / "changed")
    tolerance = 0.02 if "precision" in change else 1e-5
    assert changed.history["loss"] == pytest.approx(plain.history["loss"], rel=tolerance)
    if "precision" in change:
        assert list(changed.history["loss"]) != list(plain.history["loss"]), "nothing ran in half precision"
    assert all(parameter.dtype == torch.float32 for parameter in changed.load().parameters())


@pytest.mark.parametrize("kind", [{"ema": EMA(decay=0.9, warmup=0.0)}, {"swa": SWA(start=0.0)}])
def test_the_average_is_what_is_measured_and_kept(tmp_path: Path, tiny: Make, kind: dict[str, Any]) -> None:
    model = PreActResNet18(width=2)
    plain = train(tiny(model=model), tmp_path / "plain")
    averaged = train(tiny(model=model, **kind), tmp_path / "averaged")
    assert list(averaged.history["loss"]) == list(plain.history["loss"]), "the average disturbed the training"
    assert weights(averaged) != weights(plain)
    online = averaged.folder / "checkpoints" / "000000010" / "model.safetensors"
    assert online.read_bytes() == weights(plain)


def test_batch_statistics_are_kept_with_the_weights(tmp_path: Path, tiny: Make) -> None:
    run = train(tiny(model=PreActResNet18(width=4), epochs=1), tmp_path / "run")
    means = [value for name, value in run.load("last").state_dict().items() if name.endswith("running_mean")]
    assert means
    assert all(mean.abs().sum() > 0 for mean in means)


def test_natural_training_is_not_selected_by_chance(tmp_path: Path, tiny: Make) -> None:
    """Its robust accuracy is noise near 0, so the mean of both accuracies chooses."""
    run = train(tiny(method=Natural(), threat=Linf(0.4), epochs=6), tmp_path / "run")
    sums = run.history["clean_accuracy"] + run.history["robust_accuracy"]
    assert sums[run.best["epoch"]] == max(sums)
    assert "train_clean_accuracy" in run.history.columns


@pytest.mark.parametrize(
    ("drop", "text"), [(1e30, r"the loss of step \d"), (float("inf"), "the weights are not finite")]
)
def test_a_training_that_diverges_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, tiny: Make, monkeypatch: pytest.MonkeyPatch, drop: float, text: str
) -> None:
    """The learning rate jumps in step 7, the second of the second epoch."""
    monkeypatch.setattr(trainer, "READ_EVERY", 2)
    recipe = tiny(optimizer=SGD(lr=0.05), schedule=Step((0.65,), drop))
    with pytest.raises(TrainingDiverged, match=text) as caught:
        train(recipe, tmp_path / "run", checkpoint_seconds=0.0)
    assert "optimizer.lr is 0.05" in str(caught.value)
    assert "best/ holds epoch 1" in str(caught.value)
    run = Run.open(tmp_path / "run")
    assert run.outcome == "unfinished"
    assert run.last["epoch"] == 0
    assert events(run, "end")[-1]["reason"] == "diverged"
    assert accuracy(run.load("last")) > 0.05
    for place in (run.folder / "checkpoints").iterdir():
        assert all(value.isfinite().all() for value in load_file(place / "model.safetensors").values())


def test_a_folder_with_a_run_is_not_written_over(tmp_path: Path, tiny: Make) -> None:
    run = train(tiny(epochs=1), tmp_path / "run")
    before = weights(run)
    with pytest.raises(InvalidInput, match=r"holds a run already.*--resume"):
        train(tiny(epochs=1, seed=1), tmp_path / "run")
    assert weights(run) == before


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"threat": Linf(0.1, low=0.2)}, "does not hold the data's inputs"),
        ({"holdout": 300}, "would be held out"),
        ({"model": PreActResNet18(mean=(0.5,) * 3, std=(0.5,) * 3)}, "channels"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, tiny: Make, change: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidInput, match=text):
        train(tiny(**change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tells_a_person_how_it_goes(tmp_path: Path, tiny: Make, capsys: pytest.CaptureFixture[str]) -> None:
    train_aloud(tiny(model=WongCNN()), tmp_path / "run", device="cpu")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert "Linf(0.1)" in lines[0]
    assert "22,406 parameters" in lines[0]
    assert "2 epochs of 5 steps" in lines[0]
    assert lines[1] == "passes: float32"
    assert "in all" in lines[2]
    assert lines[3].startswith("epoch 1/2  loss ")
    assert lines[4].startswith("epoch 2/2  loss ")
    assert lines[4].endswith("0 s left")


def test_the_last_epoch_may_be_a_part_of_one(tmp_path: Path, tiny: Make) -> None:
    """2.4 epochs of 5 steps: the schedule ends in step 12, whose epoch is validated and kept like any other."""
    run = train(tiny(epochs=2.4), tmp_path / "run")
    epochs = events(run, "epoch")
    assert [(epoch["epoch"], epoch["step"]) for epoch in epochs] == [(0, 5), (1, 10), (2, 12)]
    assert epochs[-1]["lr"] == pytest.approx(5e-3 * 0.5 / 12 / 0.6)
    assert run.last["step"] == 12
    assert run.outcome == "finished"
    before = (run.folder / "metrics.jsonl").read_text()
    again = train(tiny(epochs=2.4), run.folder, resume=True)
    assert len((again.folder / "metrics.jsonl").read_text().splitlines()) == len(before.splitlines())


def test_the_clock_of_the_steps_leaves_validation_out(tmp_path: Path, tiny: Make) -> None:
    last = events(train(tiny(), tmp_path / "run"), "epoch")[-1]
    assert 0 < last["training_seconds"] < last["seconds"] - last["validation_seconds"]
    assert 0 < last["cpu_seconds"] <= 1.5 * last["training_seconds"] + 0.1
