"""What a training method is: a frozen value of hyper-parameters with a loss.

`loss` is a pure function of its arguments and returns a value; optimizer, device, schedule and the warm-up of eps
belong to the trainer. An inner search asks what `modes.searching` yields, not the model itself (`search` below does all
of that): the trainer may put cheaper passes in its place. A method with memory keeps it in the module that `init`
makes, which the trainer saves in the checkpoint: as parameters what the optimizer learns (a label distribution), as
buffers what the method itself moves (a radius for each example, a perturbation that outlives its batch).

Methods compose by wrapping: a `Wrapper` is a method that holds another one, `AWP(method=TRADES())`, and calls its loss.
Three things make a method fit to be wrapped. It finds its adversaries with `attacks.run`, so that a wrapper that needs
the loss twice has the searches replayed (`attacks.Tape`). It takes weights from the model where it uses them, so that a
wrapper may lend the model others (`modes.substituted`): the graph of the loss then holds the lent weights and leads to
the model's own, and nobody has to restore anything before the optimizer's step. And what it remembers are its state's
buffers, which a wrapper can put back.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
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
        place: [B] int64 rows in the step's whole batch, of which this may be the part of one process, or a part of
            that; None for 0 to B - 1.
    """

    x: Images
    y: Labels
    index: Tensor
    place: Tensor | None = None

    @property
    def places(self) -> Tensor:
        """[B] int64 rows in the step's whole batch."""
        return torch.arange(len(self.y), device=self.y.device) if self.place is None else self.place


@dataclass(frozen=True)
class Task:
    """What a method's own state may depend on besides the model.

    Attributes:
        classes: number of logits.
        examples: size of the training set; `Batch.index` lies below it.
        batch_size: examples of a step's whole batch; `Batch.places` lie below it.
        shape: of one example.
    """

    classes: int
    examples: int
    batch_size: int
    shape: tuple[int, ...]


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

    def init(self, model: nn.Module, task: Task) -> nn.Module | None:
        """Make the method's own state, or None where it has none. It is saved and restored with the model.

        Parameters move by the optimizer. Buffers move in `loss` or while its value is differentiated, as BatchNorm's
        do; each entry belongs to an example or to a row of the batch, so that of several processes one moves it (an
        entry that several move is averaged).
        """
        return None

    @property
    def replays(self) -> int:
        """Optimizer steps in a row on each batch. All see the same inputs and the same noise; a method that wants other
        noise in each folds `progress.step` into it."""
        return 1

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
            state: what `init` made; its buffers may move.
            progress: how far the training is.
            noise: the step's random numbers, one stream for each example.
        """

    @property
    @abstractmethod
    def passes(self) -> float:
        """Forward and backward passes of the whole batch in one optimizer step; a forward pass alone counts 1/3, a
        backward pass 2/3.

        Where the loss holds an input gradient that is differentiated again, the way back through that gradient counts
        as a backward pass too, besides the one back through the pass that it came from. Passes are counted, whatever
        their precision: those that double back-propagation keeps in float32 take longer than others beside them.
        """

    @property
    def differentiates_twice(self) -> bool:
        """The loss holds an input gradient that is differentiated again, which compiled passes cannot."""
        return False

    @property
    def wants_smooth(self) -> bool:
        """What it learns from lies in how the input gradient bends with x, which it hardly does where all activations
        are piecewise linear, as ReLU is."""
        return False

    @property
    def compilable(self) -> bool:
        """The outer passes may be compiled: no gradient of theirs is differentiated again, none is asked within, and no
        hook is registered for them."""
        return not self.differentiates_twice

    @property
    def search_passes(self) -> float:
        """Those of `passes` that searches by `attacks.run` take: by default those of the field `inner`, if any."""
        inner = getattr(self, "inner", None)
        return float(inner.budget * (inner.passes or 0)) if isinstance(inner, Attack) else 0.0


@dataclass(frozen=True)
class Wrapper(Method):
    """A method around another one, whose state and replays it passes on.

    Args:
        method: the method inside; wrappers may hold wrappers.
    """

    method: Method

    def init(self, model: nn.Module, task: Task) -> nn.Module | None:
        return self.method.init(model, task)

    @property
    def replays(self) -> int:
        return self.method.replays

    @property
    def differentiates_twice(self) -> bool:
        return self.method.differentiates_twice

    @property
    def wants_smooth(self) -> bool:
        return self.method.wants_smooth

    @property
    def compilable(self) -> bool:
        return super().compilable and self.method.compilable

    @property
    def search_passes(self) -> float:
        return self.method.search_passes


def search(
    attack: Attack[S],
    threat: ThreatModel,
    model: nn.Module,
    batch: Batch,
    noise: Noise,
    batch_statistics: bool,
) -> Images:
    """Run a method's inner search; see `modes.searching` for the model's mode.

    Args:
        attack: the search.
        threat: whose S(x) is searched.
        model: inputs to logits, in train mode.
        batch: the examples, [B, ...].
        noise: the search's random numbers, one stream for each example.
        batch_statistics: BatchNorm normalises by the batch meanwhile, without moving its running averages.

    Returns:
        [B, ...] the adversaries, detached.
    """
    with modes.searching(model, batch_statistics) as asked:
        return run(attack, threat, asked, batch.x, batch.y, noise).x_adv


def full_precision(x: Images) -> AbstractContextManager[None]:
    """Switch autocast off, in which a gradient that is differentiated again, or a loss by a product, loses too much."""
    exact: AbstractContextManager[None] = torch.autocast(x.device.type, enabled=False)
    return exact


def accuracy(logits: Logits, y: Labels) -> Tensor:
    """Share of rows whose greatest logit is the label's; a detached scalar."""
    return (logits.detach().argmax(dim=1) == y).float().mean()


def mean(values: PerExample) -> Tensor:
    """Batch mean, in float32 or better whatever the precision of the passes."""
    return losses.precise(values).mean()


def paired_logits(model: nn.Module, first: Images, second: Images, together: bool) -> tuple[Logits, Logits]:
    """Logits of two batches, in float32 or better; with BatchNorm one pass normalises both by common statistics.

    Args:
        model: inputs to logits.
        first, second: [B, ...] and [C, ...] inputs.
        together: one pass of both in place of two.

    Returns:
        [B, K] and [C, K] logits, with their graphs.
    """
    if together:
        logits = losses.precise(model(torch.cat([first, second])))
        return logits[: len(first)], logits[len(first) :]
    return losses.precise(model(first)), losses.precise(model(second))
