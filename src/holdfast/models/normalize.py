"""Normalisation as a layer, so that a model takes inputs in [0, 1] and its checkpoint holds its own statistics."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from holdfast.errors import InvalidInput
from holdfast.typing import Images


def check_statistics(mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse statistics that cannot normalise.

    Raises:
        InvalidInput: the lengths differ, a value is not finite, or a standard deviation is not positive.
    """
    if len(mean) != len(std):
        raise InvalidInput(
            f"mean has {len(mean)} values and std has {len(std)}; give one of each for every channel, or none of either"
        )
    for name, values in (("mean", mean), ("std", std)):
        for channel, value in enumerate(values):
            if not math.isfinite(value):
                raise InvalidInput(f"{name}[{channel}] is {value}; give a finite number")
    for channel, value in enumerate(std):
        if value <= 0.0:
            raise InvalidInput(f"std[{channel}] is {value}, but inputs are divided by it; give a number above 0")


class Normalize(nn.Module):
    """(x - mean) / std, channel by channel; mean and std are buffers and travel in the checkpoint.

    Args:
        mean: one value a channel (dimension 1 of the input), in the unit of inputs in [0, 1].
        std: as many, all above 0.

    Raises:
        InvalidInput: as `check_statistics`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        check_statistics(mean, std)
        self.register_buffer("mean", torch.tensor(tuple(mean), dtype=torch.float32))
        self.register_buffer("std", torch.tensor(tuple(std), dtype=torch.float32))

    def forward(self, x: Images) -> Images:
        """[B, C, ...] in [0, 1] -> the same shape, normalised."""
        channel = (1, -1) + (1,) * (x.dim() - 2)
        return (x - self.mean.view(channel)) / self.std.view(channel)

    def extra_repr(self) -> str:
        """The statistics, for print(model)."""
        return f"mean={self.mean.tolist()}, std={self.std.tolist()}"


def normalized(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Put a `Normalize` named `normalize` before `network`; without statistics, `network` as it is.

    The layers of an `nn.Sequential` keep their names; any other module becomes the layer `network`.
    """
    if not mean and not std:
        return network
    layers = network.named_children() if type(network) is nn.Sequential else [("network", network)]
    return nn.Sequential(OrderedDict([("normalize", Normalize(mean, std)), *layers]))
