"""After the attacks: what the verdicts and curves must look like to be believed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from holdfast.attacks import APGD, APGDL1, FGSM, PGD, SPSA, Attack, Square, Transfer
from holdfast.evaluation import findings
from holdfast.evaluation.curves import Ascent, Curves
from holdfast.results import Curve, Outcome, Verdicts
from holdfast.threat import L1, L2, Linf, ThreatModel

N = 100
ATTACKS: tuple[Attack[Any], ...] = (APGD(), Square())


FOREIGN = Transfer(PGD(), torch.nn.Identity(), label="other")


def verdicts(clean: int = 95, first: int = 40, second: int = 0, attacks: tuple[Attack[Any], ...] = ATTACKS) -> Verdicts:
    """`clean` of N examples are right; one attack breaks `first` of them, the next `second` of the others."""
    outcome = np.full((N, 2), Outcome.SURVIVED, dtype="U13")
    outcome[:first, 0], outcome[:first, 1] = Outcome.BROKEN, Outcome.SPARED
    outcome[first : first + second, 1] = Outcome.BROKEN
    outcome[clean:] = Outcome.MISCLASSIFIED
    broken = outcome == Outcome.BROKEN
    prediction = np.where(np.arange(N) < clean, 0, 1)
    names = tuple(attack.name for attack in attacks)
    distance = np.where(broken, 0.1, np.nan)
    steps = np.zeros((N, 2), dtype=np.int64)
    return Verdicts(names, np.arange(N), np.zeros(N), prediction, outcome, np.where(broken, 1, -1), distance, steps)


def curves(eps: tuple[int, ...] = (95, 55, 5), steps: tuple[int, ...] = (70, 56, 55), fgsm: int = 70) -> Curves:
    return Curves(
        Curve("eps", "eps", (0.0, 0.3, 0.5), eps, N, "pgd-20"),
        Ascent(Curve("steps", "steps", (1.0, 20.0, 100.0), steps, N, "pgd-100"), fgsm),
    )


def kinds(found: Verdicts, drawn: Curves | None, threat: ThreatModel, recorded: float | None = None) -> list[str]:
    told = findings.after(found, ATTACKS, drawn, threat, 10, recorded)
    assert all(finding.evidence and finding.advice for finding in told)
    return [finding.kind for finding in told]


def test_a_sound_evaluation_raises_nothing() -> None:
    assert kinds(verdicts(), curves(), Linf(0.3), 0.96) == []
    assert kinds(verdicts(second=1), None, Linf(0.3)) == []


@pytest.mark.parametrize(
    ("found", "drawn", "recorded", "kind"),
    [
        (verdicts(first=38, second=5), curves(), None, "gradient_free_beats_gradients"),
        (verdicts(clean=80, first=25), curves(), 0.99, "clean_below_record"),
        (verdicts(), curves(eps=(95, 80, 70)), None, "robust_at_large_eps"),
        (verdicts(), curves(steps=(70, 60, 55)), None, "more_steps_help"),
        (verdicts(first=92), curves(steps=(50, 5, 4), fgsm=90), None, "catastrophic_overfitting"),
        (verdicts(first=60), curves(), None, "pgd_is_fooled"),
    ],
)
def test_each_doubt_is_told(found: Verdicts, drawn: Curves, recorded: float | None, kind: str) -> None:
    assert kinds(found, drawn, Linf(0.3), recorded) == [kind]


def test_a_large_radius_means_nothing_in_other_norms() -> None:
    assert kinds(verdicts(), curves(eps=(95, 80, 70)), L2(0.5)) == []


@pytest.mark.parametrize(
    ("attacks", "kind"),
    [
        ((APGD(), Square()), "gradient_free_beats_gradients"),
        ((APGD(), SPSA()), "gradient_free_beats_gradients"),
        ((APGD(), FOREIGN), "transfer_beats_gradients"),
        ((Square(), APGD()), None),
        ((FOREIGN, APGD()), None),
        ((Square(), FOREIGN), None),
    ],
    ids=lambda value: str(value),
)
def test_what_needs_no_gradients_is_evidence_after_all_that_do(
    attacks: tuple[Attack[Any], ...], kind: str | None
) -> None:
    for second, expected in ((5, kind), (1, None)):
        found = verdicts(first=40, second=second, attacks=attacks)
        told = [finding.kind for finding in findings.after(found, attacks, None, Linf(0.3), 10, None)]
        assert told == [expected] * (expected is not None)


@pytest.mark.parametrize(("steps", "expected"), [(40, []), (41, ["more_restarts_help"])])
def test_a_last_restart_that_still_breaks_is_told(steps: int, expected: list[str]) -> None:
    """Of 3 restarts of 20 steps the last begins after 40."""
    attacks = (PGD(20, restarts=3), Square())
    found = verdicts(first=40, attacks=attacks)
    found = replace(found, steps=np.where(found.outcome == Outcome.BROKEN, steps, 60))
    assert [finding.kind for finding in findings.after(found, attacks, None, Linf(0.3), 10, None)] == expected
    assert "the last restarts find little" in findings.checks(attacks, None, Linf(0.3), None)


def test_pgd_alone_is_no_test_in_l1() -> None:
    def told(threat: ThreatModel, *attacks: Attack[Any]) -> list[str]:
        return [finding.kind for finding in findings.after(verdicts(), attacks, None, threat, 10, None)]

    assert told(L1(12), FGSM(), PGD()) == ["weak_in_l1"]
    assert told(L1(12), FGSM(), APGDL1()) == told(L1(12), Square(), SPSA()) == told(L2(1), FGSM(), PGD()) == []


def test_only_checks_that_were_made_are_told() -> None:
    def count(attacks: tuple[Attack[Any], ...], drawn: Curves | None, threat: ThreatModel, record: float | None) -> int:
        return len(findings.checks(attacks, drawn, threat, record))

    assert count(ATTACKS[:1], None, Linf(0.3), None) == count(ATTACKS[::-1], None, Linf(0.3), None) == 0
    assert count(ATTACKS, None, Linf(0.3), None) == count((APGD(), FOREIGN), None, Linf(0.3), None) == 1
    assert count((*ATTACKS, FOREIGN), curves(), Linf(0.3), 0.9) == 7
    assert count(ATTACKS, curves(), L2(0.3), 0.9) == 5
    assert count(ATTACKS, Curves(curves().eps, None), L1(3.0), None) == 1
