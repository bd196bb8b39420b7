"""Names out of a user's Python file."""

import sys
from pathlib import Path

import pytest

from holdfast import userfile
from holdfast.errors import InvalidInput


def test_parse_splits_only_what_names_a_python_file() -> None:
    assert userfile.parse("some/where/my_model.py:net") == ("some/where/my_model.py", "net")
    assert userfile.parse("timm:resnet18") is None
    assert userfile.parse("my_model.py") is None
    assert userfile.parse("my_model.py:not-a-name") is None


def test_a_file_runs_once_and_sees_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "neighbour_of_user.py").write_text("value = 3\n")
    (tmp_path / "user.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport neighbour_of_user\n"
        "@dataclass\nclass Thing:\n    size: int = neighbour_of_user.value\n"
    )
    thing = userfile.load(str(tmp_path / "user.py"), "Thing")
    assert thing().size == 3
    assert userfile.load(str(tmp_path / "user.py"), "Thing") is thing


def test_a_file_that_fails_shows_its_own_error_and_can_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("value = 1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        userfile.load(str(path), "value")
    path.write_text("value = 1.0\n")
    assert userfile.load(str(path), "value") == 1.0


def test_missing_files_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no file 'absent.py'"):
        userfile.load("absent.py", "net")
    (tmp_path / "some.py").write_text("network = 1\n")
    with pytest.raises(InvalidInput, match=r"unknown name in some.py 'netwrk'; did you mean 'network'"):
        userfile.load(str(tmp_path / "some.py"), "netwrk")
