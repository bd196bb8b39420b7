"""Where the time went, on the page: in training by stages, in attacks inside and outside the model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from holdfast import report
from holdfast.results import History, Passes

Quoted = Callable[..., list[tuple[dict[str, str], str]]]


def test_stages_of_training_are_shares_of_their_sum(make_evaluation: Any, make_history: Any, quoted: Quoted) -> None:
    seconds = {"data": [1.0, 1.5, 0.5], "search": [np.nan, 4.0, 3.0]}
    stages = {f"{stage}_seconds": np.array(values) for stage, values in seconds.items()}
    logs = {
        "runs/pgd_at-s0": History(np.arange(3), {"loss": np.ones(3), **stages}),
        "runs/other": make_history(1),
        "runs/old": History(np.arange(2), {"loss": np.ones(2), "validation_seconds": np.ones(2)}),
    }
    html = report.render([make_evaluation(gallery=0)], logs)
    shown = {(a["data-model"], a["data-stage"]): (float(a["value"]), text) for a, text in quoted(html, "stage")}
    assert [label for label, _ in shown] == ["pgd_at"] * 2 + ["runs/other"] * 6
    assert shown["pgd_at", "data"] == (0.3, "30.0")
    assert shown["pgd_at", "search"] == (0.7, "70.0")
    assert sum(value for (label, _), (value, _) in shown.items() if label == "runs/other") == pytest.approx(1.0)
    assert "Where the time of a step goes" not in report.render([], {"runs/old": logs["runs/old"]})


def test_cost_of_the_attacks(make_evaluation: Any, quoted: Quoted) -> None:
    passes = {"apgd-ce": Passes(6400, 0, 50, 8.0, 6.0), "square": Passes(900, 0)}
    html = report.render([replace(make_evaluation(gallery=0), passes=passes)], {})
    for quantity, wanted in {"model_share": ("0.75", "75.0"), "rows_per_call": ("128.0", "128")}.items():
        assert [(a["data-attack"], a["value"], text) for a, text in quoted(html, quantity)] == [("apgd-ce", *wanted)]
    assert '<td class="n">8.0\N{NO-BREAK SPACE}s</td>' in html
    assert "What the attacks cost" not in report.render([replace(make_evaluation(gallery=0), passes={})], {})
