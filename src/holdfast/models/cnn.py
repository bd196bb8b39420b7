"""The small convolutional networks of the MNIST experiments, for any number of channels and any image size."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from holdfast.models.architecture import Activated


@dataclass(frozen=True)
class WongCNN(Activated):
    """Two 4x4 convolutions of stride 2 (16 and 32 channels) and a hidden layer of 100.

    Source: Wong, Rice, Kolter 2020 (arXiv:2001.03994), code locuslab/fast_adversarial, MNIST/mnist_net.py; torch's
    default initialisation, as there. Takes images of at least 4 x 4 pixels, so scikit-learn's digits too.
    """

    @property
    def label(self) -> str:
        return "wong_cnn"

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        self._need_images(shape, least=4)
        channels, height, width = shape
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, 16, 4, stride=2, padding=1),
                activation1=self._activation(),
                conv2=nn.Conv2d(16, 32, 4, stride=2, padding=1),
                activation2=self._activation(),
                flatten=nn.Flatten(),
                fc1=nn.Linear(32 * (height // 4) * (width // 4), 100),
                activation3=self._activation(),
                fc2=nn.Linear(100, classes),
            )
        )


@dataclass(frozen=True)
class MadryCNN(Activated):
    """Two 5x5 convolutions (32 and 64 channels), each before a 2x2 max pooling, and a hidden layer of 1024.

    Source: Madry et al. 2018 (arXiv:1706.06083), code MadryLab/mnist_challenge at 6f91f83, model.py: weights from a
    normal of standard deviation 0.1 cut at two of them, biases 0.1. Deviation: pooling drops the last row and column
    of images whose side is no multiple of 4, where the reference pads them; 28 x 28 is the same in both.
    """

    @property
    def label(self) -> str:
        return "madry_cnn"

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        self._need_images(shape, least=4)
        channels, height, width = shape
        network = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, 32, 5, padding=2),
                activation1=self._activation(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(32, 64, 5, padding=2),
                activation2=self._activation(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc1=nn.Linear(64 * (height // 4) * (width // 4), 1024),
                activation3=self._activation(),
                fc2=nn.Linear(1024, classes),
            )
        )
        for name, parameter in network.named_parameters():
            if name.endswith("weight"):
                nn.init.trunc_normal_(parameter, std=0.1, a=-0.2, b=0.2)
            else:
                nn.init.constant_(parameter, 0.1)
        return network


@dataclass(frozen=True)
class TradesCNN(Activated):
    """Four 3x3 convolutions without padding (32, 32, 64, 64), two max poolings, and hidden layers of 200 and 200.

    Source: Zhang et al. 2019 (arXiv:1901.08573), code yaodongyu/TRADES at 9ee26f4, models/small_cnn.py: He-normal
    convolutions with zero biases, and a last layer that starts at zero, so that a new network is undecided.

    Args:
        dropout: probability of dropping a number of the first hidden layer.
    """

    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_dropout(self.dropout)

    @property
    def label(self) -> str:
        return "trades_cnn"

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        self._need_images(shape, least=16)
        channels, *sides = shape
        # Each of the two blocks takes 2 pixels for either convolution, then halves.
        height, width = (((side - 4) // 2 - 4) // 2 for side in sides)
        last = nn.Linear(200, classes)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        network = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, 32, 3),
                activation1=self._activation(),
                conv2=nn.Conv2d(32, 32, 3),
                activation2=self._activation(),
                pool1=nn.MaxPool2d(2),
                conv3=nn.Conv2d(32, 64, 3),
                activation3=self._activation(),
                conv4=nn.Conv2d(64, 64, 3),
                activation4=self._activation(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc1=nn.Linear(64 * height * width, 200),
                activation5=self._activation(),
                dropout=nn.Dropout(self.dropout),
                fc2=nn.Linear(200, 200),
                activation6=self._activation(),
                fc3=last,
            )
        )
        for layer in network:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        return network
