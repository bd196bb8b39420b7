"""`holdfast evaluate` of models and attacks that are not ours."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from holdfast.cli import main
from holdfast.data import source
from holdfast.models import MLP
from holdfast.results import Evaluation

Capture = pytest.CaptureFixture[str]

MODELS = """
import torch

MEANS = torch.load("means.pt").numpy()

def box():
    # One class for each digit's mean image; a service would be asked here instead.
    return lambda x: -((x[:, None] - MEANS) ** 2).sum(axis=(2, 3, 4))
"""

ATTACKS = """
from holdfast.attacks import FGSM, PGD, SPSA, Square
from holdfast.evaluation.protocols import Protocol

def brief(threat):
    return Square(queries=20), SPSA(steps=2, samples=4)

def suite(threat):
    return Protocol("mine", "7", (FGSM(), PGD(steps=2)))

def classes(threat):
    return Square, PGD

def text(threat):
    return "quick"

def none(threat):
    return ()

number = 5
"""


@pytest.fixture(autouse=True)
def _files() -> None:
    train = source("digits").load("train")
    x = train.images.float() / 255
    torch.save(torch.stack([x[train.labels == k].mean(dim=0) for k in range(10)]), "means.pt")
    Path("elsewhere.py").write_text(MODELS)
    Path("attacks.py").write_text(ATTACKS)


def call(command: str) -> int:
    return main(command.split())


def evaluated(command: str, capsys: Capture) -> dict[str, Any]:
    capsys.readouterr()
    assert call(f"evaluate {command} --json --eps 0.1") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_function_is_measured_without_gradients(capsys: Capture) -> None:
    found = evaluated("elsewhere.py:box --data digits --n 30 --attacks attacks.py:brief", capsys)
    folder = Path("evaluations/elsewhere-box/attacks-brief-Linf-0.1-digits-n30")
    result = Evaluation.load(folder)
    assert [finding["kind"] for finding in found["findings"]] == ["no_gradient"]
    assert (result.protocol.name, len(result.protocol.version)) == ("brief", 8)
    assert result.verdicts.clean_accuracy > 0.7
    assert result.verdicts.robust_accuracy < result.verdicts.clean_accuracy
    assert result.curves == ()
    # Another function in the file's place is not taken for the rest of the same evaluation.
    Path("elsewhere.py").write_text(MODELS + "# changed")
    assert call("evaluate elsewhere.py:box --data digits --n 30 --eps 0.1 --attacks attacks.py:brief") == 2
    assert "weights" in capsys.readouterr().err


def test_attacks_that_need_gradients_refuse_a_function(capsys: Capture) -> None:
    assert call("evaluate elsewhere.py:box --data digits --n 5 --eps 0.1 --attacks autoattack") == 2
    said = capsys.readouterr().err
    assert "apgd-ce, apgd-t, fab-t of protocol autoattack need its gradients; use --attacks gradient_free" in said
    assert not Path("evaluations").exists()


def test_a_torchscript_file_is_attacked_by_its_gradients(capsys: Capture) -> None:
    network = MLP(hidden=(8,)).build((1, 8, 8), 10, seed=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        torch.jit.save(torch.jit.script(nn.Sequential(network).eval()), "net.ts")
    found = evaluated("net.ts --data digits --n 20 --attacks attacks.py:suite", capsys)
    assert found["protocol"] == {"name": "mine", "version": "7"}
    assert found["model"] == "net.ts"
    assert "no_gradient" not in [finding["kind"] for finding in found["findings"]]
    assert Path("evaluations/net.ts/attacks-suite-Linf-0.1-digits-n20").is_dir()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("classes", "attacks.py:classes gives (<class 'holdfast.attacks.square.Square'>"),
        ("text", "gives 'quick'; it must be a function of the threat model that returns a Protocol or a tuple"),
        ("none", "protocol 'none' has no attack"),
        ("number", "gives 5; it must be a function"),
        ("siute", "did you mean 'suite'?"),
    ],
)
def test_what_is_no_suite_of_attacks_is_refused(name: str, said: str, capsys: Capture) -> None:
    assert call(f"evaluate elsewhere.py:box --data digits --eps 0.1 --attacks attacks.py:{name}") == 2
    assert said in capsys.readouterr().err


def test_a_run_that_falls_short_of_its_record_is_told(capsys: Capture) -> None:
    assert call("train natural --data digits --epochs 1 --model mlp --set optimizer.lr=1e-9 --out r") == 0
    record = Path("r/best/record.json")
    for claimed, expected in ((0.0, False), (1.0, True)):
        record.write_text(json.dumps(json.loads(record.read_text()) | {"clean_accuracy": claimed}))
        found = evaluated(f"r --n 12 --attacks attacks.py:suite --out {claimed}", capsys)
        assert ("clean_below_record" in [finding["kind"] for finding in found["findings"]]) == expected
    found = evaluated("r --n 12 --attacks attacks.py:suite --data digits --out other", capsys)
    assert "clean_below_record" not in [finding["kind"] for finding in found["findings"]]
