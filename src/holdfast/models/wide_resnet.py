"""WideResNet, the network of the strongest published results on CIFAR."""

import math
from dataclasses import dataclass

from torch import nn

from holdfast.errors import InvalidInput
from holdfast.models.architecture import Activated
from holdfast.models.residual import residual_layers


@dataclass(frozen=True)
class WideResNet(Activated):
    """Three stages of (depth - 4) / 6 pre-activation blocks, `widen` times as wide as a ResNet's.

    Source: Zagoruyko and Komodakis 2016 (arXiv:1605.07146) as in yaodongyu/TRADES at 9ee26f4, models/wideresnet.py:
    He-normal convolutions by their fan-out, and a zero bias of the last layer. Deviations: no `sub_block1`, which that
    file builds and never uses (so WideResNet-34-10 has 46,160,474 parameters for 10 classes); the average is over the
    whole last map, so that images of any size are taken.

    Features for hooks: `layer1` to `layer3` (maps), `flatten` ([B, 64 * widen], before the logits `fc`).

    Args:
        depth: number of layers, 6n + 4.
        widen: factor on the channels 16, 32, 64 of the stages.
        dropout: probability between the two convolutions of a block.
    """

    depth: int = 28
    widen: int = 10
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 10 or self.depth % 6 != 4:
            raise InvalidInput(f"depth of a WideResNet is 6n + 4, but it is {self.depth}; give 10, 16, 22, 28, 34, ...")
        self._need_at_least("widen", 1)
        self._need_dropout(self.dropout)

    @property
    def label(self) -> str:
        return f"wide_resnet{self.depth}_{self.widen}"

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        self._need_images(shape)
        widths = (16 * self.widen, 32 * self.widen, 64 * self.widen)
        blocks = (self.depth - 4) // 6
        network = nn.Sequential(residual_layers(shape, 16, widths, blocks, classes, self.activation, self.dropout))
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=math.sqrt(2.0 / (layer.kernel_size[0] ** 2 * layer.out_channels)))
            elif isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)
        return network
