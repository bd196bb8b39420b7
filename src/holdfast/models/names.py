"""From the text of `--model` to an architecture."""

import re
from collections.abc import Callable

from holdfast import userfile
from holdfast.errors import unknown
from holdfast.models.adapters import Timm, UserModel
from holdfast.models.architecture import Architecture
from holdfast.models.cnn import MadryCNN, TradesCNN, WongCNN
from holdfast.models.mlp import MLP
from holdfast.models.preact_resnet import PreActResNet18
from holdfast.models.wide_resnet import WideResNet

_FAMILIES: dict[str, Callable[[], Architecture]] = {
    "wong_cnn": WongCNN,
    "madry_cnn": MadryCNN,
    "trades_cnn": TradesCNN,
    "mlp": MLP,
    "preact_resnet18": PreActResNet18,
}
_ALIASES = {"preact_resnet_18": "preact_resnet18", "preactresnet18": "preact_resnet18", "prn18": "preact_resnet18"}
_WIDE = re.compile(r"(?:wide_?resnet|wrn)_?(?P<depth>\d+)_(?P<widen>\d+)")


def architecture(text: str) -> Architecture:
    """Read the name of an architecture, with default options.

    Args:
        text: wong_cnn, madry_cnn, trades_cnn, mlp, preact_resnet18; wide_resnet28_10 or wrn-34-10 (any depth and
            width); timm:NAME; or PATH.py:FUNCTION for a user's own. Capitals, and - for _, are the same.

    Raises:
        InvalidInput: no such name (the nearest is named), or a depth that a WideResNet cannot have.
        MissingExtra: timm:NAME without timm.
    """
    if reference := userfile.parse(text):
        return UserModel(*reference)
    if text.startswith("timm:"):
        return Timm(text.removeprefix("timm:"))
    name = text.lower().replace("-", "_")
    if wide := _WIDE.fullmatch(name):
        return WideResNet(depth=int(wide["depth"]), widen=int(wide["widen"]))
    name = _ALIASES.get(name, name)
    if name not in _FAMILIES:
        known = [*_FAMILIES, "wide_resnet28_10", "wide_resnet34_10", "timm:NAME", "PATH.py:FUNCTION"]
        raise unknown("model", text, known)
    return _FAMILIES[name]()
