"""How the passes of a model are computed: what changes their time, and their result only by rounding."""

from dataclasses import dataclass
from typing import Literal, get_args

from holdfast.errors import unknown

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Passes:
    """How the passes of a model are computed. The default is the plain way.

    Args:
        precision: bfloat16 is torch's autocast: convolutions and matrix products on bfloat16 numbers. Weights, and
            whatever is made of the logits and of the gradient, stay float32.
        channels_last: memory format NHWC of images and convolutions.
        folded: in eval mode without batch statistics, a BatchNorm that follows a convolution is part of its weights.
        compiled: by torch.compile. A network that is asked with batches of many sizes is compiled anew for some.
    """

    precision: Precision = "float32"
    channels_last: bool = False
    folded: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise unknown("precision", self.precision, get_args(Precision))

    @property
    def plain(self) -> bool:
        """A model's own passes, unchanged."""
        return self == PLAIN

    def __str__(self) -> str:
        extras = [name for name in ("channels_last", "folded", "compiled") if getattr(self, name)]
        return " + ".join([self.precision, *extras]).replace("_", " ")


PLAIN = Passes()
