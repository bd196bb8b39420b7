"""Model and method as one module whose forward pass is a step's loss."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from holdfast import modes
from holdfast.methods import Batch, Loss, Progress
from holdfast.noise import Noise
from holdfast.recipe import Recipe
from holdfast.speed import Passes, StandIns, autocast, laid_out
from holdfast.threat import ThreatModel
from holdfast.training.generator import draws, seeded
from holdfast.training.stages import Stages
from holdfast.typing import Classifier

_STREAM = 0x73746570  # keeps the steps' noise apart from everything else that the seed decides


@dataclass(frozen=True)
class Part:
    """A part of a step's batch: gradients are accumulated over the parts.

    Attributes:
        batch: its examples.
        share: its share of the rows that this process has of the step.
        number: from 0.
        last: it is the step's last part.
    """

    batch: Batch
    share: float
    number: int
    last: bool


def parts(x: Tensor, y: Tensor, index: Tensor, count: int, rank: int = 0, world: int = 1) -> Iterator[Part]:
    """Cut the batch of process `rank` of `world` into at most `count` parts of (nearly) equal size."""
    # A process takes every world-th row of the step's whole batch (see `Order`).
    place = torch.arange(rank, len(y) * world, world, device=y.device)
    pieces = list(zip(*(values.chunk(count) for values in (x, y, index, place)), strict=True))
    for number, piece in enumerate(pieces):
        yield Part(Batch(*piece), len(piece[1]) / len(y), number, number == len(pieces) - 1)


class Objective(nn.Module):
    """The loss of a step. Wrapped for several processes, it is still one forward pass a step, as DDP wants it; the
    method's inner search calls the bare `model`, or what stands in for it.

    Attributes:
        model: what is trained.
        state: the method's own state, None for most.
    """

    def __init__(
        self,
        recipe: Recipe,
        passes: Passes,
        model: nn.Module,
        state: nn.Module | None,
        device: torch.device,
        rank: int,
        stages: Stages,
    ) -> None:
        super().__init__()
        self.model = model
        self.state = state
        self._recipe = recipe
        self._passes = passes
        self._stand_ins = StandIns(model, passes)
        self._stages = stages
        self._device = device
        self._rank = rank
        self._draws = draws(model, recipe.method)

    def forward(self, part: Part, threat: ThreatModel, progress: Progress) -> Loss:
        """The method's loss of a part, its value weighted by the part's share of the step; among the parts is "loss".

        Args:
            threat: the threat model of the step, with eps warmed up.
            progress: how far the training is.
        """
        if not self._draws:
            return self._loss(part, threat, progress)
        with seeded(self._device, self._recipe.seed, _STREAM, progress.step, self._rank, part.number):
            return self._loss(part, threat, progress)

    @contextmanager
    def _searching(self, model: nn.Module, batch_statistics: bool, itself: bool) -> Iterator[Classifier | None]:
        self._stages.begin("search")
        yield None if itself else self._stand_ins(model, batch_statistics)
        self._stages.begin("loss")

    def _loss(self, part: Part, threat: ThreatModel, progress: Progress) -> Loss:
        recipe, batch = self._recipe, part.batch
        noise = Noise.of(recipe.seed, batch.index, progress.epoch, _STREAM)
        batch = replace(batch, x=laid_out(batch.x, self._passes))
        with autocast(self._passes, self._device), modes.replacing(self._searching):
            loss = recipe.method.loss(self.model, batch, threat, self.state, progress, noise)
        logged = {
            "loss": loss.value.detach(),
            **{_log_name(name): value.detach() for name, value in loss.parts.items()},
        }
        return Loss(loss.value if part.share == 1.0 else loss.value * part.share, logged)


def _log_name(part: str) -> str:
    """The log's name of a part of the loss; the plain names are those of the held-out images' accuracies."""
    return f"train_{part}" if part in ("clean_accuracy", "robust_accuracy") else part
