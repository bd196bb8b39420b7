"""Every loss leaves torch's global generator alone; a smooth float64 network and plain formulas to compare with."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from holdfast.methods import Batch, Loss, Method, Progress, Task
from holdfast.noise import Noise
from holdfast.threat import Linf, ThreatModel


@pytest.fixture(autouse=True)
def _world_rests(global_state_rests: None) -> None:
    pass


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    exponentials = [math.exp(z - top) for z in row]
    return [e / sum(exponentials) for e in exponentials]


@dataclass(frozen=True)
class Bench:
    """A float64 network with everything that a loss is a function of, and the losses in plain floating point."""

    model: nn.Module
    batch: Batch
    noise: Noise
    threat: ThreatModel = Linf(0.1)
    progress: Progress = Progress(fraction=0.75, epoch=3, step=75, steps=100)

    def loss(self, method: Method, threat: ThreatModel | None = None, progress: Progress | None = None) -> Loss:
        state = method.init(self.model, Task(4, 50, 6, (10,)))
        if state is not None:
            state.double()
        return method.loss(self.model, self.batch, threat or self.threat, state, progress or self.progress, self.noise)

    def value(self, method: Method, threat: ThreatModel | None = None, progress: Progress | None = None) -> float:
        return self.loss(method, threat, progress).value.item()

    def logits(self, x: Tensor) -> list[list[float]]:
        with torch.no_grad():
            return self.model(x).tolist()

    def cross_entropy(self, x: Tensor) -> float:
        """Mean of -log p_y(x)."""
        rows = zip(self.logits(x), self.batch.y.tolist(), strict=True)
        return sum(-math.log(softmax(row)[y]) for row, y in rows) / len(x)

    def kl(self, x: Tensor, other: Tensor) -> float:
        """Mean of KL(p(x) || p(other))."""
        total = 0.0
        for first, second in zip(self.logits(x), self.logits(other), strict=True):
            total += sum(p * math.log(p / q) for p, q in zip(softmax(first), softmax(second), strict=True))
        return total / len(x)

    def gradient(self, at: Tensor, value: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Gradient of the sum of a function of the logits (cross-entropy by default) towards the inputs."""
        at = at.clone().requires_grad_()
        logits = self.model(at)
        total = nn.functional.cross_entropy(logits, self.batch.y, reduction="sum") if value is None else value(logits)
        total.backward(inputs=[at])
        assert at.grad is not None
        return at.grad

    def step(self, at: Tensor, size: float, eps: float = 0.1, gradient: Tensor | None = None) -> Tensor:
        """A sign step of `size`, clipped to eps and to the box."""
        x = self.batch.x
        moved = at + size * (self.gradient(at) if gradient is None else gradient).sign()
        return torch.max(torch.min(moved, x + eps), x - eps).clamp(0.0, 1.0)


@pytest.fixture
def bench() -> Bench:
    draw = Noise.of(51, torch.tensor([0]))
    with torch.random.fork_rng(devices=[]):
        first, last = nn.Linear(10, 12, bias=False).double(), nn.Linear(12, 4, bias=False).double()
    first.weight.data = draw.fold(0).normal((12, 10))[0].double()
    last.weight.data = draw.fold(1).normal((4, 12))[0].double()
    x = Noise.of(52, torch.arange(6)).uniform((10,), -0.1, 1.1).clamp(0, 1).double()
    index = torch.arange(6) + 40
    return Bench(nn.Sequential(first, nn.Tanh(), last), Batch(x, torch.arange(6) % 4, index), Noise.of(53, index))
