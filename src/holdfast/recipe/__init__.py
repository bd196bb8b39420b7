"""A run, written down: everything that decides a training, as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, get_args

from holdfast.attacks import PGD
from holdfast.data import Augment, Source
from holdfast.errors import InvalidInput, unknown
from holdfast.methods import Method
from holdfast.models import Architecture
from holdfast.recipe.optimizers import SGD, Adam, Optimizer
from holdfast.recipe.schedules import Constant, Cosine, OneCycle, Schedule, Step
from holdfast.threat import ThreatModel

PrecisionChoice = Literal["auto", "float32", "bfloat16"]
Switch = bool | Literal["auto"]
OnCollapse = Literal["stop", "continue"]


@dataclass(frozen=True)
class EMA:
    """Exponential moving average of the weights (Gowal et al. 2020, arXiv:2010.03593), used for evaluation.

    Args:
        decay: greatest decay; it is min(decay, (1 + d) / (10 + d)) at d steps after the warm-up.
        warmup: share of the training during which the average follows the weights.
    """

    decay: float = 0.995
    warmup: float = 0.025

    def __post_init__(self) -> None:
        if not 0.0 <= self.decay < 1.0:
            raise InvalidInput(f"decay is {self.decay}, but an average's decay lies in [0, 1); 0.995 is usual")
        if not 0.0 <= self.warmup < 1.0:
            raise InvalidInput(f"warmup is {self.warmup}, but it is a share of the training in [0, 1)")


@dataclass(frozen=True)
class SWA:
    """Mean of the weights at the ends of epochs (Chen et al., ICLR 2021, OpenReview qZzy5urZw9;
    Alleviate-Robust-Overfitting 4066275, without its distillation), used for evaluation. BatchNorm's statistics are
    measured for it after every epoch, in a forward pass over the training images.

    Args:
        start: share of the training before the first weights that count; the source's 55 of 200 epochs.
    """

    start: float = 55 / 200

    def __post_init__(self) -> None:
        if not 0.0 <= self.start < 1.0:
            raise InvalidInput(f"start is {self.start}, but it is a share of the training in [0, 1); 0.275 is usual")


@dataclass(frozen=True)
class Recipe:
    """A training.

    Args:
        method, threat, data, model: what is trained, against whom, on what.
        optimizer, schedule, batch_size: how; `batch_size` is the global batch of one optimizer step, over all processes
            and accumulated parts.
        epochs: passes over the training images, a whole number or not; schedules and ramps are shares of it.
        augment: applied in this order to every training batch, on the device.
        eps_warmup: share of the training over which the threat's eps rises linearly from 0.
        ema: average of the weights to evaluate and keep, or None.
        swa: another kind of average, in place of `ema`.
        precision: of the passes, float32 or bfloat16; losses, gradients' signs and projections are float32 in any case.
            With "auto", here and below, a short trial at the start of a run chooses what is fastest (`holdfast.speed`);
            the run's record holds its choice.
        channels_last: memory format of images and convolutions; same results to rounding.
        compile: the passes, by torch.compile; "auto" tries it only in runs that are long enough to earn its time back.
        accumulate: parts in which a batch is computed, to save memory.
        holdout: training images held out to choose the best checkpoint: a count, a share below 1, or None for 1,000 or
            10 %, whichever is less. Stratified and fixed by the seed; the test split is never looked at.
        validation: the attack on the held-out part after each epoch.
        on_collapse: on catastrophic overfitting go back to the last good checkpoint and stop, or only say so.
        seed: of initial weights, order, augmentation and attacks.
        sources: where each number comes from, by field path ("method.beta"): a citation, or "ours".
    """

    method: Method
    threat: ThreatModel
    data: Source
    model: Architecture
    optimizer: Optimizer
    schedule: Schedule
    epochs: int | float
    batch_size: int
    augment: tuple[Augment, ...] = ()
    eps_warmup: float = 0.0
    ema: EMA | None = None
    swa: SWA | None = None
    precision: PrecisionChoice = "auto"
    channels_last: Switch = "auto"
    compile: Switch = "auto"
    accumulate: int = 1
    holdout: int | float | None = None
    validation: PGD = PGD(steps=10, step_size=0.25, early_stop=True)
    on_collapse: OnCollapse = "stop"
    seed: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}, but it is at least 1")
        if not 0.0 < self.epochs < inf:
            raise InvalidInput(f"epochs is {self.epochs}, but a training sees images: give a number above 0, e.g. 2.5")
        if self.batch_size % self.accumulate:
            raise InvalidInput(
                f"batch_size {self.batch_size} cannot be computed in {self.accumulate} equal parts; "
                "choose accumulate among its divisors"
            )
        if self.ema and self.swa:
            raise InvalidInput(
                "ema and swa are both set, but one average is measured and kept; set one of them to none"
            )
        if not 0.0 <= self.eps_warmup <= 1.0:
            raise InvalidInput(f"eps_warmup is {self.eps_warmup}, but it is a share of the training in [0, 1]")
        switch = (True, False, "auto")
        words = {"precision": get_args(PrecisionChoice), "on_collapse": get_args(OnCollapse)}
        for name, known in {**words, "channels_last": switch, "compile": switch}.items():
            if getattr(self, name) not in known:
                raise unknown(name, str(getattr(self, name)), list(map(str, known)))

    def steps(self, per_epoch: int) -> int:
        """Optimizer steps of the whole training, at least 1, where an epoch has `per_epoch` of them."""
        return max(1, round(self.epochs * per_epoch))


__all__ = [
    "EMA",
    "SGD",
    "SWA",
    "Adam",
    "Constant",
    "Cosine",
    "OneCycle",
    "Optimizer",
    "Recipe",
    "Schedule",
    "Step",
]
