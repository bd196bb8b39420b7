"""Steps of a throw-away copy of a training: what they cost, and what refuses them. Nothing is written."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from math import inf
from pathlib import Path

import torch
from torch import nn

from holdfast.data import Examples, ImageSet, Source, Tensors, open_split
from holdfast.processes import Processes, processes
from holdfast.recipe import Constant, Recipe
from holdfast.training.trainer import Trainer

_PLACE = 0.75  # of the training, where steps are taken: all ramps are over
_FEW = 8  # examples of a step that is taken to see whether it can be


def in_memory(data: Source) -> Source:
    """The training images, read once for several copies, as both splits; files that are streamed stay where they
    are."""
    if isinstance(data, Tensors):
        return data
    split = open_split(data, "train")
    if not isinstance(split, ImageSet):
        return data
    pair = split.images, split.labels
    return Tensors(pair, pair, split.classes, data.name)


def unwritten(recipe: Recipe, group: Processes) -> Trainer:
    """A trainer that has no folder: no file can lie in the null device, to be read or to be written."""
    return Trainer(recipe, group, Path(os.devnull), checkpoint_seconds=inf, progress=False)


def rehearse(recipe: Recipe, device: str | torch.device | None = None) -> nn.Module:
    """Take one step on a few examples, in one process, and return the network; whatever refuses or fails does it here.

    Passes are not compiled for it; those that are "auto" are better settled before.
    """
    copy = Rehearsal(replace(recipe, compile=False), processes(device))
    # Two rows at least in each part, for BatchNorm's sake.
    copy.spend(1, max(_FEW, 2 * recipe.accumulate))
    return copy.model


class Rehearsal:
    """A training whose weights hardly move, three quarters done, to be thrown away."""

    def __init__(self, recipe: Recipe, group: Processes) -> None:
        still = replace(recipe, epochs=1000, optimizer=replace(recipe.optimizer, lr=1e-9), schedule=Constant())
        self._trainer = unwritten(still, group)
        self._trainer.step = int(_PLACE * self._trainer.steps)
        self._batches = self._repeated()
        wait = partial(torch.cuda.synchronize, group.device)
        self._wait: Callable[[], None] = wait if group.device.type == "cuda" else lambda: None

    @property
    def per_epoch(self) -> int:
        """Steps."""
        return self._trainer.per_epoch

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self._trainer.learner.model

    def _repeated(self) -> Iterator[Examples]:
        for epoch in count():
            yield from self._trainer.loader.batches(epoch)

    def spend(self, steps: int, examples: int | None = None) -> tuple[float, float]:
        """Take steps on whole batches, or on their first examples; seconds on the wall's clock and the processor's."""
        self._wait()
        wall, cpu = time.perf_counter(), time.process_time()
        self.take(steps, examples)
        self._wait()
        return time.perf_counter() - wall, time.process_time() - cpu

    def take(self, steps: int, examples: int | None = None) -> None:
        """Take steps; on an accelerator they need not be over when this returns."""
        for _ in range(steps):
            x, y, index = next(self._batches)
            self._trainer.take_step(self._trainer.step // self.per_epoch, x[:examples], y[:examples], index[:examples])
