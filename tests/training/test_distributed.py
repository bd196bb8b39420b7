"""Two processes that share the batches learn what one does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from holdfast.attacks import PGD
from holdfast.data import RandomCrop
from holdfast.data.digits import Digits
from holdfast.errors import InvalidInput
from holdfast.methods import ATLAS, TRADES
from holdfast.models import PreActResNet18, WongCNN
from holdfast.processes import Processes
from holdfast.recipe import EMA, SGD, OneCycle, Recipe, codec
from holdfast.threat import Linf
from holdfast.training import train, trainer
from holdfast.training.trainer import Trainer


def recipe(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "method": ATLAS(),
        "threat": Linf(0.1),
        "data": Digits(),
        "model": WongCNN(),
        "optimizer": SGD(lr=0.1),
        "schedule": OneCycle(),
        "epochs": 2,
        "batch_size": 200,
        "augment": (RandomCrop(1),),
        "eps_warmup": 0.5,
        "ema": EMA(decay=0.9),
        "holdout": 101,  # odd, so that one process has more to validate than the other
        "validation": PGD(steps=2, early_stop=True),
    }
    return Recipe(**{**fields, **changes})


def columns(folder: Path, *names: str) -> list[list[float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [[line[name] for line in lines if name in line] for name in names]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = {
        "plain": recipe(accumulate=2),  # silent between its parts; the one process takes the batch whole
        "norms": recipe(method=TRADES(inner=PGD(steps=1)), model=PreActResNet18(width=2), epochs=1),
    }
    (tmp_path / "two").mkdir()
    for name, value in recipes.items():
        (tmp_path / "two" / f"{name}.json").write_text(json.dumps(codec.encode(value)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(Path(__file__).with_name("train_shared.py")), *map(str, (tmp_path / "two").glob("*.json"))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr

    monkeypatch.setattr(trainer, "READ_EVERY", 1)
    for name in recipes:
        one, two = (
            train(replace(recipes[name], accumulate=1), tmp_path / name, device="cpu", progress=False).folder,
            tmp_path / "two" / name,
        )
        (loss, accuracy), (shared_loss, shared_accuracy) = (
            columns(folder, "loss", "adversary_accuracy") for folder in (one, two)
        )
        assert len(loss) == 7 * recipes[name].epochs  # 6 steps an epoch, and its mean
        if name == "norms":  # each process normalises by its own half of the batch
            assert shared_loss == pytest.approx(loss, rel=0.1)
            continue
        assert shared_loss == pytest.approx(loss, rel=1e-5)
        assert shared_accuracy == pytest.approx(accuracy, abs=0.006)  # one image of 200 may tip over by rounding
        measured = [columns(folder, "clean_accuracy", "robust_accuracy") for folder in (one, two)]
        assert measured[1] == [pytest.approx(values, abs=1.5 / 101) for values in measured[0]]
        for key, value in load_file(one / "last" / "model.safetensors").items():
            torch.testing.assert_close(load_file(two / "last" / "model.safetensors")[key], value, rtol=1e-4, atol=1e-5)
        assert json.loads((two / "recipe.json").read_text())["processes"] == 2


def test_a_batch_that_cannot_be_shared_evenly_is_refused(tmp_path: Path) -> None:
    two = Processes(0, 2, torch.device("cpu"))
    with pytest.raises(InvalidInput, match="multiple of 2"):
        Trainer(recipe(batch_size=25), two, tmp_path, 60.0, False)


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="use device cpu"):
        train(recipe(), tmp_path / "run", device="cuda:77", progress=False)
