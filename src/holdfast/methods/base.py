"""What a training method is: a frozen value of hyper-parameters with a loss.

`loss` is a pure function of its arguments and returns a value; optimizer, device, schedule and the warm-up of eps
belong to the trainer. A method with memory (a learned label distribution, a persistent perturbation) keeps it in the
module that `init` makes, which the trainer saves in the checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from holdfast import losses, modes
from holdfast.attacks import Attack, State, run
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Images, Labels, Logits, PerExample

S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Batch:
    """The examples of one step, already augmented, on the model's device.

    Attributes:
        x: [B, ...] inputs in the threat model's box.
        y: [B] int64 labels.
        index: [B] int64 positions in the training set.
    """

    x: Images
    y: Labels
    index: Tensor


@dataclass(frozen=True)
class Progress:
    """How far the training is.

    Attributes:
        fraction: of all steps, in [0, 1).
        epoch: from 0.
        step: optimizer steps done.
        steps: optimizer steps in all.
    """

    fraction: float
    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class Loss:
    """What a method returns.

    Attributes:
        value: scalar to minimise, with its graph.
        parts: detached scalars for the log. "adversary_accuracy", the accuracy at the method's own adversaries, is what
            the watch for catastrophic overfitting compares with the held-out robust accuracy.
    """

    value: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Method(ABC):
    """A way to train: hyper-parameters and a loss."""

    def init(self, model: nn.Module, classes: int) -> nn.Module | None:
        """Make the method's own state, or None where it has none. It is saved and restored with the model."""
        return None

    @abstractmethod
    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        """The loss of one step.

        Args:
            model: inputs to logits, in train mode; inner searches put it in another mode through `search`.
            batch: the step's examples.
            threat: the threat model of this step, with eps already warmed up.
            state: what `init` made.
            progress: how far the training is.
            noise: the step's random numbers, one stream for each example.
        """

    @property
    @abstractmethod
    def passes(self) -> float:
        """Forward and backward passes of the whole batch in one step; a forward pass alone counts 1/3."""


def search(
    attack: Attack[S],
    threat: ThreatModel,
    model: nn.Module,
    batch: Batch,
    noise: Noise,
    batch_statistics: bool,
) -> Images:
    """Run a method's inner search and return its adversaries, detached; see `modes.searching` for the model's mode."""
    with modes.searching(model, batch_statistics):
        return run(attack, threat, model, batch.x, batch.y, noise).x_adv


def accuracy(logits: Logits, y: Labels) -> Tensor:
    """Share of rows whose greatest logit is the label's; a detached scalar."""
    return (logits.detach().argmax(dim=1) == y).float().mean()


def mean(values: PerExample) -> Tensor:
    """Batch mean, in float32 or better whatever the precision of the passes."""
    return losses.precise(values).mean()


def paired_logits(model: nn.Module, first: Images, second: Images, together: bool) -> tuple[Logits, Logits]:
    """Logits of two batches, in one pass or in two; with BatchNorm the two differ in the statistics they normalise
    by."""
    if together:
        logits = losses.precise(model(torch.cat([first, second])))
        return logits[: len(first)], logits[len(first) :]
    return losses.precise(model(first)), losses.precise(model(second))
