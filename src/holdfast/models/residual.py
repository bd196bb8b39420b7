"""The pre-activation residual block that PreAct ResNet and WideResNet share, and stages of such blocks."""

from collections import OrderedDict

from torch import Tensor, nn

from holdfast.models.architecture import ACTIVATIONS
from holdfast.typing import Images


class PreActBlock(nn.Module):
    """bn1, activation, conv1, bn2, activation, (dropout), conv2; then the shortcut is added.

    Where the shape changes, the shortcut is a 1x1 convolution of the first activation's output; elsewhere it is the
    block's own input. This is the block of He et al. 2016 (arXiv:1603.05027) as both reference codes write it.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.activation1 = ACTIVATIONS[activation]()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.activation2 = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Images) -> Images:
        """[B, inputs, H, W] -> [B, outputs, ceil(H / stride), ceil(W / stride)]."""
        activated = self.activation1(self.bn1(x))
        residual: Tensor = self.conv1(activated)
        residual = self.conv2(self.dropout(self.activation2(self.bn2(residual))))
        return residual + (x if self.shortcut is None else self.shortcut(activated))


def residual_layers(
    shape: tuple[int, ...],
    stem: int,
    widths: tuple[int, ...],
    blocks: int,
    classes: int,
    activation: str,
    dropout: float,
) -> OrderedDict[str, nn.Module]:
    """conv1 (3x3), stages layer1, layer2, ... of `blocks` blocks, bn, activation, pool, flatten, fc.

    Args:
        shape: (C, H, W) of an example.
        stem: channels after conv1.
        widths: channels of each stage; every stage but the first halves the image.
        blocks: blocks a stage.
        classes: number of logits.
        activation: a key of `ACTIVATIONS`.
        dropout: probability inside the blocks.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(shape[0], stem, 3, padding=1, bias=False))
    inputs = stem
    for number, width in enumerate(widths, start=1):
        stage = nn.Sequential()
        for block in range(blocks):
            stride = 2 if number > 1 and block == 0 else 1
            stage.append(PreActBlock(inputs, width, stride, activation, dropout))
            inputs = width
        layers[f"layer{number}"] = stage
    layers["bn"] = nn.BatchNorm2d(inputs)
    layers["activation"] = ACTIVATIONS[activation]()
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(inputs, classes)
    return layers
