"""The statistics of one batch, lent to another: points that are to be compared must be normalised alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Statistics = dict[_BatchNorm, list[tuple[Tensor, Tensor]]]  # mean and biased variance [C] of each call in a pass


@contextmanager
def noting(model: nn.Module) -> Iterator[Statistics]:
    """Note what the BatchNorm layers in train mode normalise by in the one pass inside, with its graph."""
    noted: Statistics = {}

    def note(layer: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        dimensions = [0, *range(2, x.dim())]
        noted.setdefault(layer, []).append((x.mean(dimensions), x.var(dimensions, correction=0)))

    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield noted
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def reusing(statistics: Statistics) -> Iterator[None]:
    """Normalise by noted statistics in all passes inside, in the order of each layer's calls; running averages rest.

    Gradients flow into the statistics, as far as these have a graph.
    """
    try:
        for layer, calls in statistics.items():
            # In place of the layer's own pass, not after it: that would normalise twice.
            setattr(layer, "forward", _normaliser(layer, calls))  # noqa: B010 (mypy knows no assignment to a method)
        yield
    finally:
        for layer in statistics:
            del layer.__dict__["forward"]


def _normaliser(layer: _BatchNorm, calls: list[tuple[Tensor, Tensor]]) -> Callable[[Tensor], Tensor]:
    turns = cycle(calls)

    def normalise(x: Tensor) -> Tensor:
        mean, variance = next(turns)
        scale = (variance + layer.eps).rsqrt()
        if layer.affine:
            scale = scale * layer.weight
        shift = layer.bias - mean * scale if layer.affine else -mean * scale
        channel = (1, -1) + (1,) * (x.dim() - 2)
        return torch.addcmul(shift.view(channel), x, scale.view(channel))

    return normalise
