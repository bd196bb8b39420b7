"""Verdicts: examples x attacks. What each attack did to each example, and the accuracies that follow from it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from holdfast.errors import InvalidInput
from holdfast.results.rates import Rate


class Outcome(StrEnum):
    """What became of one example under one attack."""

    MISCLASSIFIED = "misclassified"  # wrong on the clean input already; no attack needed
    BROKEN = "broken"  # the attack found an adversary that the evaluator confirmed
    SURVIVED = "survived"  # the attack spent its budget and found none
    SPARED = "spared"  # not attacked, because an earlier attack had already broken it


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Verdicts of N examples under A attacks, in the order in which the attacks ran. Immutable.

    example, label, prediction: int64 [N]; the position in the split, the true class, the clean prediction.
    outcome: str [N, A], values of `Outcome`; compare with `verdicts.outcome == Outcome.BROKEN`.
    adversarial_prediction: int64 [N, A], the class of the confirmed adversary, -1 where there is none.
    distance: float64 [N, A], of the adversary in the threat model's norm, nan where there is none.
    steps: int64 [N, A], iterations (or queries) that the attack spent on the example.

    Raises InvalidInput when the columns contradict each other: an example twice, a misclassified example that is
    not so under every attack, a broken one without adversary, a spared one that nothing had broken before.
    """

    attacks: tuple[str, ...]
    example: NDArray[np.int64]
    label: NDArray[np.int64]
    prediction: NDArray[np.int64]
    outcome: NDArray[np.str_]
    adversarial_prediction: NDArray[np.int64]
    distance: NDArray[np.float64]
    steps: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacks", tuple(self.attacks))
        if not self.attacks or len(set(self.attacks)) != len(self.attacks):
            raise InvalidInput(f"verdicts need attacks with names of their own, got {list(self.attacks)}")
        n = len(np.asarray(self.example))
        for name in ("example", "label", "prediction"):
            self._freeze(name, np.int64, (n,))
        for name in ("adversarial_prediction", "steps"):
            self._freeze(name, np.int64, (n, len(self.attacks)))
        self._freeze("distance", np.float64, (n, len(self.attacks)))
        self._freeze("outcome", np.str_, (n, len(self.attacks)))
        self._check()

    def _freeze(self, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        column = np.array(getattr(self, name), dtype=dtype)
        if column.shape != shape:
            raise InvalidInput(f"column {name!r} of the verdicts has shape {column.shape}, expected {shape}")
        column.setflags(write=False)
        object.__setattr__(self, name, column)

    def _check(self) -> None:
        known = np.isin(self.outcome, [outcome.value for outcome in Outcome])
        if not known.all():
            raise InvalidInput(f"unknown outcome {str(self.outcome[~known][0])!r} (known: {', '.join(Outcome)})")
        broken = self.outcome == Outcome.BROKEN
        misclassified = self.outcome == Outcome.MISCLASSIFIED
        found = self.adversarial_prediction >= 0
        seen_broken = np.logical_or.accumulate(broken, axis=1)
        faults = {
            "appears twice": ~_first_of_its_kind(self.example),
            "has a label or a prediction below 0": (self.label < 0) | (self.prediction < 0),
            "is misclassified under some attacks only, or although its clean prediction is right": (
                misclassified != (self.label != self.prediction)[:, None]
            ).any(axis=1),
            "is broken without an adversary, or has an adversary without being broken": (
                (broken != found) | (broken != ~np.isnan(self.distance))
            ).any(axis=1),
            "is broken by an adversary of its own class": (
                broken & (self.adversarial_prediction == self.label[:, None])
            ).any(axis=1),
            "is spared although no earlier attack broke it": ((self.outcome == Outcome.SPARED) & ~seen_broken).any(
                axis=1
            ),
        }
        for fault, where in faults.items():
            if where.any():
                raise InvalidInput(f"example {int(self.example[where][0])} {fault}")

    def __len__(self) -> int:
        return len(self.example)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Verdicts):
            return NotImplemented
        return self.attacks == other.attacks and all(
            np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            for a, b in zip(self._columns(), other._columns(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def _columns(self) -> tuple[NDArray[Any], ...]:
        per_example = (self.example, self.label, self.prediction)
        return (*per_example, self.outcome, self.adversarial_prediction, self.distance, self.steps)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """[N]: right on the clean input."""
        return np.asarray(self.label == self.prediction)

    @cached_property
    def robust(self) -> NDArray[np.bool_]:
        """[N]: right on the clean input and broken by no attack (the worst case over attacks)."""
        return self.correct & (self.broken_by < 0)

    @cached_property
    def broken_by(self) -> NDArray[np.int64]:
        """[N]: position in `attacks` of the first attack that broke the example, -1 where none did."""
        broken = self.outcome == Outcome.BROKEN
        return np.where(broken.any(axis=1), broken.argmax(axis=1), -1).astype(np.int64)

    @property
    def clean(self) -> Rate:
        """Examples right on the clean input."""
        return Rate(int(self.correct.sum()), len(self))

    @property
    def worst_case(self) -> Rate:
        """Examples right under every attack; a clean error counts as a failure."""
        return Rate(int(self.robust.sum()), len(self))

    @property
    def clean_accuracy(self) -> float:
        """Clean accuracy in [0, 1]."""
        return self.clean.value

    @property
    def robust_accuracy(self) -> float:
        """Robust accuracy in [0, 1], the worst case over attacks."""
        return self.worst_case.value

    def alone(self, attack: str) -> Rate | None:
        """Accuracy under one attack alone; None where some examples were spared from it, so that it is unknown."""
        column = self.outcome[:, self._position(attack)]
        if (column == Outcome.SPARED).any():
            return None
        return Rate(int((column == Outcome.SURVIVED).sum()), len(self))

    def cumulated(self) -> tuple[Rate, ...]:
        """Accuracy after each attack, worst case over it and all attacks before it; the last is `worst_case`."""
        return tuple(
            Rate(int((self.correct & ((self.broken_by < 0) | (self.broken_by > a))).sum()), len(self))
            for a in range(len(self.attacks))
        )

    def per_class(self, classes: int) -> tuple[tuple[Rate, Rate], ...]:
        """(clean, worst case) of the examples of each of `classes` labels."""
        self._check_classes(classes)
        return tuple(
            (
                Rate(int(self.correct[of].sum()), int(of.sum())),
                Rate(int(self.robust[of].sum()), int(of.sum())),
            )
            for of in (self.label == c for c in range(classes))
        )

    def final_prediction(self) -> NDArray[np.int64]:
        """[N]: the class given under attack: that of the first adversary found, else the clean prediction."""
        row = np.arange(len(self))
        adversarial = self.adversarial_prediction[row, np.maximum(self.broken_by, 0)]
        return np.where(self.broken_by >= 0, adversarial, self.prediction)

    def confusion(self, classes: int) -> NDArray[np.int64]:
        """int64 [classes, classes]: examples by true class (row) and by class given under attack (column)."""
        self._check_classes(classes)
        counts = np.zeros((classes, classes), dtype=np.int64)
        np.add.at(counts, (self.label, self.final_prediction()), 1)
        return counts

    def _check_classes(self, classes: int) -> None:
        largest = max(int(c.max(initial=-1)) for c in (self.label, self.prediction, self.adversarial_prediction))
        if largest >= classes:
            raise InvalidInput(f"class {largest} occurs in the verdicts, but only {classes} classes are named")

    def _position(self, attack: str) -> int:
        if attack not in self.attacks:
            raise InvalidInput(f"attack {attack!r} is not among those that ran: {', '.join(self.attacks)}")
        return self.attacks.index(attack)

    def save(self, path: Path) -> None:
        """Write the verdicts as Parquet in long format (see `holdfast.results.table`), whole or not at all."""
        from holdfast.files import write_atomically
        from holdfast.results.table import to_parquet

        write_atomically(Path(path), to_parquet(self))

    @staticmethod
    def load(path: Path) -> "Verdicts":
        """Read what `save` wrote. Raises CheckpointError for a missing, truncated or foreign file."""
        from holdfast.results.table import read_parquet

        return read_parquet(Path(path))


def _first_of_its_kind(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    first = np.zeros(len(values), dtype=np.bool_)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def merge(shards: Iterable[Verdicts]) -> Verdicts:
    """Join the verdicts of disjoint examples, ordered by example.

    Raises InvalidInput when the shards ran different attacks, or share an example: one of the two would otherwise
    have to be dropped silently.
    """
    parts: Sequence[Verdicts] = list(shards)
    if not parts:
        raise InvalidInput("there are no verdicts to merge")
    for part in parts[1:]:
        if part.attacks != parts[0].attacks:
            raise InvalidInput(
                f"shards of one evaluation ran different attacks: {list(parts[0].attacks)} and {list(part.attacks)}"
            )
    columns: list[ArrayLike] = [np.concatenate(c) for c in zip(*(p._columns() for p in parts), strict=True)]
    example = np.asarray(columns[0])
    twice = example[~_first_of_its_kind(example)]
    if twice.size:
        raise InvalidInput(f"example {int(twice[0])} was evaluated by two shards; {twice.size} examples overlap")
    order = np.argsort(example)
    return Verdicts(parts[0].attacks, *(np.asarray(column)[order] for column in columns))
