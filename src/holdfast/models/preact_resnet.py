"""PreAct ResNet-18, the network of most one-step and PGD training experiments on CIFAR."""

from dataclasses import dataclass

from torch import nn

from holdfast.models.architecture import Activated
from holdfast.models.residual import residual_layers


@dataclass(frozen=True)
class PreActResNet18(Activated):
    """A 3x3 convolution and four stages of two pre-activation blocks; 11.2 million parameters at width 64.

    Source: He et al. 2016 (arXiv:1603.05027) in the form of Wong, Rice, Kolter 2020 (locuslab/fast_adversarial) and
    Rice, Wong, Kolter 2020 (locuslab/robust_overfitting): a batch normalisation and a ReLU follow the last block, which
    the common CIFAR version of the network (kuangliu/pytorch-cifar) leaves out. Torch's default initialisation, as
    there. Deviation: the average is over the whole last map, so that images of any size are taken.

    Features for hooks: `layer1` to `layer4` (maps), `flatten` ([B, 8 * width], before the logits `fc`).

    Args:
        width: channels of the first stage; each later stage has twice those of the one before.
    """

    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need_at_least("width", 1)

    @property
    def label(self) -> str:
        return "preact_resnet18"

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        self._need_images(shape)
        widths = (self.width, 2 * self.width, 4 * self.width, 8 * self.width)
        return nn.Sequential(residual_layers(shape, self.width, widths, 2, classes, self.activation, dropout=0.0))
