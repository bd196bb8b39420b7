"""Attacks of other libraries, as functions on batches."""

import hashlib
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from holdfast import modes
from holdfast.attacks.base import State
from holdfast.attacks.whole import Whole
from holdfast.errors import InvalidInput
from holdfast.noise import Noise, stream_seed
from holdfast.threat import ThreatModel
from holdfast.typing import Classifier, Images, Labels, Logits

Function = Callable[[nn.Module, Images, Labels, float], Images]


@dataclass(frozen=True)
class External(Whole):
    """A function (model, x, y, eps) -> x_adv on batches; its candidates are judged like any other's.

        def linf_pgd(model, x, y, eps):  # Foolbox
            bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
            return foolbox.attacks.LinfPGD(steps=20)(bounded, x, y, epsilons=eps)[1]

        def autoattack_square(model, x, y, eps):  # torchattacks
            return torchattacks.Square(model, eps=eps, n_queries=1000)(x, y)

        def minimum(model, x, y, eps):  # adversarial-library
            return adv_lib.attacks.fmn(model, x, y, norm=2, steps=100)

        External(linf_pgd, "foolbox-pgd")

    What foreign code does to the world is undone: the model is lent in eval mode with parameters that take no gradient
    (`loss.backward()` then costs less and leaves nothing in `.grad`), its modes, flags, gradients and buffers are put
    back, x and y are copies, and the global generators of torch, numpy and Python are seeded from the rows' noise for
    the call and restored after it. A candidate outside the ball is projected, since minimum-distance attacks know no
    eps; one outside the box is refused, since it tells that the attack has other bounds.

    Args:
        function: called once for all rows of a batch, its settings written in its body, by which the record tells one
            version of it from another. `model` is a module, inputs in the threat model's box to logits.
        label: the attack's name in tables.
        gradient_free: it never asks the model for a gradient; where it breaks what gradient attacks left, the evaluator
            then says so.
        alone: call it for each row by itself. Slow; but a function that draws random numbers, or that looks at the
            whole batch, otherwise gives verdicts that depend on which examples share a batch.

    Attributes:
        source: fingerprint of the function's source text, "" where there is none to be had.

    Raises:
        InvalidInput: no label; or, from a step, a result of another shape, not finite, or outside the box.
    """

    function: Function = field(repr=False, compare=False)
    label: str
    gradient_free: bool = False
    alone: bool = False
    source: str = field(init=False, default="")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.label:
            raise InvalidInput("an external attack needs a label, its name in tables, e.g. 'foolbox-pgd'")
        try:
            text = inspect.getsource(self.function)
        except (OSError, TypeError):
            return
        object.__setattr__(self, "source", hashlib.sha256(text.encode()).hexdigest()[:16])

    @property
    def name(self) -> str:
        return f"{self.label}x{self.restarts}" if self.restarts > 1 else self.label

    @property
    def passes(self) -> None:
        return None

    def search(self, threat: ThreatModel, model: Classifier, state: State) -> Images:
        everyone = torch.arange(len(state.y), device=state.y.device)
        groups = everyone[:, None] if self.alone else everyone[None]
        with _lent(model) as module, torch.enable_grad():
            return torch.cat([self._call(threat, module, state.select(group)) for group in groups])

    def _call(self, threat: ThreatModel, module: nn.Module, state: State) -> Images:
        with _seeded(state.noise, state.x.device):
            found = self.function(module, state.x.clone(), state.y.clone(), threat.eps)
        if not isinstance(found, Tensor) or found.shape != state.x.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InvalidInput(f"attack {self.name!r} returned {shape}; it must return x_adv, {tuple(state.x.shape)}")
        found = found.detach().to(state.x)
        low, high = (value.item() for value in torch.aminmax(found))
        slack = 1e-4 * (threat.high - threat.low)
        if not (low >= threat.low - slack and high <= threat.high + slack):  # NaN is refused too
            raise InvalidInput(
                f"attack {self.name!r} returned values in [{low:.6g}, {high:.6g}], outside the threat model's box "
                f"[{threat.low:g}, {threat.high:g}]; give it these bounds, and no preprocessing of its own"
            )
        return threat.project(state.x, found)


class _Lent(nn.Module):
    """A classifier as foreign code wants it: a module that has the parameters of what it stands for."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        if not isinstance(classifier, nn.Module):
            # An evaluator's model is a plain callable that counts passes and holds the module.
            self.held = getattr(classifier, "model", None)

    def forward(self, x: Images) -> Logits:
        return self.classifier(x)


@contextmanager
def _lent(classifier: Classifier) -> Iterator[nn.Module]:
    """The classifier as a module, for use by others; afterwards it is as it was."""
    module = _Lent(classifier)
    parameters = [(p, p.requires_grad, p.grad) for p in module.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with modes.inference(module):
        try:
            for parameter, _, _ in parameters:
                parameter.requires_grad_(False)
                parameter.grad = None
            yield module
        finally:
            for parameter, needed, gradient in parameters:
                parameter.requires_grad_(needed)
                parameter.grad = gradient
            with torch.no_grad():
                for buffer, kept in buffers:
                    buffer.copy_(kept)


@contextmanager
def _seeded(noise: Noise, device: torch.device) -> Iterator[None]:
    """Global generators as a function of the rows' noise, and as they were afterwards."""
    seed = stream_seed(*noise.keys.tolist())
    plain, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # torch.manual_seed would reseed all accelerators, of which only one is brought back to where it was.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numbers)  # noqa: NPY002
