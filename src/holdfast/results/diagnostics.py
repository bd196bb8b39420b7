"""Diagnostics: what a model's loss, gradients, features and predictions look like around its inputs, as plain data.

Each part answers one question and can be drawn from its columns alone. Numbers that do not exist (a cosine with a
gradient that vanished, a distance relative to features that are all zero) and numbers that overflow are nan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InvalidInput
from holdfast.results.evaluation import Data, Threat
from holdfast.results.shifts import Shifts


class _Columns:
    """For frozen dataclasses with arrays: makes them immutable, and compares by value."""

    def _freeze(self, floats: Sequence[str], integers: Sequence[str] = ()) -> None:
        """Make the named fields read-only arrays, and values that overflowed nan."""
        for name in (*floats, *integers):
            column = np.array(getattr(self, name), dtype=np.float64 if name in floats else np.int64)
            if name in floats:
                column = np.where(np.isinf(column), np.nan, column)
            column.setflags(write=False)
            object.__setattr__(self, name, column)

    def _need(self, fits: bool, told: str) -> None:
        if not fits:
            shapes = ", ".join(f"{k} {v.shape}" for k, v in vars(self).items() if isinstance(v, np.ndarray))
            raise InvalidInput(f"{type(self).__name__.lower()} needs {told}, got {shapes}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            np.array_equal(mine, theirs, equal_nan=True) if isinstance(mine, np.ndarray) else mine == theirs
            for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]


def _mean_of_known(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


@dataclass(frozen=True, eq=False)
class Linearity(_Columns):
    """How far the loss is from linear in S(x), for each of N examples.

    gamma: [N], the greatest |l(x + d) - l(x) - <d, grad l(x)>| that the search found; a lower bound on the true one.
    linear: [N], |<d, grad l(x)>| at the d that gave gamma, so that the loss at x + d differs by at most gamma + linear.
    attack: the search, with its parameters.
    """

    gamma: NDArray[np.float64]
    linear: NDArray[np.float64]
    attack: str

    def __post_init__(self) -> None:
        self._freeze(("gamma", "linear"))
        self._need(self.gamma.ndim == 1 and self.gamma.shape == self.linear.shape, "columns of one length")

    @property
    def mean(self) -> float:
        """Mean of gamma over the examples."""
        return _mean_of_known(self.gamma)

    @property
    def p95(self) -> float:
        """95th percentile of gamma."""
        known = self.gamma[~np.isnan(self.gamma)]
        return float(np.quantile(known, 0.95)) if known.size else float("nan")


@dataclass(frozen=True, eq=False)
class Surface(_Columns):
    """Loss and prediction on a grid of G x G points around each of S examples.

    example, label: int64 [S]; the position in the split, the true class.
    offsets: [G], rising from -eps to eps, in the threat model's norm.
    loss: [S, G, G] cross-entropy; loss[s, i, j] is taken at offsets[i] along the adversarial direction and
    offsets[j] along the random one, so the clean input is in the middle.
    prediction: int64 [S, G, G], the class the model gives.
    attack: what found the adversarial direction.
    """

    example: NDArray[np.int64]
    label: NDArray[np.int64]
    offsets: NDArray[np.float64]
    loss: NDArray[np.float64]
    prediction: NDArray[np.int64]
    attack: str

    def __post_init__(self) -> None:
        self._freeze(("offsets", "loss"), ("example", "label", "prediction"))
        shape = (*self.example.shape, *2 * self.offsets.shape)
        fits = self.example.shape == self.label.shape and self.loss.shape == self.prediction.shape == shape
        self._need(fits and len(shape) == 3, "S examples and labels, G offsets, and S x G x G values")


@dataclass(frozen=True, eq=False)
class Alignment(_Columns):
    """Cosine between the loss gradient at x and at another point of S(x), for each of N examples.

    uniform: [N], the other point drawn uniformly. adversarial: [N], the other point found by `attack`.
    """

    uniform: NDArray[np.float64]
    adversarial: NDArray[np.float64]
    attack: str

    def __post_init__(self) -> None:
        self._freeze(("uniform", "adversarial"))
        self._need(self.uniform.ndim == 1 and self.uniform.shape == self.adversarial.shape, "columns of one length")

    @property
    def mean_uniform(self) -> float:
        """Mean cosine with the gradient at a uniform point, over the examples where both gradients exist."""
        return _mean_of_known(self.uniform)

    @property
    def mean_adversarial(self) -> float:
        """Mean cosine with the gradient at the adversary, over the examples where both gradients exist."""
        return _mean_of_known(self.adversarial)

    @property
    def vanished(self) -> int:
        """Examples with a gradient that is exactly 0 at one of the points: a sign of masked gradients."""
        return int((np.isnan(self.uniform) | np.isnan(self.adversarial)).sum())


@dataclass(frozen=True, eq=False)
class Divergence(_Columns):
    """Distance of clean and adversarial features, relative to the clean ones, layer by layer.

    layers: L names in the order of the forward pass; the first is "input"; a layer's second call is "name#2".
    l1, l2: [L], mean over the examples of |h(x_adv) - h(x)| / |h(x)| in that norm.
    n: examples. attack: what found x_adv.
    """

    layers: tuple[str, ...]
    l1: NDArray[np.float64]
    l2: NDArray[np.float64]
    n: int
    attack: str

    def __post_init__(self) -> None:
        self._freeze(("l1", "l2"))
        object.__setattr__(self, "layers", tuple(self.layers))
        self._need(self.l1.shape == self.l2.shape == (len(self.layers),), "a value of both norms for every layer")


@dataclass(frozen=True, eq=False)
class Compactness(_Columns):
    """Mean distance of two examples' features within a class and between classes.

    layer: whose features. pairs: of which features each row speaks: "clean", "adversarial", "adversarial-clean".
    within, between: [3], mean over pairs of different examples of the mean absolute difference of their features;
    nan where there is no such pair. n: examples.
    """

    layer: str
    pairs: tuple[str, ...]
    within: NDArray[np.float64]
    between: NDArray[np.float64]
    n: int

    def __post_init__(self) -> None:
        self._freeze(("within", "between"))
        object.__setattr__(self, "pairs", tuple(self.pairs))
        self._need(self.within.shape == self.between.shape == (len(self.pairs),), "two values for every kind of pair")

    @property
    def ratio(self) -> NDArray[np.float64]:
        """[3] within / between: the smaller, the more compact the classes; 1 means that features tell no classes."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.within / self.between


