"""The passes that train: with gradients of the parameters, by the model itself."""

import torch
from torch import nn

from holdfast.speed.passes import Passes
from holdfast.typing import Images


def autocast(passes: Passes, device: torch.device) -> torch.autocast:
    """The precision of the passes made within it; losses lift logits to float32 themselves."""
    return torch.autocast(device.type, torch.bfloat16, enabled=passes.precision == "bfloat16")


def adapt(model: nn.Module, passes: Passes) -> None:
    """Change a model in place so that its passes, also those with gradients of the parameters, are computed so.

    Its tensors take the memory format, and its calls go through torch.compile, which copies of it do not inherit.
    Compiled passes are compiled for each shape of batch, and cannot be differentiated twice.
    """
    if passes.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # unknown to torch's stubs
    if passes.compiled:
        model.compile(dynamic=False)


def laid_out(x: Images, passes: Passes) -> Images:
    """Inputs in the passes' memory format."""
    return x.contiguous(memory_format=torch.channels_last) if passes.channels_last and x.dim() == 4 else x
