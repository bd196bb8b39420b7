"""The loss around an input, on a plane through it, as ADR draws it (Bui et al., ECCV 2020, arXiv:2007.05123)."""

import torch
from torch import Tensor, nn

from holdfast import losses, modes
from holdfast.attacks.base import rows
from holdfast.data import ImageSet, ordered_batches
from holdfast.diagnostics.adversary import SEARCH, adversaries
from holdfast.errors import InvalidInput
from holdfast.noise import Noise
from holdfast.results import Surface
from holdfast.threat import Linf, ThreatModel
from holdfast.typing import Images

POINTS = 17  # a side, as in ADR's release

_STREAM = 0x73757266


def unit(threat: ThreatModel, direction: Images) -> Images:
    """[B, ...] of norm 1 in the threat model's norm, 0 where `direction` is: its sign in Linf, else scaled."""
    if isinstance(threat, Linf):
        return direction.sign()
    length = threat.distance(torch.zeros_like(direction), direction)
    return direction / rows(length.clamp(min=torch.finfo(direction.dtype).tiny), direction)


def loss_surface(
    model: nn.Module,
    images: ImageSet,
    threat: ThreatModel,
    *,
    points: int = POINTS,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Surface:
    """Loss and prediction at x + a * adversarial + b * random for a, b in [-eps, eps], for every example given.

    The adversarial direction is that of PGD-20 (in Linf its sign), the random one a vector of random signs, both of
    norm 1. Points are clipped to the box. Where both offsets are large a point may lie outside S(x), up to 2 eps away.
    Deviations from ADR's plots (Adversarial-Divergence-Reduction 7304fa5, utils_grad.py): the direction is PGD's and
    not the gradient at x, the random one is not made orthogonal to it, and points stay in the box.

    Args:
        images: the few examples to draw; each takes points * points forward passes.
        points: a side, odd, so that x is in the middle.

    Raises:
        InvalidInput: an even number of points, or fewer than 3.
    """
    if points < 3 or points % 2 == 0:
        raise InvalidInput(f"a surface of {points} points a side has no middle; give an odd number from 3")
    drawn = []
    # The middle is exactly 0 this way, which a linspace from -eps does not promise.
    offsets = threat.eps * torch.arange(-(points // 2), points // 2 + 1, dtype=torch.float32) / (points // 2)
    with modes.inference(model):
        for x, y, index in ordered_batches(images, batch_size, device):
            noise = Noise.of(seed, index, _STREAM)
            adversarial = unit(threat, adversaries(model, threat, x, y, seed, index) - x)
            random = unit(threat, noise.signs(x.shape[1:]).to(x.dtype))
            for plane in zip(x, adversarial, random, y, strict=True):
                drawn.append(_grid(model, threat, *plane, offsets.to(x.device), batch_size))
    loss, prediction = (torch.stack(values).numpy() for values in zip(*drawn, strict=True))
    example = torch.arange(len(images)).numpy()
    return Surface(example, images.labels.cpu().numpy(), offsets.numpy(), loss, prediction, repr(SEARCH))


def _grid(
    model: nn.Module,
    threat: ThreatModel,
    x: Tensor,
    adversarial: Tensor,
    random: Tensor,
    y: Tensor,
    offsets: Tensor,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """Loss and prediction [G, G] of one example, on the CPU."""
    pairs = torch.cartesian_prod(offsets, offsets)
    found = []
    for part in torch.split(pairs, batch_size):
        a, b = (rows(offset, x[None]) for offset in part.unbind(dim=1))
        inputs = (x + a * adversarial + b * random).clamp(threat.low, threat.high)
        with torch.no_grad():
            logits = losses.precise(model(inputs))
        found.append((losses.cross_entropy(logits, y.expand(len(logits))).cpu(), logits.argmax(dim=1).cpu()))
    side = (len(offsets), len(offsets))
    loss, prediction = (torch.cat(values).reshape(side) for values in zip(*found, strict=True))
    return loss, prediction
