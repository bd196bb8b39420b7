"""Diagnostics on the page: every number is the saved one, and stands beside the right model."""

import re
from collections.abc import Callable
from dataclasses import replace
from math import isnan, sqrt
from pathlib import Path

import numpy as np
import pytest

from holdfast import report
from holdfast.report import heat
from holdfast.report.charts import Axis
from holdfast.report.diagnoses import layer_charts, name_diagnostics
from holdfast.report.models import name_models
from holdfast.results import Diagnostics, Evaluation, Surface

Found = list[tuple[dict[str, str], str]]
Quoted = Callable[..., Found]


def values(found: Found) -> list[float]:
    return [float(attributes["value"]) for attributes, _ in found]


@pytest.fixture(scope="module")
def saved(
    make_diagnostics: Callable[..., Diagnostics],
    three_models: tuple[Evaluation, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, dict[str, Diagnostics]]:
    """The page about three evaluated models, two of them diagnosed, from files; the diagnostics by label."""
    folder, found = tmp_path_factory.mktemp("diagnostics"), {}
    for evaluation in three_models[:2]:
        make_diagnostics(evaluation.model, evaluation.seed).save(folder / evaluation.model)
        found[evaluation.model] = Diagnostics.load(folder / evaluation.model)
    by_run = {one.run: one for one in found.values() if one.run}
    return report.render(three_models, {}, diagnostics=by_run, cards=0), found


def test_linearity_and_gradients_are_the_saved_ones(saved: tuple[str, dict[str, Diagnostics]], quoted: Quoted) -> None:
    html, found = saved
    for label, one in found.items():
        assert one.linearity is not None
        assert one.alignment is not None
        gap, cosine = np.asarray(one.linearity.gamma), np.asarray(one.alignment.adversarial)
        expected = {
            "gamma_mean": gap.mean(),
            "gamma_p95": np.quantile(gap, 0.95),
            "cosine_uniform": one.alignment.uniform.mean(),
            "cosine_adversarial": np.nanmean(cosine),
        }
        for quantity, value in expected.items():
            [(attributes, text)] = quoted(html, quantity, model=label)
            assert float(attributes["value"]) == pytest.approx(value)
            assert float(text.replace("\N{MINUS SIGN}", "-")) == pytest.approx(value, rel=0.006)
        assert [text for _, text in quoted(html, "vanished", model=label)] == ["1"]


def test_surfaces_are_the_saved_ones(saved: tuple[str, dict[str, Diagnostics]], quoted: Quoted) -> None:
    html, found = saved
    for label, one in found.items():
        assert one.surface is not None
        for position in (0, 1):
            [table] = re.findall(rf'<tbody data-surface="{label}" data-example="{position}">(.*?)</tbody>', html, re.S)
            shown = quoted(table, "surface")
            np.testing.assert_array_equal(values(shown), one.surface.loss[position].ravel())
            text = [f"{loss:.2f}" if loss >= 0.005 else "–" for loss in one.surface.loss[position].ravel()]
            assert [shown_text.replace("&lt;0.01", "–") for _, shown_text in shown] == text
        right = (one.surface.prediction == one.surface.label[:, None, None]).mean(axis=(1, 2))
        assert values(quoted(html, "right_share", model=label)) == pytest.approx(right.tolist())


def test_layers_and_classes_are_the_saved_ones(saved: tuple[str, dict[str, Diagnostics]], quoted: Quoted) -> None:
    html, found = saved
    for label, one in found.items():
        assert one.divergence is not None
        assert values(quoted(html, "curve", chart="divergence-l1-0", series=label)) == one.divergence.l1.tolist()
        assert values(quoted(html, "curve", chart="divergence-l2-0", series=label)) == [0.1, 0.3]
        ratios = values(quoted(html, "compactness", model=label))
        assert ratios[0] == 0.4
        assert isnan(ratios[1])


def test_shifts_are_the_saved_ones(saved: tuple[str, dict[str, Diagnostics]], quoted: Quoted) -> None:
    html, found = saved
    for label, one in found.items():
        assert one.invariance is not None
        shown = quoted(html, "invariance", model=label)
        assert values(shown) == [shift.correct / 20 for shift in one.invariance.shifts]
        assert [text for _, text in shown] == [str(5 * shift.correct) for shift in one.invariance.shifts]
        assert values(quoted(html, "invariance_kind", model=label, kind="rotation")) == pytest.approx([51 / 60])
        assert values(quoted(html, "invariance_mean", model=label)) == pytest.approx([one.invariance.mean])
        assert values(quoted(html, "invariance_clean", model=label)) == [0.9]
        assert values(quoted(html, "corruptions", model=label)) == [0.95]
    assert "hue (no colour)" in html


def test_only_what_was_measured_is_shown(
    three_models: tuple[Evaluation, ...], make_diagnostics: Callable[..., Diagnostics], tmp_path: Path
) -> None:
    assert "Under the surface" not in report.render(three_models, {}, cards=0)
    parts = ("surface", "linearity", "alignment", "divergence", "compactness", "invariance", "corruptions")
    headings = {"surface": "The loss around an image", "linearity": "How far one gradient", "invariance": "Harmless"}
    for part, heading in headings.items():
        bare = replace(make_diagnostics(), **{name: None for name in parts if name != part})
        html = report.write([], {}, tmp_path / "page.html", diagnostics={"elsewhere": bare}).read_text()
        assert [text for text in headings.values() if text in html] == [heading]
        assert "Diagnostics only; no evaluation was given." in html


def test_diagnostics_go_by_their_model(
    three_models: tuple[Evaluation, ...], make_diagnostics: Callable[..., Diagnostics]
) -> None:
    one, run = make_diagnostics("other"), three_models[1].run
    keys = [f"{run}", f"{run}/diagnostics/Linf-0.1", "a", "b"]
    named = name_diagnostics(dict.fromkeys(keys, one), name_models(three_models))
    assert [d.label for d in named] == ["trades", "trades, Linf-0.1", "other (a)", "other (b)"]
    assert [d.paint for d in named] == ["c1 d0", "c1 d0", "c3 d0", "c4 d0"]


def test_models_of_other_layers_have_a_chart_of_their_own(make_diagnostics: Callable[..., Diagnostics]) -> None:
    one = make_diagnostics("one")
    assert one.divergence is not None
    other = replace(one, model="other", divergence=replace(one.divergence, layers=("input", "a", "b")))
    charts = layer_charts(name_diagnostics({"one": one, "other": other}, ()))
    assert [(c.key, [s.label for s in c.series]) for c in charts] == [
        (f"divergence-{norm}-{i}", [label]) for i, label in enumerate(("one", "other")) for norm in ("l1", "l2")
    ]


def test_names_on_an_axis_do_not_touch() -> None:
    axis = Axis("layer", 0.0, 19.0, names=tuple(f"layer{i}.conv" for i in range(20)))
    ticks = axis.ticks()
    assert 2 < len(ticks) < 8
    assert axis.text(ticks[1]) == f"layer{ticks[1]:.0f}.conv"
    assert Axis("layer", 0.0, 2.0, names=("a", "b", "c")).ticks() == [0, 1, 2]


def test_a_ramp_has_straight_lines_of_equal_loss() -> None:
    """On loss = 1 + the adversarial offset in eps, the line of loss 1 is level and goes through the middle."""
    offsets = np.linspace(-1, 1, 5)
    ramp = np.tile(1 + offsets[:, None], (1, 5))
    half = np.where(offsets > 0.4, 1, 0) + np.zeros((5, 1), dtype=int)
    surface = Surface([7], [0], offsets, ramp[None], half[None], "PGD")
    svg = heat.draw(surface, 0, heat.loss_scale([surface]), ("<b>", "&c"))
    middle = heat.TOP + heat.SIDE / 2
    assert f"L{heat.LEFT + 0.3 * heat.SIDE:.1f} {middle:.1f}" in svg.replace("M", "L")
    # Two of the five columns are the other class: one border of five cells, at 60 % of the width.
    [border] = re.findall(r'class="border" d="([^"]*)"', svg)
    assert border.count("M") == border.count(f"M{heat.LEFT + 0.6 * heat.SIDE:.1f} ") == 5
    assert ("&lt;b&gt;" in svg, "<b>" in svg) == (True, False)
    assert heat.right_share(surface, 0) == 0.6


def test_one_shade_is_one_loss_on_the_whole_page(make_diagnostics: Callable[..., Diagnostics]) -> None:
    calm, wild = make_diagnostics().surface, make_diagnostics(seed=1).surface
    assert calm is not None
    assert wild is not None
    wild = replace(wild, loss=4 * wild.loss)
    scale = heat.loss_scale([calm, wild])
    assert scale.high == np.nanmax([calm.loss, wild.loss])
    shades = re.findall(r"--share:([\d.]+)%", heat.draw(calm, 0, scale, ("?",) * 10))
    assert float(shades[-1]) == pytest.approx(100 * sqrt(calm.loss[0].max() / scale.high), abs=100 / heat.BANDS)
    assert heat.draw(calm, 1, scale, ("?",) * 10).count("z") == 24  # of 25 cells one has no loss
