"""Square (Andriushchenko, Croce, Flammarion and Hein, ECCV 2020, arXiv:1912.00049; code auto-attack a392200)."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast import losses
from holdfast.attacks import windows
from holdfast.attacks.base import Attack, State, opening, picked
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.threat import L1, L2, Linf, ThreatModel
from holdfast.typing import Classifier, Images, Labels, Mask, PerExample

_POWER = {"L2": 2, "L1": 4}  # of the pyramids' steps


@dataclass
class SquareState(State):
    """A search of Square; `x_adv` is the point of least margin so far."""

    least: PerExample  # margin at `x_adv`, inf before the first query
    changed: Mask  # `point` may differ from `x_adv`, or was not asked yet


@dataclass(frozen=True)
class Square(Attack[SquareState]):
    """Random search without gradients: redraw a window of the change, keep it if the margin falls.

    In Linf the window moves to a random corner of the ball, one sign a channel. In L2 and L1 it is given two pyramids
    of opposite sign beside what it held, with the mass of another window, which becomes clean. A query is one forward
    pass; a search makes `queries` + 1, the first at a start of stripes (Linf) or tiles.

    Deviations from the reference code: each example draws its own window where there the whole batch shares one; the
    last row and column can be in a window too; windows of images that are not square keep their area.

    Args:
        queries: windows tried; the sizes of the windows follow the reference's schedule for 10,000 whatever the number.
        share: of the image that the first windows cover.
    """

    queries: int = 5000
    share: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queries < 1:
            raise InvalidInput(f"queries is {self.queries}, but a search makes at least one")
        if not 0.0 < self.share <= 1.0:
            raise InvalidInput(f"share is {self.share}, but windows cover a share of the image in (0, 1]; try 0.8")

    @property
    def gradient_free(self) -> bool:
        return True

    @property
    def budget(self) -> int:
        return self.queries + 1

    def start(
        self, threat: ThreatModel, x: Images, y: Labels, noise: Noise, target: Labels | None = None
    ) -> SquareState:
        images = _as_images(x)
        draw = noise.fold(0)
        if isinstance(threat, Linf):
            _, channels, _, width = images.shape
            stripes = draw.signs((channels, 1, width)).to(x.dtype)
            point = (images + threat.eps * stripes).clamp_(threat.low, threat.high)
        elif isinstance(threat, L2):
            change = threat.eps * threat.steepest(_tiles(images, draw, _POWER[threat.norm]))
            point = (images + change).clamp_(threat.low, threat.high)
        elif isinstance(threat, L1):
            point = threat.project(images, images + _tiles(images, draw, _POWER[threat.norm]))
        else:
            raise InvalidInput(f"Square knows no windows under {threat}; use Linf, L2 or L1")
        base = opening(x, y, noise, target, point.reshape(x.shape))
        least = torch.full_like(y, torch.inf, dtype=x.dtype)
        return SquareState(**vars(base), least=least, changed=torch.ones_like(base.success))

    def step(self, threat: ThreatModel, model: Classifier, state: SquareState) -> SquareState:
        margin, wrong = self._ask(model, state)
        # A wrong answer counts whatever its margin: at a tie that is 0, and may not be less than before.
        better = (margin < state.least) | (wrong & ~state.success)
        return self._go_on(threat, state, 1, better, state.point, margin, wrong)

    def leap(self, threat: ThreatModel, model: Classifier, state: SquareState, most: int) -> SquareState:
        """Up to `most` queries of every row in one pass, each as if none before it were kept, which is so for 19 in 20.

        What follows one that is kept was asked in vain and is forgotten. A pass of few rows takes hardly longer than
        one of many, so that queries of few examples cost a fraction.
        """
        if most == 1:
            return self.step(threat, model, state)
        count = len(state.y)
        ahead = state.select(torch.arange(count, device=state.y.device).repeat(most))
        ahead.iteration = ahead.iteration + torch.arange(most, device=state.y.device).repeat_interleave(count)
        later = ahead.select(torch.arange(count, len(ahead.y), device=state.y.device))
        later.iteration = later.iteration - 1  # of the query after which a point is proposed
        proposed, changed = self._propose(threat, _as_images(later.x), _as_images(later.x_adv), later)
        ahead.point = torch.cat([state.point, proposed.reshape(later.x.shape)])
        ahead.changed = torch.cat([state.changed, changed])
        margin, wrong = (found.reshape(most, count) for found in self._ask(model, ahead))
        left = ahead.iteration.reshape(most, count) < self.budget
        better = left & ((margin < state.least) | (wrong & ~state.success))
        kept, first = better.any(dim=0), better.int().argmax(dim=0)
        row = torch.arange(count, device=state.y.device)
        taken = torch.where(kept, first + 1, left.sum(dim=0))
        point = ahead.point[first * count + row]
        return self._go_on(threat, state, taken, kept, point, margin[first, row], kept & wrong[first, row])

    def _go_on(
        self,
        threat: ThreatModel,
        state: SquareState,
        taken: Tensor | int,
        better: Mask,
        point: Images,
        margin: PerExample,
        wrong: Mask,
    ) -> SquareState:
        """The state `taken` queries later, after `point` was found to be better or not, with the next point."""
        x_adv = _taken_over(better, point, state.x_adv)
        last = replace(state, iteration=state.iteration + taken - 1)
        proposed, changed = self._propose(threat, _as_images(state.x), _as_images(x_adv), last)
        return replace(
            state,
            point=proposed.reshape(x_adv.shape),
            changed=changed,
            x_adv=x_adv,
            least=torch.where(better, margin, state.least),
            success=state.success | wrong,
            iteration=state.iteration + taken,
        )

    def _ask(self, model: Classifier, state: SquareState) -> tuple[PerExample, Mask]:
        """Margin at each point, and where the model is wrong.

        A tenth of the windows find every pixel in its corner already (on MNIST, from the first hundreds of queries
        on). Their answer is known; on CPUs, where looking for them costs no waiting, they are not asked for.
        """
        margin, wrong = state.least.clone(), torch.zeros_like(state.success)
        asked = torch.arange(len(margin), device=margin.device)
        if margin.device.type == "cpu":
            asked = state.changed.nonzero()[:, 0]
        if len(asked):
            with torch.no_grad():
                whole = len(asked) == len(margin)
                logits = losses.precise(model(state.point if whole else state.point.index_select(0, asked)))
            y = state.y[asked]
            margin[asked] = losses.margin(logits, y).to(margin.dtype)
            wrong[asked] = logits.argmax(dim=1) != y
        return margin, wrong

    def _propose(self, threat: ThreatModel, x: Images, x_adv: Images, state: SquareState) -> tuple[Images, Mask]:
        """The next point to ask for, from the best one, and in which rows it may differ from that."""
        channels, height, width = x.shape[1:]
        # Numbers 0 and 1 place the window, 2 and 3 the other one, 4 turns the pattern, the others are signs.
        draw = state.noise.fold(state.iteration + 1).uniform((5 + channels,))
        signs = (draw[:, 5:] < 0.5).to(x.dtype).mul_(2.0).sub_(1.0)[:, :, None, None]
        shape = height, width, self.share, not isinstance(threat, Linf)
        if isinstance(threat, Linf) and (spots := windows.spots(state.iteration, draw[:, :2], *shape)) is not None:
            return _in_corner(threat, x, x_adv, spots, signs[:, :, :, 0])
        window = windows.place(state.iteration, draw[:, :2], *shape)
        if isinstance(threat, Linf):
            point = x_adv.lerp((x + threat.eps * signs).clamp_(threat.low, threat.high), window.inside.to(x.dtype))
        else:
            other = windows.place(state.iteration, draw[:, 2:4], *shape)
            fresh = (
                windows.drawn(window, (draw[:, 4] < 0.5).long(), self.share, _POWER[threat.norm]).to(x.dtype) * signs
            )
            inside = window.inside.to(x.dtype), other.inside.to(x.dtype)
            change = _redistributed(threat, x_adv - x, *inside, fresh)
            if isinstance(threat, L2):
                point = (x + threat.eps * threat.steepest(change)).clamp_(threat.low, threat.high)
            else:
                point = threat.project(x, x + change)
        if point.device.type != "cpu":
            return point, torch.ones_like(state.changed)  # there, to ask for all is to wait for none
        return point, (point != x_adv).flatten(1).any(dim=1)


def _in_corner(threat: Linf, x: Images, x_adv: Images, spots: Tensor, signs: Tensor) -> tuple[Images, Mask]:
    """The best points with what lies at their windows' `spots`, [B, N], in a corner of the ball; and which are new.

    Late windows are a few pixels, and passes over whole images would take as long as those of a small network: for 400
    images on one thread a query takes 0.8 ms in place of 1.2 on MNIST and 1.8 in place of 3.3 on CIFAR-10, model aside.
    """
    channels, height, width = x.shape[1:]
    at = (spots[:, None] + height * width * torch.arange(channels)[:, None]).flatten(1)
    old = x_adv.flatten(1).gather(1, at)
    corner = x.flatten(1).gather(1, at).reshape(len(x), channels, -1) + threat.eps * signs
    corner = corner.clamp_(threat.low, threat.high).flatten(1)
    return x_adv.flatten(1).scatter(1, at, corner).reshape(x.shape), (corner != old).any(dim=1)


def _taken_over(better: Mask, point: Images, x_adv: Images) -> Images:
    """The points where they are better, which few are; the best so far elsewhere."""
    if better.device.type != "cpu":
        return picked(better, point, x_adv)
    rows = better.nonzero()[:, 0]
    return x_adv.index_copy(0, rows, point.index_select(0, rows))


def _redistributed(threat: ThreatModel, change: Images, window: Tensor, other: Tensor, fresh: Images) -> Images:
    """Put into `window` its old content and the fresh pattern, with the mass of both windows and what eps has left."""
    order = 2 if isinstance(threat, L2) else 1

    def norm(values: Tensor, dim: tuple[int, ...] = (2, 3)) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(values, order, dim=dim, keepdim=True)
        return length

    channels = change.shape[1]
    either = torch.maximum(window, other)
    held = change * window
    unused = (threat.eps**order - norm(change, (1, 2, 3)) ** order).clamp_(min=0.0)
    content = fresh + held / (norm(held) + 1e-12)
    # In L1 the reference multiplies by the number of channels once more, and leaves the excess to the projection.
    mass = (unused / channels + norm(change * either) ** order) ** (1.0 / order) * (1 if order == 2 else channels)
    return change - change * either + content * (mass / (norm(content) + 1e-12))


def _tiles(x: Images, draw: Noise, power: int) -> Images:
    """A change made of 5 x 5 tiles, each with the pattern of a window, in random directions."""
    channels, height, width = x.shape[1:]
    (high, above), (wide, before) = ((max(side // 5, 1), max(side - side // 5 * 5, 0) // 2) for side in (height, width))
    down, across = (height - above) // high, (width - before) // wide
    upright, sideways = windows.pattern(high, wide, power).to(x.device).repeat(1, down, across)

    def spread(values: Tensor) -> Tensor:
        return values.repeat_interleave(high, dim=-2).repeat_interleave(wide, dim=-1)

    signs = spread(draw.fold(0).signs((channels, down, across)))
    turned = spread(draw.fold(1).integers(2, (1, down, across)).float())
    tiles = signs * (upright + turned * (sideways - upright))
    rest = before, width - before - across * wide, above, height - above - down * high
    return F.pad(tiles, rest).to(x.dtype)


def _as_images(x: Tensor) -> Tensor:
    """View inputs of any rank of at least 2 as [B, C, H, W]: a table as one row, signals as one row a channel."""
    return x.reshape(len(x), -1, x.shape[-2] if x.dim() > 3 else 1, x.shape[-1])
