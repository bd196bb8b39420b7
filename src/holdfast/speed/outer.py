"""The passes that train: with gradients of the parameters, by the model itself."""

from typing import Any

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
        # Not by model.compile(), whose calls begin in torch's own code: the compiler skips that, and takes each block
        # of a Sequential for a function of its own, compiled for eight shapes before it gives up. A call that
        # begins here is one graph. Copies and pickles leave it out, as they do what compile() sets.
        def call(*given: Any, **named: Any) -> Any:
            return model._call_impl(*given, **named)  # type: ignore[no-untyped-call]

        model._compiled_call_impl = torch.compile(call, dynamic=False)


def laid_out(x: Images, passes: Passes) -> Images:
    """Inputs in the passes' memory format."""
    return x.contiguous(memory_format=torch.channels_last) if passes.channels_last and x.dim() == 4 else x
