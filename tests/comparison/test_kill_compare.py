"""A comparison that is killed, wherever it is, goes on and ends as if it had not been."""

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from holdfast.comparison.runs import outcome
from holdfast.training import Run

SCRIPT = Path(__file__).with_name("kill_me.py")


@pytest.fixture
def kill_me() -> ModuleType:
    """The script, to ask the same here."""
    spec = importlib.util.spec_from_file_location("kill_me", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def left(folder: Path) -> dict[str, Any]:
    """All that a comparison leaves, but the times."""
    weights = sorted(folder.rglob("best/model.safetensors"))
    trials = sorted(folder.rglob("trial.json"))
    return {
        **{str(path.relative_to(folder)): (path.read_bytes(), Run.open(path.parents[1]).best) for path in weights},
        **{str(path.relative_to(folder)): json.loads(path.read_text()) for path in trials},
    }


@pytest.mark.parametrize("where", ["evaluations", "runs/fgsm_rs-s0", "tuning/fgsm_rs/001/run"])
def test_a_killed_comparison_goes_on_and_ends_the_same(tmp_path: Path, kill_me: ModuleType, where: str) -> None:
    if "tuning" in where:
        pytest.importorskip("optuna", reason="Optuna is not installed (extra: tune)")
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, str(SCRIPT), str(folder), where], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "kill me\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    if where == "evaluations":
        assert len(list(folder.rglob("evaluation.json"))) == 2
    else:
        assert (folder / where / "checkpoints").is_dir()
        assert outcome(folder / where) == "unfinished"

    killed, whole = kill_me.ask(folder, where), kill_me.ask(tmp_path / "whole", where)
    assert left(folder) == left(tmp_path / "whole")
    for one, other in zip(killed.entrants, whole.entrants, strict=True):
        assert len(one.evaluations) == len(kill_me.ASKED[where][2])
        assert [e.verdicts for e in one.evaluations] == [e.verdicts for e in other.evaluations]
        assert one.tuned == other.tuned
