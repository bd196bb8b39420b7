"""Robust accuracy along an axis: against eps, and against the steps of PGD.

Each process of an evaluation runs the attacks behind the curves on its share of the examples (`probe`), and what they
break is kept on disk; from all shares together the curves are drawn.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from holdfast.attacks import FGSM, FMN, PGD
from holdfast.attacks.base import Attack
from holdfast.evaluation.examples import Subject
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.files import write_atomically
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


class _Broken(NamedTuple):
    """How an attack ended on an example that it broke; see `Decision`."""

    example: int
    distance: float
    steps: int


def probe(path: Path, threat: ThreatModel, subject: Subject, examples: Sequence[int]) -> None:
    """Run the attacks behind the curves on a share of the examples, and write down what each of them broke.

    Args:
        path: JSON file of the share; an attack that it holds already is not run again.
        examples: of the share that the model gets right, among those that the curves look at.
    """
    kept = json.loads(path.read_text()) if path.exists() else {}
    for name, (attack, within) in _attacks(threat).items():
        if name not in kept:
            kept[name] = _broken(attack, within, subject, examples)
            write_atomically(path, json.dumps(kept).encode())


def draw(paths: Sequence[Path], threat: ThreatModel, verdicts: Verdicts, count: int) -> Curves:
    """The curves, and what one step does.

    Args:
        paths: of the shares, see `probe`.
        verdicts: what the attacks found; they count in the curve against eps.
        count: examples looked at, right or wrong; the first `count` of the split.
    """
    correct = verdicts.correct[:count].nonzero()[0].tolist()
    shares = [json.loads(path.read_text()) for path in paths]
    broken = {name: [_Broken(*one) for share in shares for one in share[name]] for name in _attacks(threat)}
    ascent = None
    if not isinstance(threat, L1):
        ascent = Ascent(_against_steps(threat, broken, len(correct), count), len(correct) - len(broken["fgsm"]))
    return Curves(_against_eps(threat, broken, verdicts, correct, count), ascent)


def _attacks(threat: ThreatModel) -> dict[str, tuple[Attack[Any], ThreatModel]]:
    """The attacks behind the curves, by the names under which shares keep them, and the bounds of each."""
    far = replace(threat, eps=radii(threat)[-1])
    if isinstance(threat, L1):
        return {"fmn": (FMN(), far)}
    ascent = PGD(steps=max(STEPS), step_size=0.125, early_stop=True)
    return {"fmn": (FMN(step_size=0.5, steepest=True), far), "fgsm": (FGSM(), threat), "pgd": (ascent, threat)}


def radii(threat: ThreatModel) -> tuple[float, ...]:
    """The radii of the curve, rising; in Linf the last is half the box, where every input can be made constant."""
    half = 0.5 * (threat.high - threat.low)
    found = [threat.eps * factor for factor in EPS_FACTORS]
    if threat.norm == "Linf":
        found = [*(eps for eps in found if eps < half), half]
    return tuple(found)


def _against_eps(
    threat: ThreatModel,
    broken: Mapping[str, Sequence[_Broken]],
    verdicts: Verdicts,
    correct: Sequence[int],
    count: int,
) -> Curve:
    """One run of a minimum-norm attack shows every radius: an example stands until its nearest adversary is within.

    That of the run or that of the attacks, whichever is nearer; so at the threat's eps the curve is never above the
    robust accuracy on these examples.
    """
    positions = radii(threat)
    nearest = np.nan_to_num(verdicts.distance[:count], nan=np.inf).min(axis=1)
    for end in broken["fmn"]:
        nearest[end.example] = min(nearest[end.example], end.distance)
    # As in ThreatModel.contains: an adversary on the ball's surface may be rounded beyond it.
    slack = 1e-6 * (threat.high - threat.low)
    counts = [int((nearest[correct] > eps * (1.0 + 1e-5) + slack).sum()) for eps in positions]
    label = f"fmn-{FMN().steps}, protocol"
    return Curve("eps", f"eps ({threat.norm})", (0.0, *positions), (len(correct), *counts), count, label)


def _against_steps(threat: ThreatModel, broken: Mapping[str, Sequence[_Broken]], correct: int, count: int) -> Curve:
    """One run of PGD-100 shows every shorter one: an example counts as broken from the move that first broke it."""
    # The model is asked before each move, so the k-th question shows the result of k - 1 moves.
    counts = tuple(correct - sum(end.steps - 1 <= steps for end in broken["pgd"]) for steps in STEPS)
    name = _attacks(threat)["pgd"][0].name
    return Curve("steps", "steps of PGD", tuple(map(float, STEPS)), counts, count, name)


def _broken(attack: Attack[Any], threat: ThreatModel, subject: Subject, waiting: Sequence[int]) -> list[_Broken]:
    """What the attack breaks; the adversaries are dropped, which may be large."""
    found: list[_Broken] = []

    def note(decisions: Sequence[Decision]) -> None:
        found.extend(_Broken(d.example, d.distance, d.steps) for d in decisions if d.prediction >= 0)

    PackedSearch(attack, threat, subject, note).run(waiting)
    return found
