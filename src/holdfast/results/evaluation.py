"""Evaluation: one model, measured under one threat model by one protocol, with all it takes to repeat it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InvalidInput, unknown
from holdfast.results.rates import Rate
from holdfast.results.verdicts import Verdicts


@dataclass(frozen=True)
class Threat:
    """The threat model as plain data: norm ("Linf", "L2", "L1"), eps in pixel units, and eps as it was written."""

    norm: str
    eps: float
    eps_text: str
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Data:
    """The split that was evaluated: `n` is its size, of which the verdicts may cover a part.

    fingerprint identifies images and labels, so that an evaluation is not continued on other data.
    """

    name: str
    split: str
    n: int
    fingerprint: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Protocol:
    """Which attacks in which order: a name whose meaning is fixed by its version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Passes:
    """Cost of an attack: example-passes forward and backward (one example through the model once is one).

    calls: how often the model was asked, each time with a batch. seconds: in all. model_seconds: of these within the
    passes; the rest is the attack's own work. Summed over processes. All three are 0 where nobody measured them.
    """

    forward: int
    backward: int
    calls: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(*(getattr(self, column.name) + getattr(other, column.name) for column in fields(self)))

    def __sub__(self, other: "Passes") -> "Passes":
        return Passes(*(getattr(self, column.name) - getattr(other, column.name) for column in fields(self)))

    @property
    def rows_per_call(self) -> float:
        """Examples in a batch, on average; nan where calls were not counted."""
        return self.forward / self.calls if self.calls else nan

    @property
    def model_share(self) -> float:
        """Share of the time that was spent within passes; nan where time was not measured."""
        return self.model_seconds / self.seconds if self.seconds else nan


