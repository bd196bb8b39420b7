"""SIGKILL at random moments, and the bytes of a training that nobody disturbed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.attacks import PGD
from holdfast.data.digits import Digits
from holdfast.methods import FGSMRSAT
from holdfast.models import WongCNN
from holdfast.recipe import EMA, Adam, OneCycle, Recipe, codec
from holdfast.results.history import STAGES
from holdfast.threat import Linf
from holdfast.training import train, trainer

KILLS = 4
TIMES = {"seconds", "seconds_left", "training_seconds", "cpu_seconds", "validation_seconds", "examples_per_second"}
TIMES |= {f"{stage}_seconds" for stage in STAGES}


def log(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks of a process, and this system cannot fork")
def test_a_killed_training_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(
        FGSMRSAT(),
        Linf(0.1),
        Digits(),
        WongCNN(),
        Adam(lr=5e-3),
        OneCycle(),
        epochs=5.5,
        batch_size=100,
        ema=EMA(decay=0.9),
        validation=PGD(steps=2, early_stop=True),
        precision="float32",
        channels_last=False,
        compile=False,
    )
    (tmp_path / "recipe.json").write_text(json.dumps(codec.encode(recipe)))
    script, killed = Path(__file__).with_name("kill_loop.py"), tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "recipe.json"), str(killed), str(KILLS), "0.6"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == KILLS

    monkeypatch.setattr(trainer, "READ_EVERY", 2)
    whole = train(recipe, tmp_path / "whole", device="cpu", progress=False).folder
    assert log(killed) == log(whole)
    for which in ("best", "last"):
        weights = [(folder / which / "model.safetensors").read_bytes() for folder in (killed, whole)]
        assert weights[0] == weights[1], f"{which} weights differ"
        records = [json.loads((folder / which / "record.json").read_text()) for folder in (killed, whole)]
        assert records[0] == records[1]
    assert not list(killed.rglob("*.part")), "a kill's half-written file was left behind"
