"""Every number on the page is recomputed here from the saved table, without the code that the page is made with."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from holdfast import report
from holdfast.errors import InvalidInput
from holdfast.results import Evaluation, Finding

VOID = {"meta", "img", "input", "link", "br"}


class Page(HTMLParser):
    """The page's <data> elements with their texts, all start tags, and whether every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[tuple[dict[str, str], str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.data.append(({name: value or "" for name, value in attrs}, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] == "data":
            attrs, so_far = self.data[-1]
            self.data[-1] = (attrs, so_far + text.strip())

    def of(self, quantity: str) -> list[tuple[dict[str, str], str]]:
        return [(attrs, text) for attrs, text in self.data if attrs["data-quantity"] == quantity]


@pytest.fixture(scope="module")
def saved(three_models: tuple[Evaluation, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The three models, saved, read back, reported; and their tables as pyarrow gives them."""
    tmp_path = tmp_path_factory.mktemp("saved")
    for evaluation in three_models:
        evaluation.save(tmp_path / evaluation.model)
    loaded = [Evaluation.load(tmp_path / evaluation.model) for evaluation in three_models]
    tables = {e.model: pq.read_table(tmp_path / e.model / "verdicts.parquet").to_pydict() for e in three_models}
    return {"page": Page(report.render(loaded, {})), "tables": tables, "attacks": list(three_models[0].attacks)}


def by_example(table: dict[str, list[Any]]) -> dict[int, dict[str, Any]]:
    """Per example: label, clean prediction, and (outcome, adversarial prediction) per attack in order."""
    rows: dict[int, dict[str, Any]] = {}
    for i, example in enumerate(table["example"]):
        row = rows.setdefault(example, {"label": table["label"][i], "clean": table["prediction"][i], "attacks": []})
        row["attacks"].append((table["outcome"][i], table["adversarial_prediction"][i]))
    return rows


def right(row: dict[str, Any], attacks: int) -> bool:
    """Right on the clean input and under the first so many attacks."""
    return row["label"] == row["clean"] and all(outcome != "broken" for outcome, _ in row["attacks"][:attacks])


def check_rate(attrs: dict[str, str], text: str, count: int, n: int) -> None:
    """The element says count / n, its Wilson interval, and one decimal of the percentage."""
    z = 1.959963984540054
    centre, half = (count + z * z / 2) / (n + z * z), z * sqrt(count * (n - count) / n + z * z / 4) / (n + z * z)
    assert (int(attrs["data-count"]), int(attrs["data-n"])) == (count, n)
    assert float(attrs["value"]) == count / n
    assert (float(attrs["data-low"]), float(attrs["data-high"])) == pytest.approx((centre - half, centre + half))
    assert text == f"{100 * count / n:.1f}"


def test_headline_table_and_attacks(saved: dict[str, Any]) -> None:
    page, attacks = saved["page"], saved["attacks"]
    for model, table in saved["tables"].items():
        rows = by_example(table).values()
        wanted = {"clean_accuracy": 0, "robust_accuracy": len(attacks)}
        for quantity, depth in wanted.items():
            shown = [entry for entry in page.of(quantity) if entry[0]["data-model"] == model]
            assert len(shown) >= 1
            for attrs, text in shown:
                check_rate(attrs, text, sum(right(row, depth) for row in rows), len(rows))
        for attrs, text in page.of("cumulated"):
            if attrs["data-model"] == model:
                depth = attacks.index(attrs["data-attack"]) + 1
                check_rate(attrs, text, sum(right(row, depth) for row in rows), len(rows))
        alone = [entry for entry in page.of("alone") if entry[0]["data-model"] == model]
        assert [attrs["data-attack"] for attrs, _ in alone] == attacks[:1]
        check_rate(*alone[0], sum(row["attacks"][0][0] == "survived" for row in rows), len(rows))
    assert len(page.of("cumulated")) == 3 * len(attacks)


def test_tried_and_broke(saved: dict[str, Any]) -> None:
    page = saved["page"]
    assert len(page.of("tried")) == len(page.of("broke")) == 12
    for quantity, outcomes in {"tried": {"broken", "survived"}, "broke": {"broken"}}.items():
        for attrs, text in page.of(quantity):
            table = saved["tables"][attrs["data-model"]]
            pairs = zip(table["attack"], table["outcome"], strict=True)
            count = sum(attack == attrs["data-attack"] and outcome in outcomes for attack, outcome in pairs)
            assert (attrs["value"], text) == (str(count), f"{count:,}")


def test_differences_are_paired_with_the_leader(saved: dict[str, Any]) -> None:
    robust = {
        model: np.array([right(row, 4) for row in by_example(table).values()])
        for model, table in saved["tables"].items()
    }
    shown = saved["page"].of("difference")
    assert {attrs["data-model"] for attrs, _ in shown} == {"pgd_at", "fgsm_rs"}
    for attrs, text in shown:
        difference = float(robust[attrs["data-model"]].mean() - robust["trades"].mean())
        assert float(attrs["value"]) == pytest.approx(difference)
        assert text == f"{100 * difference:+.1f}".replace("-", "−")


def test_classes_and_confusion(saved: dict[str, Any], three_models: tuple[Evaluation, ...]) -> None:
    page, names = saved["page"], three_models[0].data.classes
    for quantity, depth in {"class_clean": 0, "class_robust": 4}.items():
        assert len(page.of(quantity)) == 3 * len(names)
        for attrs, text in page.of(quantity):
            rows = by_example(saved["tables"][attrs["data-model"]]).values()
            members = [row for row in rows if names[row["label"]] == attrs["data-class"]]
            check_rate(attrs, text, sum(right(row, depth) for row in members), len(members))
    for model, table in saved["tables"].items():
        given = Counter(
            (names[row["label"]], names[next((p for o, p in row["attacks"] if o == "broken"), row["clean"])])
            for row in by_example(table).values()
        )
        cells = [attrs for attrs, _ in page.of("confusion") if attrs["data-model"] == model]
        assert len(cells) == 100
        assert all(given[cell["data-true"], cell["data-given"]] == int(cell["value"]) for cell in cells)


def test_curves_in_figures(saved: dict[str, Any], three_models: tuple[Evaluation, ...]) -> None:
    shown = {(a["data-chart"], a["data-series"], float(a["data-x"])): (a, t) for a, t in saved["page"].of("curve")}
    wanted = {
        (curve.name, evaluation.model, x): (correct, curve.n)
        for evaluation in three_models
        for curve in evaluation.curves
        for x, correct in zip(curve.x, curve.correct, strict=True)
    }
    assert shown.keys() == wanted.keys()
    for place, (correct, n) in wanted.items():
        attrs, text = shown[place]
        assert float(attrs["value"]) == correct / n
        assert text == f"{100 * correct / n:.1f}"


def test_training_in_figures(make_evaluation: Any, make_history: Any) -> None:
    evaluation, history = make_evaluation(gallery=0), make_history(epochs=5, seed=3)
    page = Page(report.render([evaluation], {"runs/pgd_at-s0": history}))
    for over, course in {"epochs": history.epoch, "seconds": history["seconds"]}.items():
        losses = {
            float(a["data-x"]): (float(a["value"]), a["data-series"])
            for a, _ in page.of("curve")
            if a["data-chart"] == f"training-{over}-loss"
        }
        assert losses == {float(x): (y, "pgd_at") for x, y in zip(course, history["loss"], strict=True)}
        robust = [
            float(a["value"])
            for a, _ in page.of("curve")
            if a["data-chart"] == f"training-{over}-accuracy-pgd_at" and a["data-series"] == "robust, held out"
        ]
        assert robust == history["robust_accuracy"].tolist()


def test_seeds_are_summarised(make_evaluation: Any) -> None:
    evaluations = [make_evaluation("a", robust=r, seed=i, gallery=0) for i, r in enumerate((0.4, 0.5, 0.6))]
    page = Page(report.render([*evaluations, make_evaluation("b", robust=0.55, gallery=0)], {}))
    assert not page.of("difference")  # against which seed?
    for attrs, text in page.of("group_robust"):
        assert (float(attrs["value"]), float(attrs["data-std"])) == (pytest.approx(0.5), pytest.approx(0.1))
        assert text == "50.0"
    assert "of b, the highest" in report.render([*evaluations, make_evaluation("b", robust=0.55, gallery=0)], {})
    low = report.render([*evaluations, make_evaluation("b", robust=0.45, gallery=0)], {})
    assert "mean of 3 runs, standard deviation 10.0 points" in low


def test_the_page_is_well_formed_and_stands_alone(saved: dict[str, Any]) -> None:
    page: Page = saved["page"]
    assert not page.open
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")
    links = [attrs[name] or "" for _, attrs in page.tags for name in ("src", "href") if name in attrs]
    assert links
    assert all(link.startswith("data:image/png;base64,") or link[1:] in ids for link in links)
    for tag, attrs in page.tags:
        for name in ("aria-labelledby", "aria-controls"):
            assert attrs.get(name) is None or attrs[name] in ids, (tag, attrs)


def test_a_page_is_a_function_of_its_files(saved: dict[str, Any], three_models: tuple[Evaluation, ...]) -> None:
    html = report.render(three_models, {})
    assert html == report.render(three_models, {})
    assert Page(html).data == saved["page"].data


def test_names_cannot_break_the_page(make_evaluation: Any, make_history: Any, alarm: Finding) -> None:
    evil = "<script>alert(1)</script>\"'&"
    html = report.render(
        [
            make_evaluation(evil, classes=(evil, "b"), findings=(replace(alarm, title=evil),), gallery=12),
            make_evaluation("b", classes=(evil, "b"), gallery=0),
        ],
        {evil: make_history(3)},
    )
    assert "<script>alert" not in html
    assert html.count("<script>") == 1
    assert not Page(html).open


def test_findings_come_gravest_first(three_models: tuple[Evaluation, ...]) -> None:
    html = report.render(three_models, {})
    shown = [attrs["class"] for tag, attrs in Page(html).tags if tag == "article"]
    assert shown == ["finding alarm", "finding warning"]
    assert "No finding for pgd_at and trades." in html
    assert html.index("More steps still lower") < html.index("eps is 0.031")


def test_an_alarm_stands_beside_the_number_it_doubts(make_evaluation: Any, alarm: Finding) -> None:
    assert "1 alarm</a> on this number" in report.render([make_evaluation(gallery=0, findings=(alarm,))], {})
    assert "on this number" not in report.render([make_evaluation(gallery=0)], {})


def test_no_check_is_not_no_finding(make_evaluation: Any) -> None:
    html = report.render([replace(make_evaluation(gallery=0), checks=())], {})
    assert "No check was run." in html
    assert "No finding" not in html


def test_models_asked_differently_are_not_ranked(make_evaluation: Any) -> None:
    one = make_evaluation("a", gallery=0)
    other = replace(make_evaluation("b", gallery=0), threat=replace(one.threat, eps=0.031, eps_text="0.031"))
    html = report.render([one, other], {})
    assert "These models were not asked the same." in html
    assert "threat model: Linf, eps 8/255 (a); Linf, eps 0.031 (b)" in html
    assert "the highest" not in html
    assert not Page(html).of("difference")


def test_no_difference_is_said_to_be_none(make_evaluation: Any) -> None:
    close = report.render([make_evaluation("a", gallery=0), make_evaluation("b", robust=0.459, gallery=0)], {})
    assert "no difference that these examples can show" in close
    far = report.render([make_evaluation("a", gallery=0), make_evaluation("b", robust=0.3, gallery=0)], {})
    assert "The next, b, is 16.0 points behind" in re.sub(r"\s+", " ", far)
    assert "can show" not in far


def test_edges(make_evaluation: Any, make_history: Any) -> None:
    undefended = make_evaluation(robust=1 / 1000, gallery=0)
    assert Page(report.render([replace(undefended, curves=(), passes={}, run=None, command="")], {})).of("cumulated")
    single = make_evaluation(n=1, clean=1.0, robust=0.5, gallery=1)
    assert Page(report.render([single], {})).of("robust_accuracy")
    assert Page(report.render([], {"runs/a": make_history(1)})).of("curve")
    many = make_evaluation(classes=tuple(f"class {i}" for i in range(40)), gallery=0)
    listed = Page(report.render([many], {})).of("confusion")
    assert len(listed) == 20
    with pytest.raises(InvalidInput, match="nothing to report"):
        report.render([], {"runs/a": make_history(0)})


def test_writing_is_whole_or_nothing(make_evaluation: Any, tmp_path: Path) -> None:
    evaluation = make_evaluation(gallery=3)
    assert report.write([evaluation], {}, tmp_path / "new" / "report.html") == tmp_path / "new" / "report.html"
    assert (tmp_path / "new" / "report.html").read_text() == report.render([evaluation], {})
    with pytest.raises(InvalidInput):
        report.write([], {}, tmp_path / "new" / "report.html")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]
