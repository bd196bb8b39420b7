"""The page of a comparison: its numbers are those of the verdicts, and it says what is missing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.errors import InvalidInput
from holdfast.report import render_comparison, write_comparison
from holdfast.results import Cell, Comparison, Evaluation

Factory = Callable[..., Evaluation]
Quoted = Callable[..., list[tuple[dict[str, str], str]]]


def test_the_numbers_are_those_of_the_verdicts(comparison: Comparison, quoted: Quoted) -> None:
    page = render_comparison(comparison)
    shown = {tag["data-method"]: tag for tag, _ in quoted(page, "robust_accuracy")}
    assert list(shown) == ["strong", "single", "weak"], "the most robust comes first"
    for entrant in comparison.measured:
        accuracies = [e.verdicts.robust_accuracy for e in entrant.evaluations]
        assert float(shown[entrant.label]["value"]) == pytest.approx(sum(accuracies) / len(accuracies))
        assert float(shown[entrant.label]["data-low"]) < float(shown[entrant.label]["value"])


def test_differences_stand_both_ways_with_their_verdict(comparison: Comparison, quoted: Quoted) -> None:
    page = render_comparison(comparison)
    shown = [tag for tag, _ in quoted(page, "difference", of="robust")]
    assert len(shown) == 6
    assert sum(float(tag["value"]) for tag in shown) == pytest.approx(0.0)
    apart = {tag["data-row"] for tag in shown if tag.get("class") == "apart"}
    assert apart == {"strong", "weak", "single"}
    pairs = {(p.first.label, p.second.label): p for p in comparison.pairs("robust")}
    assert pairs["strong", "weak"].differs
    assert not pairs["strong", "single"].differs
    assert "2 of the 3 differences in robust accuracy are beyond noise" in " ".join(page.split())


def test_it_says_by_which_passes_the_attacks_searched(comparison: Comparison) -> None:
    assert "Attacks searched by float32 passes;" in " ".join(render_comparison(comparison).split())


def test_what_is_missing_is_said(comparison: Comparison) -> None:
    page = " ".join(render_comparison(comparison).split())
    assert "Not measured yet: late." in page
    assert "0, 1 unfinished" in page
    assert "weak: More steps still lower the accuracy" in page
    assert "a step of natural training took 12.3&nbsp;ms" in page
    assert "5 min" in page


def test_costs_are_told_on_the_clock_that_can_be_compared(comparison: Comparison) -> None:
    entrant = comparison.entrants[0]
    log = entrant.cells[0].history
    assert log is not None
    assert comparison.clock == "cpu_seconds"
    assert entrant.seconds("cpu_seconds") == log["seconds"][-1] * 0.5
    assert "processor seconds of training" in render_comparison(comparison)
    on_gpu = replace(comparison, device="cuda")
    assert on_gpu.clock == "training_seconds"
    assert "processor seconds of training" not in render_comparison(on_gpu)


def test_other_questions_are_refused(comparison: Comparison, make_evaluation: Factory) -> None:
    other = Cell(0, "finished", "x", make_evaluation("other", n=200, gallery=0))
    entrant = replace(comparison.entrants[0], label="other", cells=(other,))
    with pytest.raises(InvalidInput, match="were not asked the same"):
        replace(comparison, entrants=(comparison.entrants[1], entrant))


def test_nothing_to_compare_is_refused(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing to compare"):
        render_comparison(replace(comparison, entrants=()))
    unfinished = replace(comparison, entrants=comparison.entrants[3:])
    assert "Not measured yet: late." in write_comparison(unfinished, tmp_path / "page.html").read_text()
