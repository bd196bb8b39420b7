"""The code of the README and of the pages in docs/ runs as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import userfile
from holdfast.attacks import External
from holdfast.cli import main
from holdfast.data import ImageSet
from holdfast.evaluation import evaluate
from holdfast.evaluation.protocols import Protocol
from holdfast.methods import AWP, METHODS, method
from holdfast.threat import Linf
from holdfast.training import Run, load_recipe

DOCS = Path(__file__).resolve().parents[1] / "docs"
THREAT = Linf(0.3)


def code(page: str) -> str:
    """The Python blocks of a page, one after the other."""
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL))


def test_the_code_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    shorter = code("../README.md").replace("epochs=10", "epochs=0.1")
    exec(shorter.replace("n=100", "n=5, with_curves=False, progress=False"), found)
    assert len(found["evaluation"].verdicts) == 5


def test_the_comparison_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code("comparing.md").replace("n=50", "n=20, attacks='pgd', progress=False"), found)
    assert [entrant.label for entrant in found["found"].entrants] == ["one-step", "without clipping"]
    assert len(found["found"].pairs("robust")) == 1


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The page's file, as a reader would write it."""
    path = tmp_path / "my_attacks.py"
    path.write_text(code("adding-an-attack.md"))
    return path


@pytest.fixture
def split(cnn: nn.Module, images: Tensor) -> ImageSet:
    return ImageSet(images, cnn.eval()(images).argmax(dim=1), tuple("abcde"), "synthetic/test")


def robust(model: nn.Module, split: ImageSet, *attacks: Any) -> float:
    protocol = Protocol("page", "1", attacks)
    found = evaluate(model, split, THREAT, protocol, with_curves=False, gallery=0, progress=False)
    return found.verdicts.robust_accuracy


def test_the_attack_of_the_page_keeps_the_laws_and_breaks_a_model(
    written: Path, cnn: nn.Module, split: ImageSet
) -> None:
    userfile.load(str(written), "test_momentum")()
    momentum, carlini = userfile.load(str(written), "Momentum")(), userfile.load(str(written), "carlini")
    assert robust(cnn, split, momentum) < 0.2
    assert robust(cnn, split, carlini) < 0.2


def test_the_suite_of_the_page_is_a_protocol(written: Path) -> None:
    suite = userfile.load(str(written), "suite")(THREAT)
    assert [attack.name for attack in suite.attacks] == ["momentum", "pgd-margin-adam-40", "foolbox-pgd"]
    assert "Momentum(" in repr(suite.attacks[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", ["foolbox", "torchattacks", "art"])
def test_the_foreign_attacks_of_the_page_run(written: Path, cnn: nn.Module, split: ImageSet, library: str) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed")
    function = userfile.load(str(written), f"{library}_pgd")
    assert robust(cnn, split, External(function, library)) < 0.2
    assert torch.is_grad_enabled()


METHOD_PAGE = "adding-a-method.md"


@pytest.fixture
def my_methods(tmp_path: Path) -> Path:
    path = tmp_path / "my_methods.py"
    path.write_text(code(METHOD_PAGE))
    return path


def test_the_method_of_the_page_keeps_the_laws(my_methods: Path) -> None:
    userfile.load(str(my_methods), "test_logit_pairing")()


def recorded(file: Path, name: str) -> Any:
    """The method that a name of the page stands for."""
    made = userfile.load(str(file), name.removesuffix("+awp"))()
    return AWP(method=made) if name.endswith("+awp") else made.method


@pytest.mark.parametrize("name", ["my_recipe", "wrapped_recipe", "mixed_recipe", "LogitPairing+awp"])
def test_the_methods_of_the_page_train(my_methods: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "run"
    short = ["--epochs", "1", "--batch-size", "512", "--set", "holdout=50"]
    data = ["--data", "digits"] if "+" in name else []
    assert main(["train", f"{my_methods}:{name}", *data, *short, "--out", str(out), "--device", "cpu"]) == 0
    assert repr(load_recipe(out).method) == repr(recorded(my_methods, name))
    assert Run.open(out).outcome == "finished"


def test_the_table_of_concepts_has_every_method_with_its_passes() -> None:
    rows = re.findall(r"^\| `(\w+)`.*\| ([^|]+) \|$", (DOCS / "concepts.md").read_text(), re.MULTILINE)
    assert METHODS.keys() <= dict(rows).keys()
    for name, passes in rows:
        if name in METHODS and passes[0].isdigit():
            assert passes == f"{method(name).passes:.3g}", name
