"""The tables of one model: attack by attack, class by class, and who is taken for whom under attack."""

from dataclasses import dataclass

import numpy as np

from holdfast.report.models import Model
from holdfast.results import Outcome, Passes, Rate

MATRIX_CLASSES = 20  # above, a matrix is a carpet: the most frequent confusions are listed instead
LISTED_CONFUSIONS = 20


@dataclass(frozen=True)
class AttackRow:
    """One attack: on how many examples it was tried, how many it broke, accuracy alone and after it.

    distance and steps are medians over the examples that it broke, None where it broke none.
    """

    name: str
    tried: int
    broke: int
    alone: Rate | None
    after: Rate
    distance: float | None
    steps: float | None
    passes: Passes | None


@dataclass(frozen=True)
class ClassRow:
    """One class: its clean and worst-case accuracy."""

    name: str
    clean: Rate
    robust: Rate


@dataclass(frozen=True)
class Confusion:
    """`count` examples of class `true` are taken for `given` under attack; `share` of their class."""

    true: str
    given: str
    count: int
    share: float


def attack_rows(model: Model) -> tuple[AttackRow, ...]:
    """The attacks in the order in which they ran."""
    verdicts, passes = model.evaluation.verdicts, model.evaluation.passes
    rows = []
    for position, (name, after) in enumerate(zip(verdicts.attacks, verdicts.cumulated(), strict=True)):
        outcome = verdicts.outcome[:, position]
        broken = outcome == Outcome.BROKEN
        rows.append(
            AttackRow(
                name=name,
                tried=int((broken | (outcome == Outcome.SURVIVED)).sum()),
                broke=int(broken.sum()),
                alone=verdicts.alone(name),
                after=after,
                distance=float(np.median(verdicts.distance[broken, position])) if broken.any() else None,
                steps=float(np.median(verdicts.steps[broken, position])) if broken.any() else None,
                passes=passes.get(name),
            )
        )
    return tuple(rows)


def class_rows(model: Model) -> tuple[ClassRow, ...]:
    """The classes that occur among the examples, in their own order."""
    classes = model.evaluation.data.classes
    per_class = model.evaluation.verdicts.per_class(len(classes))
    return tuple(
        ClassRow(name, clean, robust) for name, (clean, robust) in zip(classes, per_class, strict=True) if clean.n
    )


def matrix(model: Model) -> tuple[tuple[str, tuple[Confusion, ...]], ...]:
    """The confusion under attack, row by true class; empty where there are too many classes for a matrix."""
    classes = model.evaluation.data.classes
    if len(classes) > MATRIX_CLASSES:
        return ()
    counts = model.evaluation.verdicts.confusion(len(classes))
    return tuple(
        (
            true,
            tuple(
                Confusion(true, given, int(number), float(number / max(1, row.sum())))
                for given, number in zip(classes, row, strict=True)
            ),
        )
        for true, row in zip(classes, counts, strict=True)
    )


def frequent_confusions(model: Model) -> tuple[Confusion, ...]:
    """The most frequent errors under attack, most frequent first."""
    classes = model.evaluation.data.classes
    counts = model.evaluation.verdicts.confusion(len(classes))
    totals = counts.sum(axis=1)
    errors = counts - np.diag(np.diag(counts))
    order = np.argsort(-errors, axis=None, kind="stable")[:LISTED_CONFUSIONS]
    pairs = (divmod(int(flat), len(classes)) for flat in order)
    return tuple(
        Confusion(classes[t], classes[g], int(errors[t, g]), float(errors[t, g] / totals[t]))
        for t, g in pairs
        if errors[t, g]
    )
