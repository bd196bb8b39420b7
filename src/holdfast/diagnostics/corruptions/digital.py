"""Digital: contrast, elastic, pixelate, JPEG; saturate as an extra. Pillow does the last two of the four."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from holdfast.diagnostics.blur import gaussian_blur
from holdfast.diagnostics.colour import from_hsv, to_hsv
from holdfast.diagnostics.corruptions.corruption import Corruption
from holdfast.diagnostics.sampling import grid, read
from holdfast.noise import Noise
from holdfast.typing import Images


def contrast(x: Images, noise: Noise, factor: float) -> Images:
    """Draw each channel towards its mean."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    return (x - mean) * factor + mean


def saturate(x: Images, noise: Noise, factor: float, more: float) -> Images:
    """Multiply the saturation of HSV by `factor`, then add `more`."""
    hue, saturation, value = to_hsv(x).unbind(dim=1)
    return from_hsv(torch.stack([hue, (saturation * factor + more).clamp(0.0, 1.0), value], dim=1))


def elastic(x: Images, noise: Noise, strength: float, smoothness: float, shear: float) -> Images:
    """Move three points of the image at random and the rest with them, then every pixel by a smooth random field.

    Args:
        strength, smoothness, shear: size of the field, deviation of the Gaussian that smooths it, and greatest move of
            the three points, in units of the image's (shorter) side.
    """
    height, width = x.shape[2:]
    side = min(height, width)
    moved = read(x, *_affine(x, noise.fold(0), shear * side), border="mirror")
    field = noise.fold(1).uniform((2, height, width), -1.0, 1.0).to(x.dtype)
    if strength:
        field = strength * side * gaussian_blur(field, smoothness * side, "symmetric", truncate=3.0)
    else:
        field = torch.zeros_like(field)
    row, column = grid(x)
    return read(moved, row + field[:, 1], column + field[:, 0], border="symmetric")


def _affine(x: Images, noise: Noise, shear: float) -> tuple[Tensor, Tensor]:
    """Where each pixel's value comes from, row and column [B, H, W], when three points around the centre move."""
    height, width = x.shape[2:]
    across, down, arm = float(width // 2), float(height // 2), float(min(height, width) // 3)
    corners = [[across + arm, down + arm], [across + arm, down - arm], [across - arm, down - arm]]
    before = torch.tensor(corners, dtype=torch.float64, device=x.device)
    after = before + noise.uniform((3, 2), -shear, shear).double()
    # The map from where points are after the move back to where they were: [B, 3, 2].
    back = torch.linalg.solve(torch.cat([after, torch.ones_like(after[..., :1])], dim=2), before.expand_as(after))
    row, column = grid(x)
    places = torch.stack([column, row, torch.ones_like(row)], dim=-1).double() @ back[:, None]
    return places[..., 1].to(x.dtype), places[..., 0].to(x.dtype)


def pixelate(x: Images, noise: Noise, share: float) -> Images:
    """Shrink by a box filter to `share` of the sides, and enlarge again."""

    def change(picture: Image.Image) -> Image.Image:
        size = picture.size
        small = (max(int(size[0] * share), 1), max(int(size[1] * share), 1))
        return picture.resize(small, Image.Resampling.BOX).resize(size, Image.Resampling.BOX)

    return through_pillow(x, change)


def jpeg(x: Images, noise: Noise, quality: float) -> Images:
    """Compress by libjpeg at `quality`, and read back."""

    def change(picture: Image.Image) -> Image.Image:
        file = BytesIO()
        picture.save(file, "JPEG", quality=int(quality))
        return Image.open(file)

    return through_pillow(x, change)


def through_pillow(x: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    """Change 8-bit images [B, C, H, W] one by one: in colour where C is 3, else every channel as a grey image."""
    pixels = (x * 255.0).round().to(torch.uint8).cpu()
    pictures = pixels.permute(0, 2, 3, 1) if x.shape[1] == 3 else pixels.flatten(0, 1)
    changed = np.stack([np.asarray(change(Image.fromarray(picture))) for picture in pictures.numpy()])
    result = torch.from_numpy(changed).to(x.device)
    result = result.permute(0, 3, 1, 2) if x.shape[1] == 3 else result.reshape(x.shape)
    return result.to(x.dtype).contiguous() / 255.0


DIGITAL = (
    Corruption("contrast", "digital", contrast, ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))),
    Corruption(
        "elastic_transform",
        "digital",
        elastic,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    Corruption("pixelate", "digital", pixelate, ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))),
    Corruption("jpeg_compression", "digital", jpeg, ((80,), (65,), (58,), (50,), (40,))),
)
SATURATE = Corruption("saturate", "extra", saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), colour=True)
