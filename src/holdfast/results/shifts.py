"""Accuracy under changes of the inputs that no adversary chose: rotation, blur, noise, weather."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from statistics import fmean

from holdfast.errors import InvalidInput
from holdfast.results.rates import Rate


@dataclass(frozen=True)
class Shift:
    """One change of the inputs: `correct` of `Shifts.n` examples were still classified rightly.

    group: what kinds belong together, such as "blur". kind: the change. level: how much, in words. value: how much.
    """

    group: str
    kind: str
    level: str
    value: float
    correct: int


@dataclass(frozen=True)
class Shifts:
    """Accuracy under changes of the inputs that no adversary chose.

    n: examples. clean: of them right on unchanged inputs. source: where changes and levels come from.
    skipped: kind -> why it was not measured.
    """

    n: int
    clean: int
    shifts: tuple[Shift, ...]
    source: str
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shifts", tuple(self.shifts))
        object.__setattr__(self, "skipped", dict(self.skipped))
        counts = [self.clean, *(shift.correct for shift in self.shifts)]
        if not all(0 <= count <= self.n for count in counts):
            raise InvalidInput(f"counts {counts} of right examples do not fit {self.n} examples")

    @property
    def clean_accuracy(self) -> Rate:
        """On unchanged inputs."""
        return Rate(self.clean, self.n)

    def of(self, kind: str) -> dict[str, Rate]:
        """Level -> accuracy, for one kind of change."""
        return {shift.level: Rate(shift.correct, self.n) for shift in self.shifts if shift.kind == kind}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that were measured, in order."""
        return tuple(dict.fromkeys(shift.kind for shift in self.shifts))

    @property
    def mean(self) -> float:
        """Mean over kinds of the mean accuracy over levels; the group "extra" is not part of it. nan without kinds."""
        counted = dict.fromkeys(shift.kind for shift in self.shifts if shift.group != "extra")
        return fmean(fmean(rate.value for rate in self.of(kind).values()) for kind in counted) if counted else nan
