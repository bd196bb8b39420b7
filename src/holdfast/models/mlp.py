"""A multilayer perceptron: for tables, and for closed-form tests (no hidden layer makes it linear)."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import nn

from holdfast.errors import InvalidInput
from holdfast.models.architecture import ACTIVATIONS, Architecture


@dataclass(frozen=True)
class MLP(Architecture):
    """Fully connected layers `fc1`, `fc2`, ... with an activation between them; takes examples of any shape.

    Args:
        hidden: widths of the hidden layers; empty for a linear model.
        activation: relu, silu or softplus.
    """

    hidden: tuple[int, ...] = (128,)
    activation: str = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(width < 1 for width in self.hidden):
            raise InvalidInput(f"hidden of mlp is {self.hidden}; give widths of at least 1, or none for a linear model")
        self._need_activation(self.activation)

    @property
    def label(self) -> str:
        return "mlp"

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        widths = (prod(shape), *self.hidden)
        for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            layers[f"fc{number}"] = nn.Linear(inputs, outputs)
            layers[f"{self.activation}{number}"] = ACTIVATIONS[self.activation]()
        layers[f"fc{len(widths)}"] = nn.Linear(widths[-1], classes)
        return nn.Sequential(layers)
