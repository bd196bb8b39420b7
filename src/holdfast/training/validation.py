"""Accuracies on the held-out part, clean and under a short attack."""

from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from holdfast import modes
from holdfast.attacks import run
from holdfast.data import ImageSet, ordered_batches
from holdfast.noise import Noise
from holdfast.processes import Processes
from holdfast.recipe import Recipe
from holdfast.speed import PLAIN, Passes, StandIns
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels, Mask

_STREAM = 0x68656C64  # keeps this noise apart from everything else that the seed decides


@dataclass(frozen=True)
class Accuracies:
    """Shares of the held-out images that are classified rightly: as they are, and under the recipe's short attack."""

    clean_accuracy: float
    robust_accuracy: float


class Validation:
    """Measures a model on the held-out part, shared out over the processes.

    The attack's random numbers are the same at each call, so that a change between epochs is the model's. It searches
    by the run's passes; verdicts are float32. These numbers steer a training: `holdfast evaluate` measures it.

    Args:
        recipe: its `validation` attack, seed and batch size are used.
        held_out: the images.
        processes: who shares the work.
        passes: of the search.
    """

    def __init__(self, recipe: Recipe, held_out: ImageSet, processes: Processes, passes: Passes = PLAIN) -> None:
        self._recipe = recipe
        self._passes = passes
        self._processes = processes
        self._total = len(held_out)
        self._batch_size = max(1, recipe.batch_size // (processes.world * recipe.accumulate))
        mine = torch.arange(self._total)[processes.rank :: processes.world]
        # More processes than held-out images leave some without work.
        self._mine = held_out.subset(mine) if len(mine) else None

    def __call__(self, model: nn.Module, threat: ThreatModel) -> Accuracies:
        """Measure `model`, each module's mode restored afterwards, against `threat`."""
        device = self._processes.device
        right = torch.zeros(2, dtype=torch.int64, device=device)
        # Never compiled: the number of rows that stand changes all the time, and with it the shape.
        search = StandIns(model, replace(self._passes, compiled=False))(model, False) or model
        model = deepcopy(model) if self._passes.compiled else model
        with modes.inference(model):
            for x, y, position in ordered_batches(self._mine, self._batch_size, device) if self._mine else ():
                index = position * self._processes.world + self._processes.rank
                clean = _right(model, x, y)
                right[0] += clean.sum()
                right[1] += self._survivors(search, model, threat, x[clean], y[clean], index[clean])
        clean_count, robust_count = self._processes.sum(right).tolist()
        return Accuracies(clean_count / self._total, robust_count / self._total)

    def _survivors(
        self, search: Classifier, model: nn.Module, threat: ThreatModel, x: Images, y: Labels, index: Tensor
    ) -> int:
        """How many of the rows stay right under every restart of the attack."""
        attack = self._recipe.validation
        for restart in range(attack.restarts):
            if len(y) == 0:
                break
            noise = Noise.of(self._recipe.seed, index, _STREAM, restart)
            x_adv = run(attack, threat, search, x, y, noise).x_adv
            stands = _right(model, x_adv, y)
            x, y, index = x[stands], y[stands], index[stands]
        return len(y)


@torch.no_grad()
def _right(model: nn.Module, x: Images, y: Labels) -> Mask:
    right: Mask = model(x).argmax(dim=1) == y
    return right
