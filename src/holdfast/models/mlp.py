"""A multilayer perceptron: for tables, and for closed-form tests (no hidden layer makes it linear)."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import nn

from holdfast.errors import InvalidInput
from holdfast.models.architecture import Activated


@dataclass(frozen=True)
class MLP(Activated):
    """Fully connected layers `fc1`, `fc2`, ... with an activation between them; takes examples of any shape.

    Args:
        hidden: widths of the hidden layers; empty for a linear model.
    """

    hidden: tuple[int, ...] = (128,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(width < 1 for width in self.hidden):
            raise InvalidInput(f"hidden of mlp is {self.hidden}; give widths of at least 1, or none for a linear model")

    @property
    def label(self) -> str:
        return "mlp"

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        widths = (prod(shape), *self.hidden)
        for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            layers[f"fc{number}"] = nn.Linear(inputs, outputs)
            layers[f"{self.activation}{number}"] = self._activation()
        layers[f"fc{len(widths)}"] = nn.Linear(widths[-1], classes)
        return nn.Sequential(layers)
