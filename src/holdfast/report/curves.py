"""Which charts the page shows: robust accuracy along the axes of the evaluations, and the course of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import isfinite

from holdfast.report import text
from holdfast.report.charts import Axis, Chart, Scale, Series
from holdfast.report.models import Model
from holdfast.results import Curve, Evaluation, History

COLOURS, DASHES = 8, 4  # as many as the style sheet knows
QUANTITIES = (
    ("clean_accuracy", "clean, held out", "clean"),
    ("robust_accuracy", "robust, held out", "robust"),
    ("adversary_accuracy", "on the training adversary", "adversary"),
)
PERCENT = 0.01
FAR = 5  # a curve that reaches so many times eps would have no room for its beginning on a linear scale


@dataclass(frozen=True)
class Training:
    """The charts of training over one measure of its progress: "epochs" or "seconds"."""

    over: str
    charts: tuple[Chart, ...]


def paint(colour: int, dash: int = 0) -> str:
    """The classes of the style sheet for a colour and a dash; beyond eight, colours return with another dash."""
    return f"c{colour % COLOURS} d{(colour // COLOURS + dash) % DASHES}"


def strength_charts(models: Sequence[Model]) -> tuple[Chart, ...]:
    """One chart for each axis along which some model was attacked ("eps", "steps", ...)."""
    names = dict.fromkeys(curve.name for model in models for curve in model.evaluation.curves)
    return tuple(_strength_chart(name, models) for name in names)


def _strength_chart(name: str, models: Sequence[Model]) -> Chart:
    drawn = [(model, curve) for model in models for curve in model.evaluation.curves if curve.name == name]
    x = [value for _, curve in drawn for value in curve.x]
    attacks = list(dict.fromkeys(curve.attack for _, curve in drawn))
    owners = {model.index for model, _ in drawn}
    series = tuple(
        _strength_series(
            f"{model.label}, {curve.attack}" if len(owners) < len(drawn) else model.label,
            paint(attacks.index(curve.attack))
            if len(owners) == 1
            else paint(model.colour, model.dash + attacks.index(curve.attack)),
            curve,
        )
        for model, curve in drawn
    )
    threats = {model.evaluation.threat for model, _ in drawn}
    threat = threats.pop() if name == "eps" and len(threats) == 1 else None
    sizes = {curve.n for _, curve in drawn}
    return Chart(
        key=name,
        title=f"Robust accuracy against {name}",
        x=_strength_axis(drawn[0][1], min(x), max(x), [model.evaluation for model, _ in drawn]),
        y=Axis("robust accuracy, %", 0.0, 1.0, PERCENT),
        series=series,
        mark=(threat.eps, f"eps {threat.eps_text}") if threat else None,
        note=", ".join([*filter(None, attacks), *([f"{text.count(sizes.pop())} examples"] if len(sizes) == 1 else [])]),
    )


def _strength_series(label: str, colour: str, curve: Curve) -> Series:
    bounds = [rate.interval() for rate in curve.rates]
    return Series(
        label=label.removesuffix(", "),
        paint=colour,
        x=curve.x,
        y=curve.accuracy,
        low=tuple(low for low, _ in bounds),
        high=tuple(high for _, high in bounds),
    )


def _strength_axis(curve: Curve, low: float, high: float, evaluations: Sequence[Evaluation]) -> Axis:
    if curve.name == "eps":
        in_bytes = all(e.threat.eps_text.endswith("/255") for e in evaluations)
        far = high > FAR * max(e.threat.eps for e in evaluations)
        label = "eps, in units of 1/255" if in_bytes else curve.x_label
        scale = Scale.ROOT if far else Scale.LINEAR
        return Axis(label + (" (root scale)" if far else ""), 0.0, high or 1.0, 1 / 255 if in_bytes else 1.0, scale)
    if low > 0 and high / low >= 20:
        return Axis(curve.x_label, low, high, scale=Scale.LOGARITHMIC)
    return Axis(curve.x_label, min(0.0, low), high if high > low else low + 1.0)


def training_charts(histories: Mapping[str, History], models: Sequence[Model]) -> tuple[Training, ...]:
    """The charts over epochs and, where the logs have times, over seconds; nothing without epochs."""
    runs = {label: history for label, history in labelled(histories, models).items() if len(history)}
    colours = _colours(list(runs), models)
    over = ("epochs", "seconds") if all(_known(h["seconds"].tolist()) for h in runs.values()) else ("epochs",)
    return tuple(Training(name, _charts_over(name, runs, colours)) for name in over if runs)


def labelled(histories: Mapping[str, History], models: Sequence[Model]) -> dict[str, History]:
    """Call each history by the label of the model it belongs to, where its key is that model's run folder or name."""
    labels = {model.evaluation.run: model.label for model in models if model.evaluation.run}
    return {labels.get(key, key): history for key, history in histories.items()}


def _colours(labels: Sequence[str], models: Sequence[Model]) -> dict[str, str]:
    known = {model.label: paint(model.colour, model.dash) for model in models}
    free = count(1 + max((model.colour for model in models), default=-1))
    return {label: known[label] if label in known else paint(next(free)) for label in labels}


def _charts_over(over: str, runs: Mapping[str, History], colours: Mapping[str, str]) -> tuple[Chart, ...]:
    charts = [_overlay(over, "loss", "Training loss", runs, colours)]
    if len(runs) > 1:
        charts.append(_overlay(over, "robust_accuracy", "Robust accuracy, held out", runs, colours))
    for label, history in runs.items():
        series = tuple(
            Series(name, quantity, _course(history, over), tuple(history[column].tolist()))
            for column, name, quantity in QUANTITIES
            if _known(history[column].tolist())
        )
        title = f"Accuracy while training: {label}" if len(runs) > 1 else "Accuracy while training"
        charts.append(
            Chart(
                key=f"training-{over}-accuracy-{label}",
                title=title,
                x=_time_axis(over, [history]),
                y=Axis("accuracy, %", 0.0, 1.0, PERCENT),
                series=series,
            )
        )
    return tuple(chart for chart in charts if chart.series)


def _overlay(over: str, column: str, title: str, runs: Mapping[str, History], colours: Mapping[str, str]) -> Chart:
    shown = {label: history for label, history in runs.items() if _known(history[column].tolist())}
    highest = max((v for h in shown.values() for v in h[column].tolist() if isfinite(v)), default=1.0)
    accuracy = column.endswith("_accuracy")
    return Chart(
        key=f"training-{over}-{column}",
        title=title,
        x=_time_axis(over, list(shown.values()) or list(runs.values())),
        y=Axis("accuracy, %", 0.0, 1.0, PERCENT) if accuracy else Axis("loss", 0.0, highest * 1.05 or 1.0),
        series=tuple(
            Series(label, colours[label], _course(history, over), tuple(history[column].tolist()))
            for label, history in shown.items()
        ),
    )


def _course(history: History, over: str) -> tuple[float, ...]:
    return tuple((history["seconds"] if over == "seconds" else history.epoch).astype(float).tolist())


def _time_axis(over: str, histories: Sequence[History]) -> Axis:
    values = [value for history in histories for value in _course(history, over)]
    if over == "epochs":
        return Axis("epoch", min(values), max(*values, min(values) + 1.0))
    longest = max(*values, 1.0)
    long_units = ((3600.0, "hours"), (60.0, "minutes"))
    unit, name = next((scale for scale in long_units if longest > 2 * scale[0]), (1.0, "seconds"))
    return Axis(name, 0.0, longest, unit)


def _known(values: Sequence[float]) -> bool:
    return any(isfinite(value) for value in values)
