"""Comparison: methods that were trained to the same budget with several seeds, and what can be said of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import isfinite, nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InvalidInput
from holdfast.results.contrasts import Contrast, Estimate, contrast, estimate, holm
from holdfast.results.evaluation import Evaluation
from holdfast.results.history import History

Clock = Literal["cpu_seconds", "training_seconds"]
Quantity = Literal["clean", "robust"]
LEVEL = 0.05  # of the family of all pairs


@dataclass(frozen=True)
class Cell:
    """One training of a method.

    Attributes:
        seed: of the training.
        outcome: "finished", "collapse" (catastrophic overfitting; the best weights before it count), "diverged" or
            "unfinished".
        run: its folder.
        evaluation: of its best weights, None where there is none yet.
        history: its log, None before the first epoch.
    """

    seed: int
    outcome: str
    run: str
    evaluation: Evaluation | None = None
    history: History | None = None

    def seconds(self, clock: Clock) -> float:
        """Spent in optimizer steps, on one of the clocks of the log; nan where that is not known."""
        known = self.history[clock] if self.history is not None else np.array([])
        return float(known[-1]) if len(known) else nan


@dataclass(frozen=True)
class Entrant:
    """A method in the comparison.

    Attributes:
        label: on the page.
        choices: its hyper-parameters as pairs (field, value), as they stand in the runs' recipes.
        source: where they come from.
        share: of the common budget.
        changes: what it changes in the shared recipe besides the method.
        passes: forward and backward passes of one optimizer step.
        ratio: measured cost of a step over that of natural training; None where it was not needed.
        epochs: trained.
        tuned: what the search on held-out images chose, as pairs (field, value).
        trials: of that search.
        cells: one for each seed.
    """

    label: str
    choices: tuple[tuple[str, str], ...]
    source: str
    share: float
    changes: tuple[str, ...]
    passes: float
    ratio: float | None
    epochs: float
    cells: tuple[Cell, ...]
    tuned: tuple[tuple[str, str], ...] = ()
    trials: int = 0

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """Those that are there."""
        return tuple(cell.evaluation for cell in self.cells if cell.evaluation is not None)

    def right(self, quantity: Quantity) -> NDArray[np.bool_]:
        """[S, N]: which examples the networks get right, clean or under every attack."""
        return np.array(
            [e.verdicts.robust if quantity == "robust" else e.verdicts.correct for e in self.evaluations],
            dtype=np.bool_,
        )

    @cached_property
    def robust(self) -> Estimate | None:
        """Robust accuracy over seeds; None before the first evaluation."""
        return estimate(self.right("robust")) if self.evaluations else None

    @cached_property
    def clean(self) -> Estimate | None:
        """Clean accuracy over seeds; None before the first evaluation."""
        return estimate(self.right("clean")) if self.evaluations else None

    def seconds(self, clock: Clock) -> float:
        """Mean over the runs that came to their end."""
        return mean([cell.seconds(clock) for cell in self.cells if cell.outcome != "unfinished"])


@dataclass(frozen=True)
class Pair:
    """Two entrants, the one with the higher mean first, and what their difference is worth.

    p is corrected for all pairs of the comparison.
    """

    first: Entrant
    second: Entrant
    found: Contrast
    p: float

    @property
    def differs(self) -> bool:
        """Beyond noise."""
        return self.p < LEVEL


@dataclass(frozen=True)
class Comparison:
    """Everything that a comparison found.

    Attributes:
        data: name of the data set.
        budget: of each training, in words.
        device: "cpu" or "cuda".
        shared: what all trainings share, as pairs (field, value).
        attacks: the protocol, with its version.
        entrants: in the order in which they came.
        natural_seconds: of a step of natural training, where the budget is one of time.

    Raises InvalidInput when evaluations were not made on the same examples.
    """

    data: str
    budget: str
    device: str
    shared: tuple[tuple[str, str], ...]
    attacks: str
    entrants: tuple[Entrant, ...]
    natural_seconds: float | None = None

    def __post_init__(self) -> None:
        asked = {
            (e.data.fingerprint, e.verdicts.example.tobytes(), e.threat, e.protocol): entrant.label
            for entrant in self.entrants
            for e in entrant.evaluations
        }
        if len(asked) > 1:
            raise InvalidInput(
                f"the networks were not asked the same ({' and '.join(asked.values())} differ in data, examples, "
                "threat model or protocol); compare them in folders of their own"
            )

    @property
    def clock(self) -> Clock:
        """What tells the cost of a training: the processor's time on a CPU, which others may share; else the wall's."""
        return "cpu_seconds" if self.device == "cpu" else "training_seconds"

    @property
    def measured(self) -> tuple[Entrant, ...]:
        """Entrants with an evaluation, the most robust first."""
        return tuple(sorted((e for e in self.entrants if e.evaluations), key=_robust, reverse=True))

    def pairs(self, quantity: Quantity) -> tuple[Pair, ...]:
        """All pairs of measured entrants, by descending difference."""
        order = sorted(self.measured, key=lambda entrant: -entrant.right(quantity).mean())
        pairs = list(combinations(order, 2))
        found = [contrast(one.right(quantity), other.right(quantity)) for one, other in pairs]
        corrected = holm([c.p for c in found])
        made = [Pair(*pair, c, p) for pair, c, p in zip(pairs, found, corrected, strict=True)]
        return tuple(sorted(made, key=lambda pair: -pair.found.difference))


def mean(values: Sequence[float]) -> float:
    """Of the finite ones; nan if there is none."""
    known = [value for value in values if isfinite(value)]
    return sum(known) / len(known) if known else nan


def _robust(entrant: Entrant) -> float:
    return entrant.robust.mean if entrant.robust else nan
