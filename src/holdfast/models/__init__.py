"""Networks from inputs in [0, 1] to logits. An architecture is a value; `build` makes its network."""

from holdfast.models.adapters import Timm, UserModel
from holdfast.models.architecture import Architecture
from holdfast.models.blackbox import BlackBox, is_blind
from holdfast.models.cnn import MadryCNN, TradesCNN, WongCNN
from holdfast.models.mlp import MLP
from holdfast.models.names import architecture
from holdfast.models.normalize import Normalize
from holdfast.models.preact_resnet import PreActResNet18
from holdfast.models.wide_resnet import WideResNet

__all__ = [
    "MLP",
    "Architecture",
    "BlackBox",
    "MadryCNN",
    "Normalize",
    "PreActResNet18",
    "Timm",
    "TradesCNN",
    "UserModel",
    "WideResNet",
    "WongCNN",
    "architecture",
    "is_blind",
]
