"""YOPO: you only propagate once (Zhang, Zhang, Lu, Zhu and Dong, NeurIPS 2019, arXiv:1905.00877, Algorithm 1; YOPO
b8ae668)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast import losses, modes
from holdfast.attacks import PGD, From, Gaussian, Query, run
from holdfast.errors import InvalidInput
from holdfast.methods.base import Batch, Loss, Method, Progress, Task, accuracy, mean
from holdfast.methods.trades import trades_loss
from holdfast.noise import Noise
from holdfast.threat import ThreatModel
from holdfast.typing import Images, Logits, PerExample

# What may belong to the first layer after its weights: it acts on each number alone.
_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Identity),
)


@dataclass(frozen=True)
class YOPO(Method):
    """m whole passes, each at an adversary that n cheap steps through the first layer have moved; m passes.

    m times: CE at x_adv is propagated back once, which gives the weights' gradients and the adjoint p, the gradient
    towards the first layer's output. Then x_adv takes n steps up <f_1(x_adv), p>, f_1 being the first layer and all
    that comes before it, and the gradient of that product at the last point is added to f_1's weights. The step's
    gradient is the sum over the m passes (so the source divides its learning rate by m), and so is the loss's value; it
    is known when `loss` returns, and differentiating the value hands it out.

    As in the released code the first layer's weights get both gradients (the lines that took the first one away are
    commented out or without effect there). Deviation: the start is clipped to the box before the first pass too.

    `passes` leaves out the first layer's own, m (n + 1) of them: what they cost is the network's affair, which `passes`
    does not know, and their share of the multiply-adds does not tell it either. In natural steps (one CPU thread,
    float32) a step of YOPO-5-3 took 5.9 on PreActResNet18 of width 16, whose first layer does 1.3 % of them, but 17.5
    on WongCNN, whose does 8 %: gradients towards one channel, at the greatest resolution, are slow. So compare it at a
    budget of passes on deep networks, and of seconds on small ones.

    The first layer is the first module with weights and an activation right behind it; it is found in any network in
    which modules lead from the input to it.

    Args:
        outer: m, whole passes a step.
        inner: the steps through the first layer: n = steps, of 2/255 at eps 8/255. Its criterion is replaced.

    Raises:
        InvalidInput: outer below 1; from `init`, a network whose first layer is not to be found.
    """

    outer: int = 5
    inner: PGD = PGD(steps=3, step_size=0.25)

    def __post_init__(self) -> None:
        if self.outer < 1:
            raise InvalidInput(f"outer is {self.outer}, but a step takes at least one whole pass; the paper takes 5")

    @property
    def passes(self) -> float:
        return float(self.outer)

    @property
    def search_passes(self) -> float:
        return 0.0

    @property
    def compilable(self) -> bool:
        return False

    def init(self, model: nn.Module, task: Task) -> None:
        """Refuse a network whose first layer is not to be found, before the first step."""
        device = next((parameter.device for parameter in model.parameters()), None)
        x = torch.zeros(1, *task.shape, device=device)
        with modes.inference(model), torch.no_grad(), _recorded(model) as calls:
            model(x)
        first = _first_layer(model, x, calls)
        before = [call.given for call in calls[: len(first.modules)]]
        for call in calls[len(first.modules) :]:
            if any(call.given is tensor for tensor in before):
                raise _not_found(model, f"the input reaches a {type(call.module).__name__} past the first layer")

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        x, y = batch.x, batch.y
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients: list[Tensor | None] = [None] * len(weights)
        total = torch.zeros((), device=x.device)
        x_adv = self.inner.constrain(threat, x, self.inner.initial(threat, x, noise))
        for _ in range(self.outer):
            with _recorded(model) as calls:
                logits = losses.precise(model(x_adv))
            first = _first_layer(model, x_adv, calls)
            value = mean(losses.cross_entropy(logits, y))
            adjoint, *found = torch.autograd.grad(value, [first.output, *weights], allow_unused=True)
            climbed = _Product(adjoint.flatten(1))
            x_adv = self._climb(climbed, first, threat, batch, x_adv, noise)
            product = climbed.of(losses.precise(first(x_adv))).sum()
            again = torch.autograd.grad(product, weights, allow_unused=True)
            gradients = [_sum(*three) for three in zip(gradients, found, again, strict=True)]
            total = total + value.detach()
        value = _Known.apply(total, gradients, *weights)  # type: ignore[no-untyped-call]
        return Loss(value, {"adversary_accuracy": accuracy(logits, y)})

    def _climb(
        self, climbed: "_Product", first: "_FirstLayer", threat: ThreatModel, batch: Batch, x_adv: Images, noise: Noise
    ) -> Images:
        """The cheap steps from x_adv."""
        inner = replace(self.inner, initial=From(x_adv), criterion=climbed)
        return run(inner, threat, first, batch.x, batch.y, noise).x_adv


@dataclass(frozen=True)
class TRADESYOPO(YOPO):
    """TRADES-YOPO: TRADES whose search moves by the first layer; m + 2 1/3 passes (directory CIFAR10-TRADES, 2-5, 3-4).

    m times the adjoint of KL(p(x) || p(x_adv)) is propagated back, in eval mode and to the first layer's output alone,
    and n cheap steps follow. The search gives the weights no gradient; the outer loss is CE(x) + beta * KL(p(x) ||
    p(x_adv)), as in TRADES.

    Args:
        beta: weight of the divergence, at least 0; 1 in the reference code.

    Raises:
        InvalidInput: beta below 0.
    """

    outer: int = 3
    inner: PGD = PGD(steps=4, step_size=0.007 / 0.031, initial=Gaussian(0.001))
    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta < 0:
            raise InvalidInput(f"beta is {self.beta}, but a weight is at least 0; the reference code takes 1")

    @property
    def passes(self) -> float:
        return self.outer + 2.0 + 1.0 / 3.0

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        x_adv = self.inner.initial(threat, batch.x, noise)
        with modes.inference(model):
            with torch.no_grad():
                reference = losses.precise(model(batch.x))
            for _ in range(self.outer):
                with _recorded(model) as calls:
                    logits = losses.precise(model(x_adv))
                first = _first_layer(model, x_adv, calls)
                (adjoint,) = torch.autograd.grad(losses.kl(reference, logits).sum(), first.output)
                x_adv = self._climb(_Product(adjoint.flatten(1)), first, threat, batch, x_adv, noise)
        return trades_loss(model, batch, x_adv, self.beta)


def _sum(*gradients: Tensor | None) -> Tensor | None:
    there = [gradient for gradient in gradients if gradient is not None]
    return torch.stack(there).sum(dim=0) if there else None


class _Known(torch.autograd.Function):
    """A value whose gradients towards the weights are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor | None], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        known = (None if gradient is None else gradient * upstream for gradient in ctx.gradients)
        return (None, None, *known)


