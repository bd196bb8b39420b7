"""SIGKILL at random moments, and the bytes of a training that nobody disturbed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.attacks import PGD
from holdfast.data.digits import Digits
from holdfast.methods import FGSMRSAT
from holdfast.models import WongCNN
from holdfast.recipe import EMA, Adam, OneCycle, Recipe, codec
from holdfast.threat import Linf
from holdfast.training import Run, train, trainer

KILLS = 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks of a process, and this system cannot fork")
def test_a_killed_training_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Callable[[Run], tuple[Any, ...]]
) -> None:
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
    whole = train(recipe, tmp_path / "whole", device="cpu", progress=False)
    assert outcome(Run.open(killed)) == outcome(whole)
    assert not list(killed.rglob("*.part")), "a kill's half-written file was left behind"
