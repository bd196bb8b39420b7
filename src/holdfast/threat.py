"""Threat models: the set S(x) of inputs that an adversary may submit in place of x, as pure geometry.

S(x) is a ball of radius `eps` in a norm, cut by the box [low, high]. `eps` has the unit of the inputs: for images in
[0, 1] the usual sizes are 8/255 (CIFAR, Linf), 0.3 (MNIST, Linf), 0.5 (CIFAR, L2) and 12 (CIFAR, L1). Inputs may have
any rank of at least 2, with the examples first; distances are taken over all other dimensions.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from holdfast.errors import InvalidInput, unknown
from holdfast.noise import Noise
from holdfast.typing import Images, Mask, PerExample


def parse_eps(eps: float | str) -> float:
    """Read a radius: a number, or text such as "8/255" or "0.3"."""
    if isinstance(eps, str):
        try:
            return float(Fraction(eps.replace(" ", "")))
        except (ValueError, ZeroDivisionError) as error:
            raise InvalidInput(f"eps {eps!r} is not a number; write it as 0.03 or as 8/255") from error
    return float(eps)


def format_eps(eps: float) -> str:
    """Write a radius the way the field does: multiples of a grey level as n/255, everything else as a decimal."""
    levels = eps * 255.0
    if levels >= 0.5 and abs(levels - round(levels)) < 1e-4 and not math.isclose(eps, round(eps, 2)):
        return f"{round(levels)}/255"
    return f"{eps:g}"


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def rows(values: Tensor, like: Tensor) -> Tensor:
    """Shape a [B] tensor so that it broadcasts over the rows of `like`."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True)
class ThreatModel(ABC):
    """The inputs within `eps` of x, in the norm of the class, and within the box [low, high].

    Args:
        eps: radius, in the unit of the inputs; also accepted as text such as "8/255".
        low: least value that an input may take.
        high: greatest value that an input may take.

    Raises:
        InvalidInput: eps is negative, not finite, or so large that it must have been written in grey levels.
    """

    eps: float
    low: float = 0.0
    high: float = 1.0

    norm: ClassVar[str]

    if TYPE_CHECKING:  # what type checkers are told: text is accepted, and a number is what `eps` then holds

        def __init__(self, eps: float | str, low: float = 0.0, high: float = 1.0) -> None: ...

    def __post_init__(self) -> None:
        eps = parse_eps(self.eps)
        object.__setattr__(self, "eps", eps)
        if not (math.isfinite(eps) and eps >= 0.0):
            raise InvalidInput(f"eps is {eps}, but a radius is a finite number of at least 0")
        if not self.low < self.high:
            raise InvalidInput(f"the box [{self.low}, {self.high}] is empty; low must be less than high")

    @property
    def eps_text(self) -> str:
        """The radius as the field writes it, e.g. "8/255"."""
        return format_eps(self.eps)

    def __str__(self) -> str:
        return f"{self.norm}({self.eps_text})"

    def scaled(self, factor: float) -> Self:
        """The same threat with the radius multiplied by `factor`, up to the radius that holds the whole box."""
        return replace(self, eps=min(self.eps * factor, self._whole_box))

    @property
    def _whole_box(self) -> float:
        """A radius beyond which the ball can no longer grow, where a norm has one that does not depend on the shape."""
        return math.inf

    def contains(self, x: Images, x_adv: Images) -> Mask:
        """[B] bool: `x_adv` lies in S(x), up to float32 rounding (1e-6 of a finite box or 1e-6, and 1e-5 of eps)."""
        width = self.high - self.low
        slack = 1e-6 * (width if math.isfinite(width) else 1.0)
        inside = (_flat(x_adv) >= self.low - slack) & (_flat(x_adv) <= self.high + slack)
        return (self.distance(x, x_adv) <= self.eps * (1.0 + 1e-5) + slack) & inside.all(dim=1)

    @abstractmethod
    def distance(self, x: Images, x_adv: Images) -> PerExample:
        """[B] norm of x_adv - x."""

    @abstractmethod
    def project(self, x: Images, x_adv: Images) -> Images:
        """The point of S(x) nearest to `x_adv` in Euclidean distance; exact for ball and box together."""

    @property
    def unit(self) -> Self:
        """The ball of radius 1 without a box."""
        return replace(self, eps=1.0, low=-math.inf, high=math.inf)

    def project_rows(self, x: Images, change: Images, radius: PerExample) -> Images:
        """x + change, each row brought into the ball of its own [B] radius instead of eps, then clipped to the box."""
        # A threat model has one radius for all rows, so the rows are brought to the unit ball and back.
        scale = rows(radius.clamp(min=1e-12), change)
        change = scale * self.unit.project(torch.zeros_like(change), change / scale)
        return (x + change).clamp(self.low, self.high)

    def hull(self, x: Images) -> tuple[Images, Images]:
        """The least and the greatest value that each coordinate takes in S(x)."""
        return (x - self.eps).clamp_(min=self.low), (x + self.eps).clamp_(max=self.high)

    @abstractmethod
    def sample(self, x: Images, noise: Noise) -> Images:
        """A point drawn uniformly from the ball around x, then clipped to the box."""

    @abstractmethod
    def steepest(self, gradient: Images) -> Images:
        """The direction of norm 1 along which a linear function with this gradient grows fastest (0 for 0)."""


