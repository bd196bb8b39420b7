"""How the time of an example grows: with batch size, width, steps of the search and number of examples."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Contestant, Measured, Record, Spread, clock, contest, table
from benchmarks.pictures import line_chart, sheet
from benchmarks.speed.evaluation import ours
from benchmarks.speed.subjects import SUBJECTS, images, victim
from benchmarks.speed.training import plain, trainer_steps

from holdfast.attacks import APGD
from holdfast.evaluation import Protocol
from holdfast.recipe import Recipe

BATCHES = {"mnist": (16, 64, 256, 1024), "cifar10": (8, 32, 128)}
WIDTHS = (4, 8, 16, 32)
STEPS = (1, 2, 5, 10, 20, 40)
EXAMPLES = {"mnist": (64, 128, 256, 512), "cifar10": (16, 32, 64, 128)}

# The axis, in words, and how the time of an example should grow along it.
AXES = {
    "batch": ("FGSM-RS step: batch size", "flat"),
    "width": ("FGSM-RS step, ResNet, batch 32: width", "with the square of the width, where it is wide"),
    "steps": ("PGD-k step: k", "linear in k + 1"),
    "examples": ("APGD-CE evaluation: examples", "flat"),
}


def _training(recipes: Mapping[float, Recipe], device: str, rounds: int) -> Record:
    """Microseconds an example of plain float32 steps of several recipes, which take turns."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        entered = []
        for x, recipe in recipes.items():
            step, _ = stack.enter_context(trainer_steps(plain(recipe), device, Path(folder) / f"{x:g}"))
            entered.append(Contestant(f"{x:g}", step))
        times, _ = contest(entered, rounds, device, warmup=2)
    return {
        f"{x:g}": [1e6 * seconds / recipe.batch_size for seconds in times[f"{x:g}"][clock(device)]]
        for x, recipe in recipes.items()
    }


def _evaluation(data: str, counts: Sequence[int], device: str, rounds: int, short: bool, folder: Path) -> Record:
    subject = SUBJECTS[data]
    model = victim(subject, folder, device, short)
    split = images(data, 1000).load("test")
    suite = Protocol("apgd", "1", (APGD(),))
    entered = [Contestant(str(n), lambda n=n: ours(model, split, subject, suite, n)) for n in counts]
    times, _ = contest(entered, rounds, device)
    return {str(n): [1e6 * seconds / n for seconds in times[str(n)][clock(device)]] for n in counts}


def measure(device: str, short: bool, folder: Path) -> Measured:
    """Microseconds an example along each axis, for each subject."""
    rounds = 2 if short else 5
    one_step = {data: subject.recipe("fgsm_rs") for data, subject in SUBJECTS.items()}
    yield (
        "batch",
        {
            data: _training({size: replace(one_step[data], batch_size=size) for size in sizes}, device, rounds)
            for data, sizes in BATCHES.items()
        },
    )
    by_width = {w: replace(SUBJECTS["cifar10"].recipe("fgsm_rs", width=w), batch_size=32) for w in WIDTHS}
    yield "width", {"cifar10": _training(by_width, device, rounds)}
    yield "steps", {data: _training(_by_steps(data), device, rounds) for data in SUBJECTS}
    yield "examples", {data: _evaluation(data, EXAMPLES[data], device, rounds, short, folder) for data in SUBJECTS}


def _by_steps(data: str) -> dict[float, Recipe]:
    """PGD training by the number of its steps."""
    many = replace(SUBJECTS[data].recipe("pgd_at"), batch_size=256 if data == "mnist" else 32)
    inner = many.method.inner
    return {k: replace(many, method=replace(many.method, inner=replace(inner, steps=k))) for k in STEPS}


def _points(values: Mapping[str, Sequence[float]]) -> dict[float, tuple[float, float, float]]:
    spreads = {float(x): Spread.of(times) for x, times in values.items()}
    return {x: (spread.median, spread.low, spread.high) for x, spread in spreads.items()}


def draw(found: Record, path: Path) -> None:
    """One chart an axis, both scales logarithmic: a straight line is a power."""
    charts = []
    for axis, (title, _) in AXES.items():
        lines = {
            data: {x: tuple(1e-3 * value for value in spread) for x, spread in _points(values).items()}
            for data, values in found.get(axis, {}).items()
        }
        if lines:
            charts.append(line_chart(title, title.rpartition(": ")[2], "milliseconds an example", lines))
    sheet(charts, path)


def report(found: Record) -> list[str]:
    """The exponents: how the time grows from each axis's beginning to its end."""
    rows = []
    for axis, (title, expected) in AXES.items():
        for data, values in found.get(axis, {}).items():
            points = _points(values)
            shown = ", ".join(f"{x:g}: {points[x][0]:.0f}" for x in points)
            rows.append([title, data, shown, expected])
    return table(["what grows", "on", "microseconds an example", "expected"], rows)
