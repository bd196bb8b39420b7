"""Two processes that share the batches learn what one does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from holdfast import userfile
from holdfast.errors import InvalidInput
from holdfast.processes import Processes
from holdfast.recipe import Recipe
from holdfast.training import train
from holdfast.training.trainer import Trainer

# 20 steps an epoch, so that the log has a line of them; an odd holdout, so that one process validates more than the
# other; a batch in parts, between which the processes must not meet.
RECIPE = """
from holdfast.attacks import PGD
from holdfast.data import RandomCrop
from holdfast.data.digits import Digits
from holdfast.methods import ATLAS, SPROUT, FreeAT
from holdfast.models import WongCNN
from holdfast.recipe import EMA, Adam, OneCycle, Recipe
from holdfast.threat import Linf


def shared():
    return Recipe(
        METHOD, Linf(0.05), Digits(), WongCNN(), Adam(lr=8e-3), OneCycle(), epochs=2, batch_size=60, accumulate=2,
        augment=(RandomCrop(1),), eps_warmup=0.5, ema=EMA(decay=0.9), holdout=101,
        validation=PGD(steps=2, early_stop=True), precision="float32", channels_last=False, compile=False,
    )
"""


@pytest.fixture(params=["ATLAS()"])
def recipe(tmp_path: Path, request: pytest.FixtureRequest) -> Recipe:
    (tmp_path / "mine.py").write_text(RECIPE.replace("METHOD", request.param))
    made: Recipe = userfile.load(str(tmp_path / "mine.py"), "shared")()
    return made


def columns(folder: Path, *names: str) -> list[list[float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [[line[name] for line in lines if name in line] for name in names]


# Free's perturbation belongs to the rows of the whole batch: half of it is moved by each process.
# SPROUT's steps leave out the weights, or what it learns of the labels.
@pytest.mark.parametrize("recipe", ["ATLAS()", "FreeAT(replays=2)", "SPROUT(mixup=0.0, weight_steps=1)"], indirect=True)
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path, recipe: Recipe) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = tmp_path / "two"
    done = subprocess.run(
        [*torchrun, "-m", "holdfast", "train", f"{tmp_path / 'mine.py'}:shared", "--out", str(two), "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    one = train(replace(recipe, accumulate=1), tmp_path / "one", device="cpu", progress=False).folder

    curves = [columns(folder, "loss", "local_loss", "global_loss") for folder in (one, two)]
    # An epoch has 20 steps, or as many replays of each; there is a line for steps 1 to 3, for each 20, for each epoch.
    assert len(curves[0][0]) == 3 + 2 * recipe.method.replays
    for alone, shared in zip(*curves, strict=True):
        assert shared == pytest.approx(alone, rel=1e-4, abs=1e-5)
    accuracies = [columns(folder, "clean_accuracy", "robust_accuracy") for folder in (one, two)]
    # One image of 101 may tip over by rounding.
    assert accuracies[1] == [pytest.approx(values, abs=1.5 / 101) for values in accuracies[0]]
    for which in ("best", "last"):
        weights = [load_file(folder / which / "model.safetensors") for folder in (one, two)]
        for name, value in weights[0].items():
            torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-5)
    assert json.loads((two / "recipe.json").read_text())["processes"] == 2
    assert "on cpu x 2 processes" in done.stderr


def test_a_batch_that_cannot_be_shared_evenly_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    two = Processes(0, 2, torch.device("cpu"))
    with pytest.raises(InvalidInput, match="multiple of 2"):
        Trainer(replace(recipe, batch_size=25, accumulate=1), two, tmp_path, 60.0, False)


def test_a_device_that_is_not_there_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(InvalidInput, match="use device cpu"):
        train(recipe, tmp_path / "run", device="cuda:77", progress=False)
