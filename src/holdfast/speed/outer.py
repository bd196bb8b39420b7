"""The passes that train: with gradients of the parameters, by the model itself."""

import torch
from torch import nn

from holdfast.speed.passes import Passes


def autocast(passes: Passes, device: torch.device) -> torch.autocast:
    """The precision of the passes made within it; losses lift logits to float32 themselves."""
    return torch.autocast(device.type, torch.bfloat16, enabled=passes.precision == "bfloat16")


def outer_passes(model: nn.Module, passes: Passes) -> nn.Module:
    """What to call for the model's outer passes: itself, or a compiled front of it that shares its parameters.

    The model's own tensors take the memory format. Compiled passes are compiled for each shape of batch, and cannot be
    differentiated twice.
    """
    if passes.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # unknown to torch's stubs
    if not passes.compiled:
        return model
    front = torch.compile(model, dynamic=False)
    assert isinstance(front, nn.Module)
    return front
