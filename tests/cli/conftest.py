"""What tests of the command line share: a folder with users' files to work in, a training that only listens."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import holdfast.training
from holdfast.recipe import Recipe

METHODS_FILE = """
from dataclasses import dataclass
from holdfast.methods import AWP, PGDAT, Batch, Method, TRADES
from holdfast.recipes import recipe

@dataclass(frozen=True)
class Own(PGDAT):
    weight: float = 1.0

instance = Own(weight=2.0)
whole = recipe("digits", "natural")
around = AWP(method=TRADES())
def function(): return recipe("digits", "trades")
def factory(): return Own(weight=3.0)
def needs(x): return x
def wrong(): return 5
number = 5
"""

DATA_FILE = """
import torch
from holdfast.data import Tensors
x, y = torch.rand(20, 1, 8, 8), torch.arange(20) % 2
def dark(): return Tensors((x, y), (x, y), name="dark")
def bright(): return Tensors((x * 255, y), (x, y))
def labels(): return Tensors((x, y + 5), (x, y), classes=("a", "b"))
def empty(): return Tensors((x[:0], y[:0]), (x, y), classes=("a", "b"))
def halves(): return Tensors((x, y[:10]), (x, y))
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "mine.py").write_text(METHODS_FILE)
    (tmp_path / "images.py").write_text(DATA_FILE)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, Path, dict[str, Any]]]:
    """Calls of `train`, which does nothing here."""
    calls: list[tuple[Recipe, Path, dict[str, Any]]] = []

    def train(recipe: Recipe, out: Path, **options: Any) -> SimpleNamespace:
        calls.append((recipe, out, options))
        return SimpleNamespace(folder=out, best={}, outcome="finished")

    monkeypatch.setattr(holdfast.training, "train", train)
    return calls
