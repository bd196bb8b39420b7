"""The inputs, models and meters that the checks use."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Images, Labels, Logits

CLASSES = 5


class RowExact(nn.Module):
    """A smooth two-layer network whose logits of a row have the same bits in any batch.

    Matrix products round differently for different batch sizes, and the sign of a gradient near 0 makes a step out of
    that; sums over a row do not.
    """

    def __init__(self, shape: Sequence[int], hidden: int = 16) -> None:
        super().__init__()
        features = math.prod(shape)
        draw = Noise.of(17, torch.tensor([0]))
        self.first = nn.Parameter(draw.fold(0).normal((hidden, features))[0] * (4.0 / features) ** 0.5)
        self.bias = nn.Parameter(draw.fold(1).normal((hidden,))[0])
        self.last = nn.Parameter(draw.fold(2).normal((CLASSES, hidden))[0])

    def forward(self, x: Images) -> Logits:
        hidden = ((x.flatten(1) - 0.5)[:, None, :] * self.first).sum(dim=2).add(self.bias).tanh()
        return (hidden[:, None, :] * self.last).sum(dim=2)


def batch_norm_network(shape: Sequence[int], hidden: int = 16) -> nn.Module:
    """A smooth two-layer network with BatchNorm, in train mode; torch's global generator is left alone."""
    features = math.prod(shape)
    with torch.random.fork_rng(devices=[]):
        first, last = nn.Linear(features, hidden, bias=False), nn.Linear(hidden, CLASSES, bias=False)
    draw = Noise.of(18, torch.tensor([0]))
    first.weight.data = draw.fold(0).normal((hidden, features))[0] * (4.0 / features) ** 0.5
    last.weight.data = draw.fold(1).normal((CLASSES, hidden))[0]
    return nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(hidden), nn.Softplus(), last)


def norms(model: nn.Module) -> list[nn.BatchNorm1d]:
    """Its BatchNorm layers."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]


def inputs(threat: ThreatModel, count: int, shape: Sequence[int], seed: int = 19) -> Images:
    """[count, *shape] float32 in the threat model's box, a quarter of the entries on its faces, whole rows in two of
    its corners."""
    x = Noise.of(seed, torch.arange(count)).uniform(shape, -0.15, 1.15).clamp_(0.0, 1.0)
    x[0], x[1] = 0.0, 1.0
    return (threat.low + (threat.high - threat.low) * x).clamp_(threat.low, threat.high)


def labelled(model: nn.Module, x: Images) -> tuple[Labels, int]:
    """Labels for which the model is right, but wrong in the last two rows, and the number of classes."""
    with torch.no_grad():
        logits: Logits = model(x)
    y, classes = logits.argmax(dim=1), logits.shape[1]
    y[-2:] = (y[-2:] + 1) % classes
    return y, classes


@dataclass
class Meter:
    """What a model was asked while a `metered` block ran, and which answers were differentiated, then or later.

    Attributes:
        asked: inputs of the forward passes, in order.
        moving: BatchNorm's running statistics followed these passes.
        backward_rows: examples that passed backwards.
        double_rows: examples whose backward pass was itself passed backwards, towards the weights and the gradients in
            it.
        reached: positions in `asked` of the passes that a backward pass went through.
        learned: those of them whose backward pass gave gradients of the model's parameters, while the block ran.
    """

    asked: list[Images] = field(default_factory=list)
    moving: list[bool] = field(default_factory=list)
    backward_rows: int = 0
    double_rows: int = 0
    reached: set[int] = field(default_factory=set)
    learned: set[int] = field(default_factory=set)
    latest: int = -1

    @property
    def forward_rows(self) -> int:
        """Examples that passed forwards."""
        return sum(map(len, self.asked))

    def passes(self, batch: int) -> float:
        """Forward and backward passes of a batch; a forward pass alone counts 1/3, and going backwards through a
        backward pass as much as that one."""
        return (self.forward_rows + 2.0 * (self.backward_rows + self.double_rows)) / (3.0 * batch)


class _CountBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, meter: Meter, position: int) -> Tensor:
        ctx.meter, ctx.position = meter, position
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ctx.meter.backward_rows += len(gradients[0])
        ctx.meter.reached.add(ctx.position)
        ctx.meter.latest = ctx.position
        return gradients[0], None, None


class _WatchGradient(torch.autograd.Function):
    """At the model's input, where its backward passes end."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, meter: Meter) -> Tensor:
        ctx.meter = meter
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # A pass that is not recorded cannot be differentiated.
        if not torch.is_grad_enabled():
            return gradients[0], None
        watched: Tensor = _CountDouble.apply(gradients[0], ctx.meter)  # type: ignore[no-untyped-call]
        return watched, None


class _CountDouble(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, meter: Meter) -> Tensor:
        ctx.meter = meter
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.meter.double_rows += len(gradients[0])
        return gradients[0], None


@contextmanager
def metered(model: nn.Module) -> Iterator[Meter]:
    """Count the passes of `model`; backward passes through its answers count even after the block."""
    meter = Meter()

    def watch(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not (arguments[0].requires_grad and torch.is_grad_enabled()):
            return None
        watched: Tensor = _WatchGradient.apply(arguments[0], meter)  # type: ignore[no-untyped-call]
        return (watched, *arguments[1:])

    def count(module: nn.Module, arguments: tuple[Tensor, ...], logits: Tensor) -> Tensor:
        meter.asked.append(arguments[0].detach().clone())
        meter.moving.append(any(norm.training and norm.track_running_stats for norm in norms(model)))
        counted: Tensor = _CountBackward.apply(logits, meter, len(meter.asked) - 1)  # type: ignore[no-untyped-call]
        return counted

    def learn(gradient: Tensor) -> None:
        meter.learned.add(meter.latest)

    hooks = [model.register_forward_pre_hook(watch), model.register_forward_hook(count)]
    # torch has no types for this.
    hooks += [parameter.register_hook(learn) for parameter in model.parameters()]  # type: ignore[no-untyped-call]
    try:
        yield meter
    finally:
        for hook in hooks:
            hook.remove()
