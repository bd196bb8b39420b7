"""Weather: snow, fog and a brighter sun. Frost needs photographs of frost and is not made here."""

import torch
from torch import Tensor

from holdfast.diagnostics.blur import motion_blur
from holdfast.diagnostics.colour import from_hsv, luma, to_hsv
from holdfast.diagnostics.corruptions.corruption import Corruption, eight_bits
from holdfast.diagnostics.sampling import zoomed
from holdfast.noise import Noise
from holdfast.typing import Images


def snow(
    x: Images,
    noise: Noise,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    length: float,
    sigma: float,
    kept: float,
) -> Images:
    """Whiten the image and let flakes fall: bright spots of noise, smeared downwards, and the same turned around."""
    flakes = mean + deviation * noise.fold(0).normal((1, *x.shape[2:]))
    flakes = zoomed(flakes, zoom)
    flakes = eight_bits(torch.where(flakes < threshold, 0.0, flakes))
    flakes = motion_blur(flakes, int(length), sigma, noise.fold(1).uniform((), -135.0, -45.0))
    whitened = torch.maximum(x, luma(x) * 1.5 + 0.5)
    return kept * x + (1.0 - kept) * whitened + flakes + flakes.flip(2, 3)


def fog(x: Images, noise: Noise, density: float, decay: float) -> Images:
    """Lay a plasma fractal over the image, and scale back to the image's greatest value."""
    height, width = x.shape[2:]
    cloud = plasma(noise, 1 << (max(height, width) - 1).bit_length(), decay).to(x.dtype)[:, None, :height, :width]
    brightest = x.flatten(1).amax(dim=1).reshape(-1, 1, 1, 1)
    return (x + density * cloud) * brightest / (brightest + density)


def plasma(noise: Noise, side: int, decay: float) -> Tensor:
    """[B, side, side] heights in [0, 1] that wrap around: the diamond-square algorithm (Fournier et al. 1982).

    Args:
        side: a power of two.
        decay: what the size of the random part is divided by as the step halves.
    """
    heights = torch.zeros(len(noise.keys), side, side, dtype=torch.float64, device=noise.keys.device)
    step, size, draw = side, 100.0, 0

    def middle(total: Tensor) -> Tensor:
        nonlocal draw
        draw += 1
        # The reference multiplies the random part by its size twice.
        return total / 4.0 + size * noise.fold(draw).uniform(total.shape[1:], -size, size).double()

    while step >= 2:
        half = step // 2
        corner = heights[:, ::step, ::step]
        rows = corner + corner.roll(-1, 1)
        centre = middle(rows + rows.roll(-1, 2))
        heights[:, half::step, half::step] = centre
        # The points in the middle of the sides have two corners and two centres around them.
        heights[:, ::step, half::step] = middle(centre + centre.roll(1, 1) + corner + corner.roll(-1, 2))
        heights[:, half::step, ::step] = middle(centre + centre.roll(1, 2) + rows)
        step, size = half, size / decay
    heights -= heights.amin(dim=(1, 2), keepdim=True)
    return heights / heights.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)


def brightness(x: Images, noise: Noise, more: float) -> Images:
    """Raise the greatest channel (the value of HSV) by `more`, keeping hue and saturation."""
    if x.shape[1] != 3:
        return x + more
    hue, saturation, value = to_hsv(x).unbind(dim=1)
    return from_hsv(torch.stack([hue, saturation, (value + more).clamp(0.0, 1.0)], dim=1))


WEATHER = (
    Corruption(
        "snow",
        "weather",
        snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    Corruption("fog", "weather", fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    Corruption("brightness", "weather", brightness, ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,))),
)
