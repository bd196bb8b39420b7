"""Learning rates over a training, as pure functions of the share done."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from holdfast.errors import InvalidInput


@dataclass(frozen=True)
class Schedule(ABC):
    """A factor of the optimizer's learning rate over the training."""

    @abstractmethod
    def factor(self, fraction: float) -> float:
        """The factor after `fraction` in [0, 1] of all steps."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate stays as it is."""

    def factor(self, fraction: float) -> float:
        return 1.0


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Linear from 0 to the learning rate at `peak`, then linear to 0: "cyclic" or "triangular" in fast_adversarial.

    Args:
        peak: share of the training at which the learning rate is reached; 0.4 (MNIST) or 0.5 (CIFAR-10) there.
    """

    peak: float = 0.4

    def __post_init__(self) -> None:
        if not 0.0 <= self.peak < 1.0:
            raise InvalidInput(f"peak is {self.peak}, but it is a share of the training in [0, 1); 0.4 is usual")

    def factor(self, fraction: float) -> float:
        return fraction / self.peak if fraction < self.peak else (1.0 - fraction) / (1.0 - self.peak)


@dataclass(frozen=True)
class Step(Schedule):
    """Multiply the learning rate by `drop` at each milestone.

    Args:
        milestones: shares of the training, rising; 100 and 150 of 200 epochs are (0.5, 0.75).
        drop: factor at each milestone.
    """

    milestones: tuple[float, ...] = (0.5, 0.75)
    drop: float = 0.1

    def __post_init__(self) -> None:
        if list(self.milestones) != sorted(self.milestones) or not all(0.0 < m < 1.0 for m in self.milestones):
            raise InvalidInput(
                f"milestones are {self.milestones}, but they are shares of the training that rise inside (0, 1)"
            )

    def factor(self, fraction: float) -> float:
        # A hair of slack: 3 of 4 steps must count as 0.75 whatever the rounding of the division.
        return self.drop ** sum(fraction >= milestone - 1e-9 for milestone in self.milestones)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Linear warm-up, then half a cosine to 0 (Loshchilov and Hutter 2017).

    Args:
        warmup: share of the training spent rising from 0.
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.warmup < 1.0:
            raise InvalidInput(f"warmup is {self.warmup}, but it is a share of the training in [0, 1)")

    def factor(self, fraction: float) -> float:
        if fraction < self.warmup:
            return fraction / self.warmup
        return 0.5 + 0.5 * math.cos(math.pi * (fraction - self.warmup) / (1.0 - self.warmup))
