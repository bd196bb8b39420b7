"""Robust accuracy along an axis: against eps, and against the steps of PGD."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.attacks import FGSM, PGD
from holdfast.evaluation.examples import Subject
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.results import Curve
from holdfast.threat import ThreatModel

EPS_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
STEPS = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Curves:
    """What was drawn, all on the same examples.

    Attributes:
        fgsm: examples that stay right under FGSM, one full step from the clean input.
    """

    eps: Curve
    steps: Curve
    fgsm: int


def draw(threat: ThreatModel, subject: Subject, correct: Sequence[int], count: int) -> Curves:
    """Measure both curves, and what one step does.

    Args:
        correct: positions of the examples that are right on clean inputs.
        count: examples looked at, right or wrong; the first `count` of the split.
    """
    return Curves(
        _against_eps(threat, subject, correct, count),
        _against_steps(threat, subject, correct, count),
        len(correct) - len(_broken(FGSM(), threat, subject, correct)),
    )


def radii(threat: ThreatModel) -> tuple[float, ...]:
    """The radii of the curve, rising; in Linf the last is half the box, where every input can be made constant."""
    half = 0.5 * (threat.high - threat.low)
    found = [threat.eps * factor for factor in EPS_FACTORS]
    if threat.norm == "Linf":
        found = [*(eps for eps in found if eps < half), half]
    return tuple(found)


def _against_eps(threat: ThreatModel, subject: Subject, correct: Sequence[int], count: int) -> Curve:
    """PGD-20 at rising radii. What a smaller ball broke stays broken in a larger one, so each radius tries
    survivors."""
    attack = PGD(steps=20, step_size=0.125, early_stop=True)
    left, positions, counts = list(correct), [0.0], [len(correct)]
    for eps in radii(threat):
        broken = _broken(attack, replace(threat, eps=eps), subject, left)
        left = [example for example in left if example not in broken]
        positions.append(eps)
        counts.append(len(left))
    return Curve("eps", f"eps ({threat.norm})", tuple(positions), tuple(counts), count, attack.name)


def _against_steps(threat: ThreatModel, subject: Subject, correct: Sequence[int], count: int) -> Curve:
    """One run of PGD-100 shows every shorter one: an example counts as broken from the move that first broke it."""
    attack = PGD(steps=max(STEPS), step_size=0.125, early_stop=True)
    broken = _broken(attack, threat, subject, correct)
    # The model is asked before each move, so the k-th question shows the result of k - 1 moves.
    counts = tuple(len(correct) - sum(asked - 1 <= steps for asked in broken.values()) for steps in STEPS)
    return Curve("steps", "steps of PGD", tuple(map(float, STEPS)), counts, count, attack.name)


def _broken(attack: PGD, threat: ThreatModel, subject: Subject, waiting: Sequence[int]) -> dict[int, int]:
    """The examples that the attack breaks, with the iterations it took."""
    found: dict[int, int] = {}

    def note(decisions: Sequence[Decision]) -> None:
        found.update({d.example: d.steps for d in decisions if d.prediction >= 0})

    PackedSearch(attack, threat, subject, note).run(waiting)
    return found
