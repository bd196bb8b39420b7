"""The layers that architecture rests on, and what a quick import may load."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_imports_go_one_way(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cli = pytest.importorskip("importlinter.cli", reason="import-linter is not installed (pip install holdfast[dev])")
    monkeypatch.chdir(ROOT)
    status = cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    output = capsys.readouterr().out
    assert status == 0, output
    assert "0 broken" in output


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import holdfast", "torch matplotlib pyarrow sklearn numpy"),
        ("import holdfast.errors", "torch matplotlib pyarrow sklearn numpy"),
        ("import holdfast.results", "torch matplotlib sklearn"),
        ("import holdfast.report", "torch sklearn"),
    ],
)
def test_an_import_loads_nothing_heavy(statement: str, heavy: str) -> None:
    code = f"{statement}; import sys; print(sorted(set('{heavy}'.split()) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
