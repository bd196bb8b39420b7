"""The page of a comparison: what was trained on equal terms, how robust it is, what it cost, and what differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from holdfast.errors import InvalidInput
from holdfast.files import write_atomically
from holdfast.report.charts import Axis, Chart, Series
from holdfast.report.curves import PERCENT, paint
from holdfast.report.page import templates
from holdfast.results import Comparison, Entrant, Finding, Pair
from holdfast.results.comparison import LEVEL, Quantity


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write the page to `out`, whole or not at all, and return its path."""
    out = Path(out)
    write_atomically(out, render_comparison(comparison).encode())
    return out


def render_comparison(comparison: Comparison) -> str:
    """The page. Raises InvalidInput where there is no entrant."""
    if not comparison.entrants:
        raise InvalidInput("there is nothing to compare: give at least one method")
    paints = {entrant.label: paint(index) for index, entrant in enumerate(comparison.entrants)}
    robust, clean = comparison.pairs("robust"), comparison.pairs("clean")
    contents: dict[str, Any] = {
        "comparison": comparison,
        "paints": paints,
        "waiting": tuple(entrant for entrant in comparison.entrants if not entrant.evaluations),
        "apart": [pair for pair in robust if pair.differs],
        "matrices": [_matrix("robust", comparison, robust), _matrix("clean", comparison, clean)],
        "charts": _charts(comparison, paints),
        "courses": _courses(comparison, paints),
        "findings": _findings(comparison),
        "level": LEVEL,
        "searches": sorted({e.precision for entrant in comparison.entrants for e in entrant.evaluations}),
        "endings": endings,
        "evaluation": next((e for entrant in comparison.entrants for e in entrant.evaluations), None),
    }
    return templates().get_template("comparison.html").render(contents)


def endings(entrant: Entrant) -> str:
    """How its trainings ended: "3", "2, 1 collapse", "0 of 3"."""
    ends = [cell.outcome for cell in entrant.cells]
    other = [f"{ends.count(word)} {word}" for word in dict.fromkeys(ends) if word != "finished"]
    return ", ".join([str(ends.count("finished")), *other])


@dataclass(frozen=True)
class Matrix:
    """Differences of accuracy, row minus column; None on the diagonal."""

    quantity: Quantity
    labels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[Pair, int] | None, ...]], ...]


def _matrix(quantity: Quantity, comparison: Comparison, pairs: Sequence[Pair]) -> Matrix:
    labels = tuple(entrant.label for entrant in comparison.measured)
    known: dict[tuple[str, str], tuple[Pair, int]] = {}
    for pair in pairs:
        known[pair.first.label, pair.second.label] = pair, 1
        known[pair.second.label, pair.first.label] = pair, -1
    return Matrix(
        quantity, labels, tuple((row, tuple(known.get((row, column)) for column in labels)) for row in labels)
    )


def _charts(comparison: Comparison, paints: dict[str, str]) -> list[Chart]:
    """Robust accuracy against what it cost, and against clean accuracy: a point a method, with its interval."""
    clock = "processor seconds of training" if comparison.clock == "cpu_seconds" else "seconds of training"
    shown = [entrant for entrant in comparison.measured if isfinite(entrant.seconds(comparison.clock))]
    places = [
        ("cost", f"Robust accuracy against {clock}", [entrant.seconds(comparison.clock) for entrant in shown], clock),
        ("trade", "Robust against clean accuracy", [_mean(entrant, "clean") for entrant in shown], "clean accuracy, %"),
    ]
    return [_points(key, title, shown, x, name, paints) for key, title, x, name in places if shown]


def _points(
    key: str, title: str, shown: Sequence[Entrant], x: Sequence[float], name: str, paints: dict[str, str]
) -> Chart:
    series = []
    for entrant, place in zip(shown, x, strict=True):
        assert entrant.robust is not None
        found = entrant.robust
        series.append(
            Series(entrant.label, paints[entrant.label], (place,), (found.mean,), (found.low,), (found.high,))
        )
    if key == "trade":
        low = int(min(x) * 20) / 20
        axis = Axis(name, low if low < 1.0 else 0.95, 1.0, PERCENT)
    else:
        axis = Axis(name, 0.0, 1.05 * max(x))
    return Chart(key, title, axis, _accuracy_axis([v for s in series for v in (*s.low, *s.high)]), tuple(series))


def _accuracy_axis(values: Sequence[float]) -> Axis:
    """From a round number below the values to one above, so that what lies close together is seen apart."""
    low, high = int(min(values) * 10) / 10, min(1.0, int(max(values) * 10 + 1) / 10)
    return Axis("robust accuracy, %", low if low < high else 0.0, high, PERCENT)


def _mean(entrant: Entrant, quantity: Quantity) -> float:
    found = entrant.clean if quantity == "clean" else entrant.robust
    assert found is not None
    return found.mean


def _courses(comparison: Comparison, paints: dict[str, str]) -> list[Chart]:
    """Accuracies on the held-out images over the time of training: means over seeds, and their range."""
    quantities = (("robust_accuracy", "Robust accuracy, held out"), ("clean_accuracy", "Clean accuracy, held out"))
    charts = []
    for column, title in quantities:
        series = [s for e in comparison.entrants if (s := _course(e, column, comparison, paints[e.label])) is not None]
        if series:
            longest = max(value for s in series for value in s.x)
            name = "processor seconds" if comparison.clock == "cpu_seconds" else "seconds"
            axis = Axis(f"{name} of training", 0.0, longest)
            charts.append(Chart(column, title, axis, Axis("accuracy, %", 0.0, 1.0, PERCENT), tuple(series)))
    return charts


def _course(entrant: Entrant, column: str, comparison: Comparison, colour: str) -> Series | None:
    """Over the epochs that all its seeds have reached."""
    logs = [cell.history for cell in entrant.cells if cell.history is not None and len(cell.history)]
    reached = min((len(log) for log in logs), default=0)
    times = [[float(log[comparison.clock][epoch]) for log in logs] for epoch in range(reached)]
    values = [[float(log[column][epoch]) for log in logs] for epoch in range(reached)]
    known = [epoch for epoch in range(reached) if all(map(isfinite, times[epoch] + values[epoch]))]
    if not known:
        return None
    return Series(
        entrant.label,
        colour,
        tuple(fmean(times[epoch]) for epoch in known),
        tuple(fmean(values[epoch]) for epoch in known),
        tuple(min(values[epoch]) for epoch in known) if len(logs) > 1 else (),
        tuple(max(values[epoch]) for epoch in known) if len(logs) > 1 else (),
    )


def _findings(comparison: Comparison) -> list[tuple[str, Finding]]:
    """Reasons to doubt an evaluation, each once a method."""
    found: dict[tuple[str, str], Finding] = {}
    for entrant in comparison.entrants:
        for evaluation in entrant.evaluations:
            for finding in evaluation.findings:
                found.setdefault((entrant.label, finding.kind), finding)
    return [(label, finding) for (label, _), finding in found.items()]
