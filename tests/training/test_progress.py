"""What a person is told."""

import sys

import pytest

from holdfast.training.progress import Display, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125.0, "2 min 05 s"), (12000.0, "3 h 20 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_terminal_gets_a_bar_within_the_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    display = Display(True, epochs=3)
    display.begin(1, 2, 4)
    display.step()
    display.show({"loss": 0.5, "adversary_accuracy": 0.25}, 61.0)
    display.step()
    display.say("a line of its own")
    display.end()
    told = capsys.readouterr()
    assert told.out == ""
    assert "epoch 2/3" in told.err
    assert "2/4" in told.err  # a run that goes on begins where it was
    assert "a line of its own" in told.err


@pytest.mark.parametrize("on", [True, False])
def test_elsewhere_there_are_lines_only(on: bool, capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(on, epochs=3)
    display.begin(0, 0, 4)
    display.step()
    display.say("hello")
    display.end()
    assert capsys.readouterr().err == ("hello\n" if on else "")
