"""What flags and users' files make of a recipe."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import holdfast.training
from holdfast.cli import main
from holdfast.methods import AWP, TRADES
from holdfast.models import MLP
from holdfast.recipe import Adam, Recipe
from holdfast.recipes import recipe
from holdfast.threat import L2

Capture = pytest.CaptureFixture[str]


def test_flags_reach_the_recipe(trained: list[tuple[Recipe, Path, dict[str, Any]]], capsys: Capture) -> None:
    command = (
        "train trades --data digits --model mlp --eps 128/255 --norm l2 --epochs 3 --batch-size 32 --seed 4 "
        "--precision bfloat16 --on-collapse continue --set method.beta=3 --set optimizer=adam --set model.hidden=8 "
        "--device cpu --tensorboard --out here"
    )
    assert main(command.split()) == 0
    ((made, out, options),) = trained
    assert (made.method, made.threat, made.model) == (TRADES(beta=3.0), L2(128 / 255), MLP(hidden=(8,)))
    assert (made.epochs, made.batch_size, made.seed) == (3, 32, 4)
    assert (made.precision, made.on_collapse, made.optimizer) == ("bfloat16", "continue", Adam())
    expected = {"device": "cpu", "resume": False, "tensorboard": True, "profile": False}
    assert (out, options) == (Path("here"), expected)
    assert "threat: Linf -> L2" in capsys.readouterr().out


def test_a_budget_decides_the_length(trained: list[tuple[Recipe, Path, dict[str, Any]]], capsys: Capture) -> None:
    common = "train pgd_at --data digits --model mlp --precision float32 --set compile=false --set channels_last=false"
    assert main([*common.split(), "--set", "method.inner.steps=3", "--budget", "passes:10", "--device", "cpu"]) == 0
    ((made, _, _),) = trained
    assert made.epochs == 2.5
    assert "epochs: 60 -> 2.5" in capsys.readouterr().out
    assert made.sources["epochs"].startswith("what a budget of 10 passes buys; set by hand; 60 in the recipe")
    assert main([*common.split(), "--budget", "1s", "--epochs", "3"]) == 2
    assert "leave --epochs 3 out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "method", "base"),
    [
        ("Own", "Own(inner=PGD", "pgd_at"),
        ("instance", "weight=2.0", "pgd_at"),
        ("factory", "weight=3.0", "pgd_at"),
        ("whole", "Natural()", "natural"),
        ("function", "TRADES(", "trades"),
    ],
)
def test_a_users_file_gives_a_recipe_or_a_method(
    name: str, method: str, base: str, trained: list[tuple[Recipe, Path, dict[str, Any]]]
) -> None:
    assert main(["train", f"mine.py:{name}", "--data", "digits", "--epochs", "7"]) == 0
    ((made, out, _),) = trained
    assert method in repr(made.method)
    assert made.optimizer == recipe("digits", base).optimizer
    assert made.epochs == 7
    assert out == Path(f"runs/digits-{name}-s0")


def test_a_wrapper_goes_around_a_name_or_a_users_method(
    trained: list[tuple[Recipe, Path, dict[str, Any]]], capsys: Capture
) -> None:
    changes = ["--set", "method.gamma=0.02", "--set", "method.method.beta=3"]
    assert main(["train", "trades+awp", "--data", "digits", *changes]) == 0
    assert main(["train", "mine.py:Own+grad_align+awp", "--data", "digits"]) == 0
    assert main(["train", "mine.py:around", "--data", "mnist"]) == 0
    (made, out, _), (own, beside, _), (around, _, _) = trained
    assert made.method == AWP(method=TRADES(beta=3.0), gamma=0.02)
    assert out == Path("runs/digits-trades+awp-s0")
    assert repr(own.method).startswith("AWP(method=GradAlign(method=Own(")
    assert beside == Path("runs/digits-Own+grad_align+awp-s0")
    assert around.optimizer == recipe("mnist", "trades").optimizer  # that of the method inside
    assert main(["train", "trades+atlas", "--data", "digits"]) == 2
    assert "unknown wrapper 'atlas' (known: awp, grad_align)" in capsys.readouterr().err


def test_other_data_take_the_nearest_recipe_and_say_so(
    trained: list[tuple[Recipe, Path, dict[str, Any]]], capsys: Capture
) -> None:
    assert main(["train", "atlas", "--data", "images.py:dark"]) == 0
    assert "atlas on digits: dark has none of its own, and its images of 1 x 8 x 8" in capsys.readouterr().out
    assert main(["train", "atlas", "--data", "images.py:dark", "--recipe", "mnist"]) == 0
    assert [made.epochs for made, _, _ in trained] == [60, 5]
    assert {str(out) for _, out, _ in trained} == {"runs/dark-atlas-s0"}


def test_a_collapsed_training_is_told_by_the_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    best = {"epoch": 4, "clean_accuracy": 0.9, "robust_accuracy": 0.456}
    done = SimpleNamespace(folder="r", best=best, outcome="collapse")
    monkeypatch.setattr(holdfast.training, "train", lambda *_, **__: done)
    assert main(["train", "natural", "--data", "digits"]) == 1
    said = capsys.readouterr().out
    assert "epoch 5: clean 90.0 %, robust 45.6 %" in said
    assert "outcome  collapse" in said


def test_only_the_first_process_talks(
    monkeypatch: pytest.MonkeyPatch, trained: list[tuple[Recipe, Path, dict[str, Any]]], capsys: Capture
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "natural", "--data", "digits"]) == 0
    assert capsys.readouterr().out == ""
    assert len(trained) == 1
