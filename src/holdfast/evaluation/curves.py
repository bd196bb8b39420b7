"""Robust accuracy along an axis: against eps, and against the steps of PGD."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from holdfast.attacks import FGSM, FMN, PGD
from holdfast.attacks.base import Attack
from holdfast.evaluation.examples import Subject
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.results import Curve, Verdicts
from holdfast.threat import L1, ThreatModel

EPS_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
STEPS = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Ascent:
    """What PGD does by steps, and what one step does. Not drawn in L1, where PGD moves one coordinate at a time.

    Attributes:
        steps: robust accuracy against the steps of PGD.
        fgsm: examples that stay right under FGSM, one full step from the clean input.
    """

    steps: Curve
    fgsm: int


@dataclass(frozen=True)
class Curves:
    """What was drawn, all on the same examples."""

    eps: Curve
    ascent: Ascent | None

    @property
    def all(self) -> tuple[Curve, ...]:
        """Those that a page shows."""
        return (self.eps, *([self.ascent.steps] if self.ascent else []))


def draw(threat: ThreatModel, subject: Subject, verdicts: Verdicts, count: int) -> Curves:
    """Measure the curves, and what one step does.

    Args:
        verdicts: what the attacks found; they count in the curve against eps.
        count: examples looked at, right or wrong; the first `count` of the split.
    """
    correct = verdicts.correct[:count].nonzero()[0].tolist()
    ascent = None
    if not isinstance(threat, L1):
        standing = len(correct) - len(_broken(FGSM(), threat, subject, correct))
        ascent = Ascent(_against_steps(threat, subject, correct, count), standing)
    return Curves(_against_eps(threat, subject, verdicts, correct, count), ascent)


def radii(threat: ThreatModel) -> tuple[float, ...]:
    """The radii of the curve, rising; in Linf the last is half the box, where every input can be made constant."""
    half = 0.5 * (threat.high - threat.low)
    found = [threat.eps * factor for factor in EPS_FACTORS]
    if threat.norm == "Linf":
        found = [*(eps for eps in found if eps < half), half]
    return tuple(found)


def _against_eps(
    threat: ThreatModel, subject: Subject, verdicts: Verdicts, correct: Sequence[int], count: int
) -> Curve:
    """One run of a minimum-norm attack shows every radius: an example stands until its nearest adversary is within.

    That of the run or that of the attacks, whichever is nearer; so at the threat's eps the curve is never above the
    robust accuracy on these examples.
    """
    attack, positions = FMN() if isinstance(threat, L1) else FMN(step_size=0.5, steepest=True), radii(threat)
    found = _broken(attack, replace(threat, eps=positions[-1]), subject, correct)
    nearest = np.nan_to_num(verdicts.distance[:count], nan=np.inf).min(axis=1)
    for example, end in found.items():
        nearest[example] = min(nearest[example], end.distance)
    # As in ThreatModel.contains: an adversary on the ball's surface may be rounded beyond it.
    slack = 1e-6 * (threat.high - threat.low)
    counts = [int((nearest[correct] > eps * (1.0 + 1e-5) + slack).sum()) for eps in positions]
    label = f"fmn-{attack.steps}, protocol"
    return Curve("eps", f"eps ({threat.norm})", (0.0, *positions), (len(correct), *counts), count, label)


def _against_steps(threat: ThreatModel, subject: Subject, correct: Sequence[int], count: int) -> Curve:
    """One run of PGD-100 shows every shorter one: an example counts as broken from the move that first broke it."""
    attack = PGD(steps=max(STEPS), step_size=0.125, early_stop=True)
    broken = _broken(attack, threat, subject, correct).values()
    # The model is asked before each move, so the k-th question shows the result of k - 1 moves.
    counts = tuple(len(correct) - sum(end.steps - 1 <= steps for end in broken) for steps in STEPS)
    return Curve("steps", "steps of PGD", tuple(map(float, STEPS)), counts, count, attack.name)


class _Broken(NamedTuple):
    """How the attack ended on an example that it broke; see `Decision`."""

    distance: float
    steps: int


def _broken(attack: Attack[Any], threat: ThreatModel, subject: Subject, waiting: Sequence[int]) -> dict[int, _Broken]:
    """The examples that the attack breaks; their adversaries are dropped, which may be large."""
    found: dict[int, _Broken] = {}

    def note(decisions: Sequence[Decision]) -> None:
        found.update({d.example: _Broken(d.distance, d.steps) for d in decisions if d.prediction >= 0})

    PackedSearch(attack, threat, subject, note).run(waiting)
    return found
