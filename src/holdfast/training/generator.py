"""torch's global generator inside a step: a function of the step, and afterwards as if nothing had happened."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from holdfast.methods import Method, Wrapper
from holdfast.noise import stream_seed

_RANDOM = (
    *(_DropoutNd, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d),
    # These may drop at random, by an option.
    *(nn.MultiheadAttention, nn.Transformer, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.RNNBase),
)


@contextmanager
def seeded(device: torch.device, *stream: int) -> Iterator[None]:
    """Seed the global generators of the CPU and of `device` from `stream`, and restore them at the end."""
    accelerators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=accelerators):
        seed = stream_seed(*stream)
        # One by one, because torch.manual_seed would seed every accelerator of the machine.
        torch.default_generator.manual_seed(seed)
        for accelerator in accelerators:
            with torch.cuda.device(accelerator):
                torch.cuda.manual_seed(seed)
        yield


def draws(model: nn.Module, method: Method) -> bool:
    """Whether a step may draw from torch's global generator.

    Layers of torch and of Holdfast are known; of a user's own class it is assumed. Where the answer is no, steps are
    spared the seeding (some 50 microseconds).
    """
    while isinstance(method, Wrapper) and type(method).__module__.startswith("holdfast."):
        method = method.method
    return not type(method).__module__.startswith("holdfast.") or any(_random(module) for module in model.modules())


def _random(module: nn.Module) -> bool:
    if isinstance(module, _RANDOM):
        return not (isinstance(module, _DropoutNd) and module.p == 0.0)
    return not type(module).__module__.startswith(("torch.nn.", "holdfast.models."))