class Linf(ThreatModel):
    """Every coordinate may change by at most eps."""

    norm: ClassVar[str] = "Linf"

    @property
    def _whole_box(self) -> float:
        return self.high - self.low

    def __post_init__(self) -> None:
        super().__post_init__()
        width = self._whole_box
        if self.eps > width:
            remedy = f"write {self.eps:g}/255" if 1 < self.eps <= 255 else "give a radius in the unit of the inputs"
            raise InvalidInput(f"eps {self.eps:g} exceeds the width {width:g} of the input range; {remedy}")

    def distance(self, x: Images, x_adv: Images) -> PerExample:
        return _flat(x_adv - x).abs().amax(dim=1)

    def project(self, x: Images, x_adv: Images) -> Images:
        # In place: on a CPU fresh memory of this size costs more than the comparison that it is for.
        return (x + self.eps).clamp_(max=x_adv).clamp_(min=x - self.eps).clamp_(self.low, self.high)

    def sample(self, x: Images, noise: Noise) -> Images:
        return noise.uniform(x.shape[1:], -self.eps, self.eps).to(x.dtype).add_(x).clamp_(self.low, self.high)

    def steepest(self, gradient: Images) -> Images:
        return gradient.sign()


class L2(ThreatModel):
    """The Euclidean length of the change is at most eps."""

    norm: ClassVar[str] = "L2"

    def distance(self, x: Images, x_adv: Images) -> PerExample:
        length: PerExample = torch.linalg.vector_norm(_flat(x_adv - x), dim=1)
        return length

    def project(self, x: Images, x_adv: Images) -> Images:
        """Exact for ball and box together: the change is clip(t * d) for one t in [0, 1], with d = x_adv - x.

        t is found by sorting the coordinates by the t at which each meets the box.
        """
        d = _flat(x_adv - x).double()
        size = d.abs()
        room = torch.where(d >= 0, self.high - _flat(x).double(), _flat(x).double() - self.low).clamp_(min=0.0)
        meets, order = (room / size.clamp(min=1e-300)).clamp_(max=1.0).sort(dim=1)
        at_box = torch.minimum(room, size).square().gather(1, order).cumsum(dim=1)
        moving = size.square().gather(1, order).cumsum(dim=1)
        moving = moving[:, -1:] - moving
        # Squared length when t is the i-th meeting point: i coordinates lie on the box, the others at t * d.
        inside = (at_box + meets.square() * moving <= self.eps**2).sum(dim=1, keepdim=True)
        fixed = torch.cat([torch.zeros_like(at_box[:, :1]), at_box], dim=1).gather(1, inside)
        free = torch.cat([size.square().sum(dim=1, keepdim=True), moving], dim=1).gather(1, inside)
        t = ((self.eps**2 - fixed).clamp(min=0.0) / free.clamp(min=1e-300)).sqrt().clamp(max=1.0)
        # Where the whole change fits nothing is free any more, and with no room to spare t would be 0 / 0.
        t = torch.where(at_box[:, -1:] <= self.eps**2, 1.0, t)
        return (x + (d * t).to(x.dtype).reshape(x.shape)).clamp_(self.low, self.high)

    def sample(self, x: Images, noise: Noise) -> Images:
        direction = noise.fold(0).normal(x.shape[1:]).to(x.dtype)
        length = torch.linalg.vector_norm(_flat(direction), dim=1).clamp(min=1e-12)
        radius: PerExample = self.eps * noise.fold(1).uniform(()).to(x.dtype) ** (1.0 / math.prod(x.shape[1:]))
        return (x + direction * rows(radius / length, x)).clamp_(self.low, self.high)

    def steepest(self, gradient: Images) -> Images:
        # Dividing by the largest entry first keeps tiny gradients from vanishing in the square.
        flat = _flat(gradient)
        flat = flat / flat.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
        length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
        return (flat / length.clamp(min=1e-12)).reshape(gradient.shape)


