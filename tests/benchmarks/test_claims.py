"""The verdicts on claims follow from the numbers, and the page holds what it says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.claims import cifar10, mnist, mnist_fresh
from benchmarks.claims.claim import QUARTER, Claim, judge
from benchmarks.claims.page import page

from holdfast.comparison.tunables import tunables
from holdfast.results import Cell, Comparison, Data, Entrant, Evaluation, Outcome, Protocol, Threat, Verdicts


def verdicts(robust: float, clean: float, seed: int, n: int = 1000) -> Verdicts:
    """Of two attacks: the second breaks a tenth of what falls; hard examples are hard for every seed."""
    rng = np.random.default_rng(seed)
    order = (np.random.default_rng(9).random(n) + 0.02 * rng.normal(size=n)).argsort().argsort() / n
    label = np.zeros(n, dtype=int)
    wrong, stands = order >= clean, order < robust
    second = ~wrong & ~stands & (np.arange(n) % 10 == 0)
    first = ~wrong & ~stands & ~second
    outcome = np.full((n, 2), Outcome.SURVIVED, dtype="<U13")
    outcome[wrong], outcome[first] = Outcome.MISCLASSIFIED, [Outcome.BROKEN, Outcome.SPARED]
    outcome[second, 1] = Outcome.BROKEN
    broken = outcome == Outcome.BROKEN
    return Verdicts(
        ("apgd-ce", "square"), np.arange(n), label, wrong.astype(int), outcome,
        np.where(broken, 1, -1), np.where(broken, 0.3, np.nan), np.ones((n, 2), dtype=int),
    )  # fmt: skip


def entrant(label: str, robust: float, clean: float = 0.98, seeds: int = 3) -> Entrant:
    cells = []
    for seed in range(seeds):
        evaluation = Evaluation(
            label,
            None,
            Data("mnist", "test", 10_000, "f", ("0", "1")),
            Threat("Linf", 0.3, "0.3"),
            Protocol("autoattack", "1"),
            {"apgd-ce": "", "square": ""},
            0,
            verdicts(robust + 0.004 * seed, clean, seed),
        )
        cells.append(Cell(seed, "finished", f"nowhere/{label}-s{seed}", evaluation))
    return Entrant(label, (), "", 1.0, (), 4.0, 2.0, 3.5, tuple(cells), (("optimizer.lr", "0.002"),), 3)


SHARED = tuple({"model": "WongCNN", "optimizer": "Adam", "schedule": "OneCycle", "batch_size": "128"}.items())
SHARED += (("precision", "bfloat16"), ("eps_warmup", "0.3"))


def comparison(*entrants: Entrant) -> Comparison:
    return Comparison("mnist", "45 s", "cpu", SHARED, "autoattack@1", entrants, 0.005)


@pytest.mark.parametrize(
    ("robust", "kind", "verdict"),
    [
        ((0.85, 0.75), "higher", "met"),
        ((0.75, 0.85), "higher", "not met"),
        ((0.806, 0.80), "higher", "not decidable here"),
        ((0.80, 0.80), "higher", "not met"),
        ((0.85, 0.75), "comparable", "met"),
        ((0.75, 0.85), "comparable", "not met"),
        ((0.79, 0.812), "comparable", "not decidable here"),
    ],
)
def test_a_verdict_follows_from_the_numbers(robust: tuple[float, float], kind: str, verdict: str) -> None:
    claim = Claim("ours", "A beats B", "A", "B", kind)  # type: ignore[arg-type]
    (judged,) = judge([claim], comparison(entrant("A", robust[0]), entrant("B", robust[1])))
    assert judged.verdict == verdict, judged


def test_one_seed_decides_nothing_and_what_is_missing_is_not_judged() -> None:
    claims = [Claim("", "", "A", "B"), Claim("", "", "A", "C")]
    judged = judge(claims, comparison(entrant("A", 0.9, seeds=1), entrant("B", 0.5, seeds=1)))
    assert [one.verdict for one in judged] == ["not decidable here (one seed)", "not run"]


def test_half_a_point_of_clean_accuracy_is_no_little_thing() -> None:
    both = [Claim("", "", "A", "B", "comparable", of) for of in ("clean", "robust")]  # type: ignore[arg-type]
    clean, robust = judge(both, comparison(entrant("A", 0.80, clean=0.97), entrant("B", 0.80, clean=0.98)))
    assert (clean.verdict, robust.verdict) == ("not met", "met")


def test_where_nothing_stands_nothing_is_decided() -> None:
    (judged,) = judge([Claim("", "", "A", "B")], comparison(entrant("A", -0.1), entrant("B", -0.1)))
    assert judged.verdict == "not decidable here (nothing stands)"


def test_runs_that_ended_early_can_be_left_out() -> None:
    better, other = entrant("A", 0.6), entrant("B", 0.5)
    fallen = replace(entrant("B", 0.0).cells[0], outcome="collapse")
    other = replace(other, cells=(*other.cells[:2], fallen))
    whole, rest = judge([Claim("", "", "A", "B"), Claim("", "", "A", "B", but="collapse")], comparison(better, other))
    assert (whole.seeds, rest.seeds) == ((3, 3), (3, 2))
    assert (whole.verdict, rest.verdict) == ("not decidable here", "met")


def test_what_withstands_a_quarter_of_eps_is_read_from_beside_the_runs(tmp_path: Path) -> None:
    def beside(label: str, share: float) -> Entrant:
        one, cells = entrant(label, 0.0), []
        for cell in one.cells:
            run = tmp_path / f"{label}-{cell.seed}"
            run.mkdir()
            (run / QUARTER).write_text(json.dumps([k < 1000 * share + cell.seed for k in range(1000)]))
            cells.append(replace(cell, run=str(run)))
        return replace(one, cells=tuple(cells))

    found = comparison(beside("SPROUT", 0.8), beside("natural", 0.4))
    (judged,) = judge([Claim("", "", "SPROUT", "natural", of="quarter")], found)
    assert judged.verdict == "met"
    assert judged.values == pytest.approx((0.801, 0.401))
    text = page(mnist.SETTING, found, tmp_path, "command", "picture.svg")
    assert "SPROUT 80.1 ± 0.1 (3 seeds), natural 40.1 ± 0.1 (3 seeds)." in text


def test_what_a_weak_attack_misses_can_be_claimed() -> None:
    claims = [Claim("", "", "A", "B", "higher", of) for of in ("hidden", "clean")]  # type: ignore[arg-type]
    hidden, clean = judge(claims, comparison(entrant("A", 0.4, clean=0.9), entrant("B", 0.8)))
    assert hidden.found is not None
    assert hidden.found.difference == pytest.approx(0.05 - 0.018, abs=0.005)
    assert (hidden.verdict, clean.verdict) == ("met", "not met")


def test_the_page_tells_what_was_measured_and_what_was_not(tmp_path: Path) -> None:
    found = comparison(entrant("one-step ATLAS", 0.85), entrant("one-step ADV", 0.75), entrant("natural", 0.0, seeds=1))
    text = " ".join(page(mnist.SETTING, found, tmp_path, "command", "picture.svg").split())
    atlas = found.entrants[0]
    assert atlas.robust is not None
    assert f"| one-step ATLAS | 3 | 98.0 ± 0.0 | {100 * atlas.robust.mean:.1f} ± 0.4 |" in text
    assert "| 3 and 3 | **met** |" in text
    assert "Not run: one-step ATLAS, clean pass, one-step ADV, longer, PGD-3 ADV" in text
    assert "on test images 0 to 999, counted from 0." in text
    assert "Fewer than 3 seeds: natural." in text
    assert text.count("| not run |") == len(mnist.CLAIMS) - 3


def test_where_most_have_fewer_seeds_the_others_are_named(tmp_path: Path) -> None:
    setting = replace(mnist.SETTING, seeds=(0, 1, 2))
    found = comparison(entrant("A", 0.8), entrant("B", 0.7, seeds=2), entrant("C", 0.6, seeds=2))
    assert "3 seeds so far: A. The others have fewer." in page(setting, found, tmp_path, "command", "picture.svg")


def test_one_seed_decides_nothing_against_several() -> None:
    (judged,) = judge([Claim("", "", "A", "B")], comparison(entrant("A", 0.9), entrant("B", 0.5, seeds=1)))
    assert judged.verdict == "not decidable here (one seed)"


def test_the_fresh_page_names_other_test_images(tmp_path: Path) -> None:
    assert len(mnist_fresh.MAIN) == 16
    text = " ".join(page(mnist_fresh.SETTING, comparison(), tmp_path, "command", "picture.svg").split())
    assert "on test images 1,000 to 1,999, counted from 0." in text
    assert "Nothing met these test images before" in text


@pytest.mark.parametrize("setting", [mnist.SETTING, mnist_fresh.SETTING, cifar10.SETTING])
def test_every_claim_is_about_methods_that_take_part(setting: mnist.Setting) -> None:
    labels = [contender.label for contender in (*setting.main, *setting.others)]
    assert len(set(labels)) == len(labels)
    assert {label for claim in setting.claims for label in (claim.first, claim.second)} <= set(labels)
    for contender in (*setting.main, *setting.others):
        assert "optimizer.lr" in tunables(contender.put_into(setting.base()))
