"""How a law is stated and how its breach is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Laws:
    """Raises AssertionError in the name of what is being checked.

    Args:
        subject: what is checked, named in every message.
    """

    subject: str

    def require(self, holds: bool | Tensor, law: str, found: str = "") -> None:
        """The condition, or every entry of it, holds."""
        if not bool(holds if isinstance(holds, bool) else holds.all()):
            raise AssertionError(f"{self.subject} breaks a law: {law}" + (f"; {found}" if found else ""))

    def equal(self, got: Tensor, expected: Tensor, law: str, tolerance: float = 0.0) -> None:
        """Two tensors have the same shape and dtype, and no entry differs by more than `tolerance`."""
        same_kind = got.shape == expected.shape and got.dtype == expected.dtype
        self.require(same_kind, law, f"got {list(got.shape)} {got.dtype} for {list(expected.shape)} {expected.dtype}")
        if torch.equal(got, expected):
            return
        gap = (got.detach().double() - expected.detach().double()).abs().max().item()
        # A comparison with NaN is false, so that NaN breaks the law too.
        self.require(gap <= tolerance, law, f"they differ by up to {gap:.3g}, allowed is {tolerance:.3g}")

    @contextmanager
    def unmodified(self, **tensors: Tensor) -> Iterator[None]:
        """The named arguments and torch's global generator are as before when the block ends."""
        before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        generator = torch.get_rng_state()
        yield
        for name, tensor in tensors.items():
            self.equal(tensor, before[name], f"the argument {name} is not modified")
        self.require(torch.equal(generator, torch.get_rng_state()), "torch's global generator is not touched")

    @contextmanager
    def model_rests(self, model: nn.Module, buffers: bool = True) -> Iterator[None]:
        """Parameters, their `.grad`, the modules' train and eval flags and, if asked, the buffers are as before."""
        parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
        gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
        flags = {name: module.training for name, module in model.named_modules()}
        needed = {name: p.requires_grad for name, p in model.named_parameters()}
        kept = {name: b.clone() for name, b in model.named_buffers()} if buffers else {}
        yield
        for name, parameter in model.named_parameters():
            self.equal(parameter, parameters[name], f"the parameter {name} keeps its value")
            self.require(parameter.requires_grad == needed[name], f"the parameter {name} keeps its requires_grad")
            before, now = gradients[name], parameter.grad
            same = now is None if before is None else now is not None and torch.equal(now, before)
            self.require(same, f"the parameter {name} keeps its .grad", "a pass of the search wrote to it")
        for name, module in model.named_modules():
            self.require(
                module.training == flags[name],
                "every module keeps its mode",
                f"{name or 'the model'} was {'train' if flags[name] else 'eval'} and is no longer",
            )
        for name, buffer in model.named_buffers():
            if name in kept:
                self.equal(buffer, kept[name], f"the buffer {name} (running statistics) keeps its value")