class Severity(StrEnum):
    """How much a finding should shake the belief in a result."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True)
class Finding:
    """A reason to doubt: `kind` is stable for machines, `evidence` holds the numbers, `advice` what to do."""

    kind: str
    severity: Severity
    title: str
    evidence: str
    advice: str

    def __post_init__(self) -> None:
        if self.severity not in list(Severity):
            raise unknown("severity", self.severity, Severity)
        object.__setattr__(self, "severity", Severity(self.severity))


@dataclass(frozen=True)
class Curve:
    """Robust accuracy along one axis: at each of `x`, `correct` of `n` examples stayed right.

    name: what varies: "eps", "steps", "restarts", "queries". attack: which attack drew the curve.
    """

    name: str
    x_label: str
    x: tuple[float, ...]
    correct: tuple[int, ...]
    n: int
    attack: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", tuple(float(value) for value in self.x))
        object.__setattr__(self, "correct", tuple(int(value) for value in self.correct))
        if not self.x or len(self.x) != len(self.correct):
            raise InvalidInput(
                f"curve {self.name!r} has {len(self.x)} positions and {len(self.correct)} counts; "
                "it needs as many of both"
            )
        if any(a >= b for a, b in zip(self.x, self.x[1:], strict=False)):
            raise InvalidInput(f"curve {self.name!r} needs growing positions, got {list(self.x)}")
        if not all(0 <= count <= self.n for count in self.correct):
            raise InvalidInput(f"curve {self.name!r} counts {list(self.correct)} correct of {self.n} examples")

    @property
    def rates(self) -> tuple[Rate, ...]:
        """The rate at each position."""
        return tuple(Rate(count, self.n) for count in self.correct)

    @property
    def accuracy(self) -> tuple[float, ...]:
        """Accuracy in [0, 1] at each position."""
        return tuple(rate.value for rate in self.rates)


@dataclass(frozen=True, eq=False)
class Gallery:
    """A few examples to look at: x and x_adv float32 [G, ...] in the data's range, their example ids [G].

    attack names the attack that proposed x_adv (a key of `Verdicts.attacks`), "" where x_adv is x.
    x_adv of an example that survived is the strongest candidate found; the verdicts say that it failed.
    """

    example: NDArray[np.int64]
    x: NDArray[np.float32]
    x_adv: NDArray[np.float32]
    attack: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, dtype in (("example", np.int64), ("x", np.float32), ("x_adv", np.float32)):
            column = np.array(getattr(self, name), dtype=dtype)
            column.setflags(write=False)
            object.__setattr__(self, name, column)
        object.__setattr__(self, "attack", tuple(self.attack))
        if self.x.shape != self.x_adv.shape or not len(self.example) == len(self.x) == len(self.attack):
            raise InvalidInput(
                f"the gallery's columns do not fit: {len(self.example)} examples, x {self.x.shape}, "
                f"x_adv {self.x_adv.shape}, {len(self.attack)} attacks"
            )
        if not (np.isfinite(self.x).all() and np.isfinite(self.x_adv).all()):
            raise InvalidInput("the gallery holds values that are not finite")

    def __len__(self) -> int:
        return len(self.example)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Gallery):
            return NotImplemented
        return (
            self.attack == other.attack
            and np.array_equal(self.example, other.example)
            and np.array_equal(self.x, other.x)
            and np.array_equal(self.x_adv, other.x_adv)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Evaluation:
    """Everything that one evaluation found, and everything needed to run it again.

    run: the run folder of the model, None for a model from elsewhere. attacks: name -> exact parameters, in the
    order of the verdicts. checks: what the findings looked for, in words, so that "no finding" has a meaning.
    versions: holdfast, torch, numpy, python, device, commit. command: what to type to repeat it. seconds: spent.
    precision: how the searches' passes were computed; verdicts always are the float32 model's.

    Raises InvalidInput when the parts do not belong together.
    """

    model: str
    run: str | None
    data: Data
    threat: Threat
    protocol: Protocol
    attacks: Mapping[str, str]
    seed: int
    verdicts: Verdicts
    curves: tuple[Curve, ...] = ()
    findings: tuple[Finding, ...] = ()
    checks: tuple[str, ...] = ()
    gallery: Gallery | None = None
    seconds: float = 0.0
    passes: Mapping[str, Passes] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("curves", "findings", "checks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("attacks", "passes", "versions"):
            object.__setattr__(self, name, dict(getattr(self, name)))
        if tuple(self.attacks) != self.verdicts.attacks:
            raise InvalidInput(
                f"the parameters are those of {list(self.attacks)}, the verdicts those of {list(self.verdicts.attacks)}"
            )
        if not set(self.passes) <= set(self.attacks):
            raise InvalidInput(f"passes are counted for {list(self.passes)}, but {list(self.attacks)} ran")
        if len(self.verdicts) > self.data.n:
            raise InvalidInput(f"{len(self.verdicts)} verdicts on a split of {self.data.n} examples")
        if not (isfinite(self.seconds) and self.seconds >= 0):
            raise InvalidInput(f"an evaluation of {self.seconds} seconds cannot be")
        self.verdicts.per_class(len(self.data.classes))  # refuses classes that have no name
        if self.gallery is not None:
            self._check_gallery(self.gallery)

    def _check_gallery(self, gallery: Gallery) -> None:
        foreign = set(gallery.example.tolist()) - set(self.verdicts.example.tolist())
        if foreign:
            raise InvalidInput(f"the gallery shows example {min(foreign)}, which has no verdict")
        unknown = set(gallery.attack) - set(self.attacks) - {""}
        if unknown:
            raise InvalidInput(f"the gallery names attack {min(unknown)!r}; {', '.join(self.attacks)} ran")

    def save(self, folder: Path) -> None:
        """Write evaluation.json, verdicts.parquet and gallery.npz into `folder`, each whole or not at all."""
        from holdfast.results.storage import save

        save(self, Path(folder))

    @staticmethod
    def load(folder: Path) -> "Evaluation":
        """Read what `save` wrote. Raises CheckpointError for missing, truncated, foreign or mixed files."""
        from holdfast.results.storage import load

        return load(Path(folder))

    def to_json(self) -> dict[str, Any]:
        """All but pictures and single verdicts, with the derived accuracies, ready for `json.dumps`."""
        from holdfast.results.storage import describe

        return describe(self)
