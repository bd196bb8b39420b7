"""Tables for the terminal."""

import pytest

from holdfast.cli.layout import percent, table


def test_columns_are_aligned_and_the_last_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    words = "one two three four five six seven eight"
    assert table([("a", "1.5", words), ("longer", "2", "")], ("name", "x", "words")).splitlines() == [
        "name    x    words",
        "------  ---  ---------------------------",
        "a       1.5  one two three four five six",
        "             seven eight",
        "longer  2",
    ]


def test_a_narrow_terminal_keeps_the_last_column_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    assert table([("a" * 20, "b" * 24)], ("", "")).splitlines()[-1] == "a" * 20 + "  " + "b" * 24


def test_percent() -> None:
    assert [percent(share) for share in (0.0, 0.8754, 1.0)] == ["0.0 %", "87.5 %", "100.0 %"]
