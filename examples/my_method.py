"""A training method of your own, and the recipe that trains with it.

holdfast train examples/my_method.py:my_recipe --out runs/mine
holdfast train examples/my_method.py:SmoothedADV --data mnist --set method.smoothing=0.2
"""

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import nn

from holdfast.attacks import PGD
from holdfast.methods import Batch, Loss, Method, Progress
from holdfast.methods.base import accuracy, search
from holdfast.noise import Noise
from holdfast.recipe import Recipe
from holdfast.recipes import recipe
from holdfast.threat import ThreatModel


@dataclass(frozen=True)
class SmoothedADV(Method):
    """Adversarial training with label smoothing: a frozen dataclass of numbers with a loss."""

    inner: PGD = PGD(steps=2, step_size=0.75)  # step sizes are in units of eps
    smoothing: float = 0.1

    @property
    def passes(self) -> float:
        return self.inner.budget + 1.0

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        x_adv = search(self.inner, threat, model, batch, noise, batch_statistics=True)
        logits = model(x_adv).float()
        value = F.cross_entropy(logits, batch.y, label_smoothing=self.smoothing)
        return Loss(value, {"adversary_accuracy": accuracy(logits, batch.y)})


def my_recipe() -> Recipe:
    """Everything else as in the recipe of PGD training on digits."""
    return replace(recipe("digits", "pgd_at"), method=SmoothedADV(smoothing=0.05), sources={"method": "my own idea"})
