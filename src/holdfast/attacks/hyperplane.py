"""The least change that brings an input onto a hyperplane without leaving the box; FAB's projection.

Coordinate i can serve the hyperplane in one direction only, by up to `room_i`, and each unit of it is worth |w_i|. So
the signs are known beforehand, and what is left is to share out sizes s_i in [0, room_i] with sum |w_i| s_i = |rise|.
Masks are float tensors and are multiplied: on CPUs `torch.where` with an irregular mask takes twenty times as long.
"""

import torch
from torch import Tensor

from holdfast.attacks.selection import greatest
from holdfast.errors import InvalidInput
from holdfast.threat import L1, L2, Linf, ThreatModel
from holdfast.typing import Images, PerExample

_ROUNDS = 4  # of Newton's method between two looks at an accelerator, which each wait for it
# Divisors are at least the one, quotients at most the other; the entries of a normal have size 1 on average.
_TINY, _HUGE = 1e-18, 1e18


def nearest_change(threat: ThreatModel, x: Images, normal: Images, rise: PerExample) -> tuple[Images, PerExample]:
    """The change d of least norm with <normal, d> = rise and x + d in the box, and that norm; eps plays no part.

    Where the box is too small for that, d goes to the corner that comes nearest. Coordinates whose normal is 0 stay.

    Args:
        threat: its norm and its box.
        x: [B, ...] inputs in the box.
        normal: [B, ...] normal of each row's hyperplane, of any length.
        rise: [B] how much <normal, .> has to change.

    Raises:
        InvalidInput: the threat model is none of Linf, L2 and L1.
    """
    check_norm(threat)
    flat = normal.flatten(1)
    scale = flat.abs().mean(dim=1, keepdim=True).clamp_(min=torch.finfo(flat.dtype).tiny)
    flat, need = flat / scale, (rise[:, None] / scale).clamp_(-_HUGE, _HUGE)
    direction = (flat * need).sign_()
    # high - x where the coordinate goes up, x - low where it goes down.
    low, high = max(threat.low, -_HUGE), min(threat.high, _HUGE)
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    room = (middle - x.flatten(1)).mul_(direction).add_(half).clamp_(min=0.0)
    worth, need = flat.abs_(), need.abs()
    if isinstance(threat, L1):
        size = _most_worth_first(worth, room, need)
        norm = size.sum(dim=1)
    elif isinstance(threat, L2):
        size = _common_level(worth, room, need, worth)
        norm = torch.linalg.vecdot(size, size).sqrt_()
    else:
        size = _common_level(worth, room, need, None)
        norm = size.amax(dim=1)
    return size.mul_(direction).reshape(x.shape), norm


def check_norm(threat: ThreatModel) -> None:
    """Refuse threat models of other norms."""
    if not isinstance(threat, Linf | L2 | L1):
        raise InvalidInput(f"no projection onto a hyperplane is known under {threat}; use Linf, L2 or L1")


def _common_level(worth: Tensor, room: Tensor, need: Tensor, pace: Tensor | None) -> Tensor:
    """Sizes min(level * pace, room) for the level at which sum worth * size = need.

    With pace 1 (None) that is the least largest size (Linf), with pace = worth the least sum of squares (L2). The sum
    is a concave function of the level, linear between the levels at which a coordinate uses up its room. So Newton's
    method from below never overshoots and ends exactly, after 3 to 6 rounds on images; sorting the coordinates instead
    takes ten times as long.
    """
    slope = worth if pace is None else worth * pace
    gain = worth * room
    level = (need / slope.sum(dim=1, keepdim=True).clamp_(min=_TINY)).clamp_(max=_HUGE)
    # Written into again and again: fresh memory of this size costs a CPU more than the comparison.
    mask, size = torch.empty_like(room), torch.empty_like(room)
    patience = 1 if room.device.type == "cpu" else _ROUNDS
    for number in range(1, room.shape[1] + 1):
        size = level if pace is None else torch.mul(level, pace, out=size)
        spent = torch.linalg.vecdot(torch.ge(size, room, out=mask), gain)[:, None]
        left = torch.linalg.vecdot(torch.lt(size, room, out=mask), slope)[:, None].clamp_(min=_TINY)
        higher = torch.maximum(level, ((need - spent) / left).clamp_(max=_HUGE))
        # A level that rests goes on resting, so that rounds too many change nothing.
        if number % patience == 0 and torch.equal(higher, level):
            break
        level = higher
    return torch.minimum(level if pace is None else level * pace, room)


def _most_worth_first(worth: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """The least sum of sizes: the coordinates of greatest worth use up their room, until the need is met.

    The last ones, of practically equal worth, share what is left.
    """
    gain = worth * room
    full, last = greatest(worth, gain, need)
    rest = need - torch.linalg.vecdot(full, gain)[:, None]
    share = (rest / torch.linalg.vecdot(last, gain)[:, None].clamp_(min=_TINY)).clamp_(0.0, 1.0)
    return last.mul_(share).add_(full).mul_(room)
