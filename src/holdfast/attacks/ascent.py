"""How a search turns a gradient into a move."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from holdfast.errors import InvalidInput
from holdfast.threat import ThreatModel, rows
from holdfast.typing import Images


class Rule(Protocol):
    """Chooses the direction of a move; how far to go is the search's own affair.

    Attributes:
        slots: tensors of the shape of x that it keeps from move to move.
    """

    slots: ClassVar[int]

    def __call__(
        self, threat: ThreatModel, gradient: Images, memory: Tensor, iteration: Tensor
    ) -> tuple[Images, Tensor]:
        """The direction, about of norm 1 in the threat model's norm, and the new memory.

        Args:
            memory: [B, slots, ...], zeros at the first move.
            iteration: [B] int64, moves that the row has made.
        """
        ...


@dataclass(frozen=True)
class Steepest:
    """Along the threat model's steepest direction: the sign of the gradient in Linf, the unit gradient in L2."""

    slots: ClassVar[int] = 0

    def __call__(
        self, threat: ThreatModel, gradient: Images, memory: Tensor, iteration: Tensor
    ) -> tuple[Images, Tensor]:
        return threat.steepest(gradient), memory


@dataclass(frozen=True)
class Adam:
    """Along Adam's update (Kingma and Ba, ICLR 2015, arXiv:1412.6980), each row with a count of its own.

    In Linf this is the attack optimizer of DeepMind's codes (interval-bound-propagation 217a14d, `UnrolledAdam`), whose
    learning rate is step_size * eps here. Its entries lie about in [-1, 1] whatever the shape; in other norms they are
    divided by the norm of a vector of ones, so that step_size keeps its meaning (ours, no paper's).

    Args:
        first, second: decay of the running means of the gradient and of its square.
        floor: added to the square root; gradients much smaller than this move little.
    """

    first: float = 0.9
    second: float = 0.999
    floor: float = 1e-9

    slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not (0.0 <= self.first < 1.0 and 0.0 <= self.second < 1.0 and self.floor > 0.0):
            raise InvalidInput(
                f"first, second and floor are {self.first}, {self.second} and {self.floor}, but decays lie in [0, 1) "
                "and the floor is above 0; Adam's own are 0.9, 0.999 and 1e-9"
            )

    def __call__(
        self, threat: ThreatModel, gradient: Images, memory: Tensor, iteration: Tensor
    ) -> tuple[Images, Tensor]:
        mean = torch.lerp(gradient, memory[:, 0], self.first)
        square = torch.lerp(gradient.square(), memory[:, 1], self.second)
        time = rows((iteration + 1).to(gradient.dtype), gradient)
        unbiased = (square / (1.0 - self.second**time)).sqrt_().add_(self.floor)
        direction = mean / (1.0 - self.first**time) / unbiased
        ones = torch.ones_like(gradient[:1])
        size = threat.distance(torch.zeros_like(ones), ones)
        return direction / rows(size, gradient), torch.stack([mean, square], dim=1)
