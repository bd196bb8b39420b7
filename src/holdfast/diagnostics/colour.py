"""Colour arithmetic on [B, C, H, W] in [0, 1], C being 1 or 3; amounts are floats, equal for all rows."""

import torch
from torch import Tensor

from holdfast.typing import Images

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and OpenCV have it


def luma(x: Images) -> Images:
    """[B, 1, H, W] brightness as the eye weighs it; the mean of the channels where there are not three."""
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    return (x * x.new_tensor(_LUMA).reshape(3, 1, 1)).sum(dim=1, keepdim=True)


def grey(x: Images) -> Images:
    """Every channel replaced by the luma."""
    return luma(x).expand_as(x).contiguous()


def brightness(x: Images, factor: float) -> Images:
    """factor * x, clipped."""
    return (x * factor).clamp(0.0, 1.0)


def contrast(x: Images, factor: float) -> Images:
    """m + factor * (x - m), clipped, where m is the image's mean luma."""
    mean = luma(x).mean(dim=(2, 3), keepdim=True)
    return torch.lerp(mean.expand_as(x), x, factor).clamp(0.0, 1.0)


def saturation(x: Images, factor: float) -> Images:
    """g + factor * (x - g), clipped, where g is the pixel's luma."""
    return torch.lerp(luma(x).expand_as(x), x, factor).clamp(0.0, 1.0)


def hue(x: Images, turn: float) -> Images:
    """Every colour's hue moved by `turn` of the colour circle (0.5 is the opposite colour)."""
    angle, colourfulness, value = to_hsv(x).unbind(dim=1)
    return from_hsv(torch.stack([(angle + turn) % 1.0, colourfulness, value], dim=1))


def to_hsv(x: Images) -> Images:
    """[B, 3, H, W] red, green, blue -> hue in [0, 1), saturation and value in [0, 1] (Smith 1978); grey has hue 0."""
    value, brightest = x.max(dim=1)
    chroma = value - x.amin(dim=1)
    divisor = torch.where(chroma > 0, chroma, 1.0)
    red, green, blue = x.unbind(dim=1)
    sextants = torch.stack(
        [((green - blue) / divisor) % 6.0, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0], dim=1
    )
    angle = sextants.gather(1, brightest[:, None])[:, 0] / 6.0
    return torch.stack([angle, chroma / torch.where(value > 0, value, 1.0), value], dim=1)


def from_hsv(hsv: Images) -> Images:
    """[B, 3, H, W] hue, saturation, value -> red, green, blue."""
    angle, colourfulness, value = (channel[:, None] for channel in hsv.unbind(dim=1))
    # A channel falls from value to value * (1 - saturation) as the hue leaves its sextants.
    place: Tensor = (angle * 6.0 + hsv.new_tensor([5.0, 3.0, 1.0]).reshape(1, 3, 1, 1)) % 6.0
    fall = torch.minimum(place, 4.0 - place).clamp(0.0, 1.0)
    return value - value * colourfulness * fall
