"""The examples do what they say, shortened to one epoch."""

import runpy
import sys
from pathlib import Path

import pytest

from holdfast.cli import main
from holdfast.training import Run, load_recipe

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_no_example_is_longer_than_a_page() -> None:
    for file in EXAMPLES.glob("*.py"):
        assert len(file.read_text().splitlines()) < 60, file.name
    code = (EXAMPLES / "train_and_evaluate.py").read_text().rpartition('"""')[2].splitlines()
    assert len([line for line in code if line]) < 15


def test_train_and_evaluate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_and_evaluate.py", "epochs=1"])
    runpy.run_path(str(EXAMPLES / "train_and_evaluate.py"))
    assert capsys.readouterr().out.startswith("clean 0.")
    assert "<html" in (tmp_path / "report.html").read_text()


def test_my_method(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    assert main(["train", f"{EXAMPLES}/my_method.py:my_recipe", "--epochs", "1", "--out", str(out)]) == 0
    assert (out / "source" / "my_method.py").read_text() == (EXAMPLES / "my_method.py").read_text()
    found = load_recipe(out)
    assert type(found.method).__name__ == "SmoothedADV"
    assert "0.05" in repr(found.method)
    assert main(["train", "--resume", str(out)]) == 0


def test_my_model(tmp_path: Path) -> None:
    out = tmp_path / "run"
    model = f"{EXAMPLES}/my_model.py:net"
    assert main(["train", "fgsm_rs", "--data", "digits", "--model", model, "--epochs", "1", "--out", str(out)]) == 0
    assert len(Run.open(out).load("last")) == 7