@dataclass(frozen=True)
class _Product:
    """<f_1(x_adv), p>, minus the Hamiltonian of the paper.

    Args:
        adjoint: [B, features] p.
    """

    adjoint: Tensor

    def __call__(self, logits: Logits, query: Query) -> PerExample:
        return self.of(logits)

    def of(self, output: Tensor) -> PerExample:
        return (output * self.adjoint.to(output.dtype)).sum(dim=1)


class _Call(NamedTuple):
    """A module that has no parts was asked."""

    module: nn.Module
    given: Tensor
    output: Tensor


@dataclass(frozen=True)
class _FirstLayer:
    """What leads from the input to the first layer's output."""

    modules: list[nn.Module]
    output: Tensor

    def __call__(self, x: Images) -> Tensor:
        """[B, features]"""
        for module in self.modules:
            x = module(x)
        return x.flatten(1)


@contextmanager
def _recorded(model: nn.Module) -> Iterator[list[_Call]]:
    """The calls of the model's modules without parts, in their order."""
    calls: list[_Call] = []

    def record(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if arguments and isinstance(arguments[0], Tensor) and isinstance(output, Tensor):
            calls.append(_Call(module, arguments[0], output))

    hooks = [module.register_forward_hook(record) for module in model.modules() if not any(module.children())]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _first_layer(model: nn.Module, x: Images, calls: list[_Call]) -> _FirstLayer:
    """Follow the input from module to module up to the first one with weights."""
    modules: list[nn.Module] = []
    at, weighted = x, False
    for module, given, output in calls:
        if module is model or (weighted and not (given is at and isinstance(module, _ACTIVATIONS))):
            break
        if given is not at:
            raise _not_found(model, f"what {type(module).__name__} is given does not come out of a module")
        if isinstance(module, _BatchNorm):
            raise _not_found(model, "a BatchNorm comes before it, which couples the examples of a batch")
        modules.append(module)
        if weighted:
            return _FirstLayer(modules, output)
        at, weighted = output, any(True for _ in module.parameters())
    if not weighted:
        raise _not_found(model, "no module with weights lies within it")
    return _FirstLayer(modules, at)


def _not_found(model: nn.Module, why: str) -> InvalidInput:
    return InvalidInput(
        f"YOPO cannot find the first layer of {type(model).__name__}: {why}. Modules such as nn.Flatten and "
        "holdfast.models.Normalize must lead from the input to it, and to nothing else; or take another method"
    )