class L1(ThreatModel):
    """The sum of absolute changes is at most eps."""

    norm: ClassVar[str] = "L1"

    def distance(self, x: Images, x_adv: Images) -> PerExample:
        return _flat(x_adv - x).abs().sum(dim=1)

    def project(self, x: Images, x_adv: Images) -> Images:
        """Exact for ball and box together: coordinate i changes by min(max(|d_i| - t, 0), room_i) for one t >= 0.

        t is found by sorting the 2 D values at which a coordinate starts to move or meets the box (the set that Croce
        and Hein 2021 project onto in APGD for L1).
        """
        d = _flat(x_adv - x).double()
        room = torch.where(d >= 0, self.high - _flat(x).double(), _flat(x).double() - self.low).clamp_(min=0.0)
        size = d.abs()
        knots = torch.cat([size, (size - room).clamp(min=0.0)], dim=1)
        slope = torch.cat([torch.ones_like(size), -torch.ones_like(size)], dim=1)
        knots, order = knots.sort(dim=1, descending=True)
        slope = slope.gather(1, order).cumsum(dim=1)
        # Total change as t falls from knot to knot: it grows by slope * (knot - next knot).
        gap = knots[:, :-1] - knots[:, 1:]
        total = torch.cat([torch.zeros_like(gap[:, :1]), (slope[:, :-1] * gap).cumsum(dim=1)], dim=1)
        last = (total <= self.eps).sum(dim=1, keepdim=True) - 1
        spare = self.eps - total.gather(1, last)
        # Where even the whole change fits, the least knot is 0 or lies below every coordinate's way to the box.
        t = (knots.gather(1, last) - spare / slope.gather(1, last).clamp(min=1.0)).clamp_(min=0.0)
        change = torch.minimum((size - t).clamp_(min=0.0), room).to(x.dtype).reshape(x.shape)
        return (x + change * (x_adv - x).sign()).clamp_(self.low, self.high)

    def sample(self, x: Images, noise: Noise) -> Images:
        # D + 1 exponentials over their sum are uniform on the simplex; without the last one, uniform inside it.
        weight = noise.fold(0).exponential(x.shape[1:]).to(x.dtype)
        total = _flat(weight).sum(dim=1) + noise.fold(1).exponential(()).to(x.dtype)
        move = weight * noise.fold(2).signs(x.shape[1:]).to(x.dtype) * rows(self.eps / total, x)
        return (x + move).clamp_(self.low, self.high)

    def steepest(self, gradient: Images) -> Images:
        flat = _flat(gradient)
        largest = flat.abs().argmax(dim=1, keepdim=True)
        return torch.zeros_like(flat).scatter_(1, largest, flat.gather(1, largest).sign()).reshape(gradient.shape)


NORMS: dict[str, type[ThreatModel]] = {"Linf": Linf, "L2": L2, "L1": L1}


def threat(norm: str, eps: float | str, low: float = 0.0, high: float = 1.0) -> ThreatModel:
    """The threat model of a norm's name ("Linf", "L2" or "L1", in any case).

    Raises:
        InvalidInput: the norm is unknown, or eps does not suit it.
    """
    for name, kind in NORMS.items():
        if name.lower() == norm.lower():
            return kind(parse_eps(eps), low, high)
    raise unknown("norm", norm, NORMS)
