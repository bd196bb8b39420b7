"""`holdfast diagnose`, and the report that shows what it found."""

import json
from pathlib import Path

import pytest

from holdfast.cli import folders, main
from holdfast.results import Diagnostics, diagnostics_storage

Capture = pytest.CaptureFixture[str]
NET = """
import torch
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


@pytest.fixture(autouse=True)
def _beside_a_network(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)


def test_the_file_is_called_as_its_writer_calls_it() -> None:
    assert folders.DIAGNOSIS == diagnostics_storage.NAME


def test_what_is_printed_is_what_is_saved(capsys: Capture) -> None:
    command = "diagnose net.py:net --data digits --eps 0.1 --n 20 --seed 2 --which linearity,alignment,invariance"
    assert main(command.split()) == 0
    said = capsys.readouterr().out
    [folder] = Path("diagnostics").glob("*/Linf-0.1-digits-n20-s2-linearity-alignment-invariance")
    found = Diagnostics.load(folder)
    assert (found.n, found.seed, found.threat.eps_text) == (20, 2, "0.1")
    assert found.command == f"holdfast {command}"
    assert found.linearity is not None
    assert found.alignment is not None
    assert found.invariance is not None
    assert found.surface is found.divergence is found.corruptions is None
    rows = {tuple(cell.strip() for cell in line.split("  ") if cell.strip()) for line in said.splitlines()}
    assert ("linearity", "gamma, mean", f"{found.linearity.mean:.3g}") in rows
    assert ("alignment", "vanished gradients", f"{found.alignment.vanished} of 20") in rows
    assert ("invariance", "accuracy, mean", f"{100 * found.invariance.mean:.1f} %") in rows
    assert str(folder) in said
    assert said.startswith(f"{found.model} on digits")

    assert main([*command.split(), "--out", "there", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["linearity"]["p95"] == pytest.approx(found.linearity.p95)
    assert Diagnostics.load(Path("there")).linearity == found.linearity


def test_the_report_shows_what_was_found(capsys: Capture) -> None:
    diagnose = ["diagnose", "net.py:net", "--data", "digits", "--eps", "0.1", "--n", "4", "--out"]
    for name in ("alignment", "linearity"):
        assert main([*diagnose, f"run/diagnostics/{name}", "--which", name]) == 0
    found = Diagnostics.load(Path("run/diagnostics/linearity")).linearity
    assert found is not None
    for folder, count, shown in (("run", 2, True), ("run/diagnostics/alignment", 1, False)):
        assert main(["report", folder]) == 0
        assert f"0 evaluations, 0 training curves, {count} diagnostics" in capsys.readouterr().out
        assert (f'value="{found.mean}" data-quantity="gamma_mean"' in Path("report.html").read_text()) is shown


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("--data digits --eps 0.1 --which surfaces", "surface"),
        ("--data digits --eps 0.1 --n 0", "n is 0"),
        ("", "add --data and --eps"),
    ],
)
def test_what_cannot_be_done_is_one_clear_message(rest: str, said: str, capsys: Capture) -> None:
    assert main(["diagnose", "net.py:net", *rest.split()]) == 2
    assert said in capsys.readouterr().err
    assert not Path("diagnostics").exists()
