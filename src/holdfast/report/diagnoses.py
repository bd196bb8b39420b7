"""What the page shows of diagnostics: each under its model's name and colour, side by side where they can be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import isfinite
from pathlib import PurePath

from holdfast.report.charts import Axis, Chart, Series
from holdfast.report.curves import paint
from holdfast.report.models import Model
from holdfast.results import Diagnostics, Rate, Shifts

NORMS = (("l1", "L1"), ("l2", "L2"))


@dataclass(frozen=True)
class Diagnosed:
    """Diagnostics on the page: `label` is unique there, `paint` are the classes of the model's colour."""

    label: str
    paint: str
    of: Diagnostics


@dataclass(frozen=True)
class Strip:
    """Accuracy under one kind of change, level by level; `lost` is how much less that is than without the change."""

    mean: float
    levels: tuple[tuple[str, Rate, float], ...]


@dataclass(frozen=True)
class ShiftTable:
    """Accuracy under changes: rows are kinds, columns the models; None where a model was not asked."""

    key: str
    title: str
    columns: tuple[tuple[Diagnosed, Shifts], ...]
    rows: tuple[tuple[str, tuple[Strip | None, ...]], ...]
    skipped: tuple[tuple[str, str], ...]


def name_diagnostics(diagnostics: Mapping[str, Diagnostics], models: Sequence[Model]) -> tuple[Diagnosed, ...]:
    """Call each by the model that was evaluated in the same run, or in the run above its folder."""
    free = count(1 + max((model.colour for model in models), default=-1))
    labels, paints = [], []
    for key, found in diagnostics.items():
        owners = [m for m in models if m.evaluation.run and PurePath(key).is_relative_to(m.evaluation.run)]
        label = owners[0].label if len(owners) == 1 else found.model
        whole = not owners or PurePath(key) == PurePath(owners[0].evaluation.run or "")
        labels.append(label if whole else f"{label}, {PurePath(key).name}")
        paints.append(paint(owners[0].colour, owners[0].dash) if owners else paint(next(free)))
    times = Counter(labels)
    return tuple(
        Diagnosed(label if times[label] == 1 else f"{label} ({key})", colour, found)
        for label, colour, (key, found) in zip(labels, paints, diagnostics.items(), strict=True)
    )


def layer_charts(diagnosed: Sequence[Diagnosed]) -> tuple[Chart, ...]:
    """Distance of clean and adversarial features over the layers, a chart for each norm and each set of layers."""
    seen = dict.fromkeys(one.of.divergence.layers for one in diagnosed if one.of.divergence is not None)
    return tuple(
        chart
        for position, layers in enumerate(seen)
        for norm, name in NORMS
        if (chart := _layer_chart(position, layers, norm, name, diagnosed)).series
    )


def _layer_chart(position: int, layers: tuple[str, ...], norm: str, name: str, shown: Sequence[Diagnosed]) -> Chart:
    series = []
    for one in shown:
        if one.of.divergence is not None and one.of.divergence.layers == layers:
            moved = tuple(getattr(one.of.divergence, norm).tolist())
            if any(map(isfinite, moved)):
                series.append(Series(one.label, one.paint, tuple(map(float, range(len(layers)))), moved))
    highest = max((value for s in series for value in s.y if isfinite(value)), default=1.0)
    return Chart(
        key=f"divergence-{norm}-{position}",
        title=f"How far the adversary moves the features, {name}",
        x=Axis("layer, from the input on", 0.0, max(1.0, len(layers) - 1.0), names=layers),
        y=Axis("distance / size of the clean features", 0.0, 1.05 * highest or 1.0),
        series=tuple(series),
    )


def shift_tables(diagnosed: Sequence[Diagnosed]) -> tuple[ShiftTable, ...]:
    """Invariance and corruptions, each where some model was asked."""
    titles = {"invariance": "Harmless changes", "corruptions": "Common corruptions"}
    asked = {key: [(one, getattr(one.of, key)) for one in diagnosed if getattr(one.of, key)] for key in titles}
    return tuple(_shift_table(key, titles[key], columns) for key, columns in asked.items() if columns)


def _shift_table(key: str, title: str, columns: Sequence[tuple[Diagnosed, Shifts]]) -> ShiftTable:
    kinds = dict.fromkeys(kind for _, shifts in columns for kind in shifts.kinds)
    skipped = {kind: reason for _, shifts in columns for kind, reason in shifts.skipped.items() if kind not in kinds}
    return ShiftTable(
        key,
        title,
        tuple(columns),
        tuple((kind, tuple(_strip(kind, shifts) for _, shifts in columns)) for kind in kinds),
        tuple(skipped.items()),
    )


def _strip(kind: str, shifts: Shifts) -> Strip | None:
    levels, clean = shifts.of(kind), shifts.clean_accuracy.value
    if not levels:
        return None
    mean = sum(rate.value for rate in levels.values()) / len(levels)
    return Strip(mean, tuple((level, rate, max(0.0, clean - rate.value)) for level, rate in levels.items()))
