from dataclasses import replace
from xml.etree import ElementTree as xml

import numpy as np
import pytest

from holdfast.report.charts import Axis, Chart, Scale, Series, nice_step
from holdfast.report.curves import paint, strength_charts, training_charts
from holdfast.report.models import name_models

EPS = Axis("eps, in units of 1/255", 0.0, 32 / 255, 1 / 255)
ACCURACY = Axis("robust accuracy, %", 0.0, 1.0, 0.01)


def chart(**changes: object) -> Chart:
    series = Series("a", "c0 d0", (0.0, 16 / 255, 32 / 255), (1.0, 0.5, 0.0), (0.9, 0.4, 0.0), (1.0, 0.6, 0.1))
    return Chart(**{"key": "eps", "title": "T", "x": EPS, "y": ACCURACY, "series": (series,), **changes})  # type: ignore[arg-type]


def test_ticks_are_round_and_inside() -> None:
    assert [EPS.text(value) for value in EPS.ticks()] == ["0", "5", "10", "15", "20", "25", "30"]
    assert [ACCURACY.text(value) for value in ACCURACY.ticks()] == ["0", "20", "40", "60", "80", "100"]
    assert Axis("steps", 1, 100, scale=Scale.LOGARITHMIC).ticks() == [1, 2, 5, 10, 20, 50, 100]
    assert Axis("queries", 10, 5000, scale=Scale.LOGARITHMIC).ticks() == [10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    root = Axis("eps", 0.0, 127.5 / 255, 1 / 255, Scale.ROOT)
    assert [root.text(value) for value in root.ticks()] == ["0", "1", "4", "8", "16", "32", "64"]
    assert root.place(127.5 / 255 / 4) == pytest.approx(0.5)
    assert Axis("queries", 1, 5000, scale=Scale.LOGARITHMIC).ticks() == [1, 10, 100, 1000]


@pytest.mark.parametrize("span", [0.003, 0.7, 1.0, 7, 30, 1234])
def test_steps_divide_into_a_few(span: float) -> None:
    assert 3 <= span / nice_step(span) <= 8


def test_points_lie_where_their_values_say() -> None:
    svg = xml.fromstring(chart().svg())
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in svg.iter("circle")]
    (x0, top), (x1, middle), (x2, bottom) = dots
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    assert middle == pytest.approx((top + bottom) / 2, abs=0.1)
    titles = [dot.findtext("title") for dot in svg.iter("circle")]
    assert titles[1] == "a: 50 at eps, in units of 1/255 16"
    base = next(line for line in svg.iter("line") if line.get("class") == "base")
    assert float(base.get("y1", "")) == pytest.approx(bottom)


def test_the_mark_stands_at_its_value() -> None:
    svg = xml.fromstring(chart(mark=(16 / 255, "eps 16/255")).svg())
    mark = next(line for line in svg.iter("line") if line.get("class") == "mark")
    dots = list(svg.iter("circle"))
    assert mark.get("x1") == dots[1].get("cx")
    outside = xml.fromstring(chart(mark=(0.5, "eps 0.5")).svg())
    assert not [line for line in outside.iter("line") if line.get("class") == "mark"]


def test_a_missing_value_breaks_the_line() -> None:
    series = Series("a", "c0", (0.0, 0.01, 0.02, 0.03, 0.04), (1.0, 0.9, float("nan"), 0.5, 0.4))
    svg = xml.fromstring(chart(series=(series,)).svg())
    path = next(svg.iter("path")).get("d", "")
    assert (path.count("M"), path.count("L")) == (2, 2)
    assert len(chart(series=(series,)).numbers) == 4


def test_a_chart_tells_its_ends_to_those_who_cannot_see_it() -> None:
    label = xml.fromstring(chart().svg()).get("aria-label", "")
    assert "a: 100 at 0, 0 at 32" in label


def test_colours_return_with_another_dash() -> None:
    assert len({paint(i) for i in range(32)}) == 32
    assert paint(1) == "c1 d0"
    assert paint(9) == "c1 d1"


def test_models_share_a_chart_and_attacks_of_one_model_are_told_apart(make_evaluation) -> None:  # type: ignore[no-untyped-def]
    models = name_models([make_evaluation("a", gallery=0), make_evaluation("b", gallery=0)])
    eps, steps = strength_charts(models)
    assert [series.label for series in eps.series] == ["a", "b"]
    assert eps.mark == (8 / 255, "eps 8/255")
    assert (eps.x.unit, eps.x.scale, steps.x.scale, steps.mark) == (1 / 255, Scale.LINEAR, Scale.LOGARITHMIC, None)
    evaluation = make_evaluation("a", gallery=0)
    curve = evaluation.curves[0]
    far = replace(evaluation, curves=(replace(curve, x=(*curve.x[:-1], 0.5)),))
    assert strength_charts(name_models([far]))[0].x.scale is Scale.ROOT
    twice = replace(evaluation, curves=(curve, replace(curve, attack="square")))
    (one,) = strength_charts(name_models([twice]))
    assert [series.label for series in one.series] == ["a, apgd-ce", "a, square"]
    assert len({series.paint for series in one.series}) == 2


def test_training_over_epochs_and_seconds(make_evaluation, make_history) -> None:  # type: ignore[no-untyped-def]
    models = name_models([make_evaluation("a", gallery=0), make_evaluation("b", gallery=0)])
    histories = {"runs/b-s0": make_history(30, pace=600), "runs/c": make_history(30)}
    epochs, seconds = training_charts(histories, models)
    assert [c.title for c in epochs.charts] == [
        "Training loss",
        "Robust accuracy, held out",
        "Accuracy while training: b",
        "Accuracy while training: runs/c",
    ]
    assert [s.paint for s in epochs.charts[0].series] == [paint(1), paint(2)]
    assert (seconds.charts[0].x.label, seconds.charts[0].x.unit) == ("hours", 3600.0)
    bare = make_history(3)
    del bare.columns["seconds"]
    assert [t.over for t in training_charts({"x": bare}, [])] == ["epochs"]
    np.testing.assert_array_equal(bare["seconds"], [np.nan] * 3)
