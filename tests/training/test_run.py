"""Reading a run's folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from holdfast.data.digits import Digits
from holdfast.errors import CheckpointError, InvalidInput
from holdfast.models import MLP
from holdfast.recipe import Recipe
from holdfast.training import Run, load_model, load_recipe, train

Make = Callable[..., Recipe]


@pytest.fixture
def run(tmp_path: Path, tiny: Make) -> Run:
    return train(tiny(data=Digits(), epochs=1, batch_size=400), tmp_path / "run", device="cpu", progress=False)


def test_can_be_moved_and_read_elsewhere(tmp_path: Path, run: Run) -> None:
    shutil.move(run.folder, tmp_path / "moved")
    model, recipe = load_model(str(tmp_path / "moved"), "last")
    assert not model.training
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert recipe == load_recipe(tmp_path / "moved")
    assert Run.open(tmp_path / "moved").best == run.best


def test_the_record_names_what_decided_the_numbers(run: Run) -> None:
    record = json.loads((run.folder / "recipe.json").read_text())
    assert record["recipe"]["seed"] == 0
    assert record["parameters"] == 22406
    assert record["data"]["held_out"]["count"] == 50
    assert len(record["data"]["training"]["sha256"]) == 64
    assert {"holdfast", "torch", "numpy", "python", "device"} <= record["versions"].keys()


@pytest.mark.parametrize("damage", ["cut", "foreign", "another network's", "missing"])
def test_damaged_weights_are_refused(tmp_path: Path, run: Run, tiny: Make, damage: str) -> None:
    path = run.folder / "best" / "model.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "foreign":
        path.write_bytes(b"\x80\x04\x95 a pickle or whatever")
    elif damage == "missing":
        path.unlink()
    else:
        other = train(tiny(model=MLP(), epochs=1), tmp_path / "other", device="cpu", progress=False)
        shutil.copy(other.folder / "best" / "model.safetensors", path)
    with pytest.raises(CheckpointError, match=r"best.model\.safetensors") as caught:
        run.load()
    expected = {"cut": "cut short", "foreign": "something else", "missing": "cannot be read"}
    assert expected.get(damage, "another network") in str(caught.value)


def test_a_folder_without_a_run_is_refused(tmp_path: Path, run: Run) -> None:
    with pytest.raises(CheckpointError, match="holds no run"):
        Run.open(tmp_path)
    (run.folder / "recipe.json").write_text('{"schema": "another"}')
    with pytest.raises(CheckpointError, match="no record of a run"):
        load_recipe(run.folder)
    (run.folder / "recipe.json").write_text('{"sche')
    with pytest.raises(CheckpointError, match="is damaged"):
        run.load()


def test_unknown_weights_are_refused(run: Run) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'best'"):
        run.load("bset")  # type: ignore[arg-type]


def test_weights_of_tensors_in_memory_load_though_their_recipe_cannot(tmp_path: Path, tiny: Make) -> None:
    run = train(tiny(epochs=1), tmp_path / "run", device="cpu", progress=False)
    assert run.load()(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    with pytest.raises(CheckpointError, match="give the recipe again from Python"):
        _ = run.recipe
