"""Inputs as pictures: PNG data URIs of images and of their magnified, signed perturbations."""

from base64 import b64encode
from io import BytesIO
from math import floor, log10

import numpy as np
from numpy.typing import NDArray

# A perturbation of one channel runs from blue (darker) over white to red (brighter); both ends are equally strong.
DARKER = np.array([33, 102, 172], dtype=np.float64)
BRIGHTER = np.array([178, 24, 43], dtype=np.float64)


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether one example of this shape is a picture: [H, W], or [C, H, W] with one or three channels."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))


def picture(x: NDArray[np.float32], low: float, high: float) -> str:
    """The image x [C, H, W] or [H, W] with values in [low, high] as a data URI."""
    pixels = np.clip((_channels(x) - low) / (high - low), 0, 1) * 255
    return _png(np.rint(pixels).astype(np.uint8))


def magnification(difference: NDArray[np.float32], low: float, high: float) -> float:
    """The factor, of two digits, by which the largest change becomes half of the range (which must not be 0)."""
    largest = float(np.abs(difference).max(initial=0.0)) / (high - low)
    factor = 0.5 / largest
    digit = 10.0 ** (floor(log10(factor)) - 1)
    return floor(factor / digit + 1e-4) * digit  # float32 must not turn 5.0 into 4.9


def perturbation(difference: NDArray[np.float32], factor: float, low: float, high: float) -> str:
    """The signed change, magnified: no change is grey in colour images and white in those of one channel."""
    shown = np.clip(_channels(difference) * factor / (high - low) * 2, -1, 1)
    if shown.shape[2] == 3:
        return _png(np.rint(127.5 + 127.5 * shown).astype(np.uint8))
    end = np.where(shown < 0, DARKER, BRIGHTER)
    return _png(np.rint(255 + np.abs(shown) * (end - 255)).astype(np.uint8))


def _channels(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """[H, W, C] of an image."""
    return np.moveaxis(np.asarray(x, dtype=np.float64).reshape(-1, *x.shape[-2:]), 0, 2)


def _png(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode("ascii")
