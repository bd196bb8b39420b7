"""The only place that touches train and eval flags."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Put every module of `model` in eval mode, and give each its own flag back afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def searching(model: nn.Module, batch_statistics: bool) -> Iterator[None]:
    """The modes of an inner search: eval everywhere, so that dropout is off and running statistics rest.

    With `batch_statistics` the BatchNorm layers that are in train mode normalise by the batch at hand instead, as
    methods do whose reference code attacks in train mode, but without moving their running averages (the reference
    codes move them in every attack pass; this is the one deviation that all our methods share). Layers that the caller
    froze in eval mode keep their running statistics.
    """
    normalising = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    with inference(model):
        if not batch_statistics:
            yield
            return
        try:
            for layer in normalising:
                # With track_running_stats off, a layer in train mode neither reads nor moves its buffers.
                layer.track_running_stats = False
                layer.training = True
            yield
        finally:
            for layer in normalising:
                layer.track_running_stats = True
