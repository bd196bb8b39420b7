"""Ordinary training: the control without an adversary."""

from dataclasses import dataclass

from torch import nn

from holdfast import losses
from holdfast.methods.base import Batch, Loss, Method, Progress, accuracy, mean
from holdfast.noise import Noise
from holdfast.threat import ThreatModel


@dataclass(frozen=True)
class Natural(Method):
    """Cross-entropy on clean inputs; 1 pass."""

    @property
    def passes(self) -> float:
        return 1.0

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        logits = losses.precise(model(batch.x))
        return Loss(mean(losses.cross_entropy(logits, batch.y)), {"clean_accuracy": accuracy(logits, batch.y)})