@dataclass(frozen=True)
class Diagnostics:
    """What was looked at on the first `n` examples of a split; parts that were not asked for are None.

    skipped: diagnostic -> why it could not be done on these data. seconds: spent. versions, command: to repeat it.
    """

    model: str
    run: str | None
    data: Data
    threat: Threat
    n: int
    seed: int
    linearity: Linearity | None = None
    surface: Surface | None = None
    alignment: Alignment | None = None
    divergence: Divergence | None = None
    compactness: Compactness | None = None
    invariance: Shifts | None = None
    corruptions: Shifts | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        for name in ("skipped", "versions"):
            object.__setattr__(self, name, dict(getattr(self, name)))
        if not 1 <= self.n <= self.data.n:
            raise InvalidInput(f"diagnostics of {self.n} examples on a split of {self.data.n}")
        if not (isfinite(self.seconds) and self.seconds >= 0):
            raise InvalidInput(f"diagnostics of {self.seconds} seconds cannot be")

    def save(self, folder: Path) -> None:
        """Write diagnostics.json into `folder`, whole or not at all."""
        from holdfast.results.diagnostics_storage import save

        save(self, Path(folder))

    @staticmethod
    def load(folder: Path) -> "Diagnostics":
        """Read what `save` wrote. Raises CheckpointError for a missing, truncated or foreign file."""
        from holdfast.results.diagnostics_storage import load

        return load(Path(folder))

    def to_json(self) -> dict[str, Any]:
        """All of it, with the derived means, ready for `json.dumps`; nan becomes None."""
        from holdfast.results.diagnostics_storage import describe

        return describe(self)
