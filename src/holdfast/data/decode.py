"""From image files to uint8 tensors, large ones on several threads: Pillow lets go of the interpreter to decode."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.errors import DataError, InvalidInput
from holdfast.typing import Images

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_GREY_MODES = {"1", "L", "LA", "La"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_FORMATS = {b"\x89PN": ("PNG",), b"RIF": ("WEBP",), b"\xff\xd8\xff": ("JPEG",)}  # by a file's first bytes
_FEW, _SMALL = 16, 8192  # files that are looked at; bytes
_BLOCK = 256  # images a task: long enough that handing out tasks costs nothing

Pixels = NDArray[np.uint8]
Encoded = bytes | Path  # an image file's content, or where it lies
Origin = Callable[[int], str]  # what a message calls the i-th image


@dataclass(frozen=True)
class Decoder:
    """How to read the images of a set, so that all have one shape.

    Args:
        channels: 1 for grey, 3 for colour; 0 follows the first training image: if it is in colour, grey ones are
            repeated to three channels; if it is grey, one in colour is an error. Asked for grey, colour is weighted by
            the luma of ITU-R 601. Transparency is dropped.
        size: side in pixels to which each image is cropped at the centre, to a square, and resized (bicubic); 0 leaves
            images as they are.

    Raises:
        InvalidInput: at construction, for other numbers.
    """

    channels: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        if self.channels not in (0, 1, 3):
            raise InvalidInput(f"channels is {self.channels}; give 1 for grey, 3 for colour, 0 to follow the data")
        if self.size < 0:
            raise InvalidInput(f"size is {self.size}; give a side in pixels, or 0 to leave images as they are")

    def read(self, encoded: Encoded, name: str) -> Pixels:
        """Decode one image to [C, H, W]; with `channels` 0, C is 1 or 3 as in the file.

        Raises:
            DataError: it cannot be read, or is of 16 bits, which are more than the grey levels held here.
        """
        from PIL import Image, ImageOps

        try:
            with _open(encoded) as image:
                if image.mode in _DEEP_MODES:
                    raise DataError(f"{name} has mode {image.mode}, more than 8 bits a channel; save it as 8-bit")
                grey = self.channels == 1 or (self.channels == 0 and image.mode in _GREY_MODES)
                pixels: Image.Image = image.convert("L" if grey else "RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{name} cannot be decoded as an image: {error}") from error
        if self.size:
            pixels = ImageOps.fit(pixels, (self.size, self.size), Image.Resampling.BICUBIC)
        array = np.asarray(pixels)
        return array[None] if grey else array.transpose(2, 0, 1)

    def read_all(self, encoded: Sequence[Encoded], shape: tuple[int, ...], origin: Origin) -> Images:
        """Decode images of one shape to uint8 [N, C, H, W].

        Args:
            encoded: file contents or paths.
            shape: (C, H, W) of every image.
            origin: gives the name of the i-th image, for messages.

        Raises:
            DataError: as `read`, or an image has another shape; the message says which.
        """
        images = np.empty((len(encoded), *shape), dtype=np.uint8)

        def fill(start: int) -> None:
            for i in range(start, min(start + _BLOCK, len(encoded))):
                images[i] = fit(self.read(encoded[i], origin(i)), shape, origin(i))

        with ThreadPoolExecutor(1 if _small(encoded) else threads()) as pool:
            for _ in pool.map(fill, range(0, len(encoded), _BLOCK)):
                pass
        return torch.from_numpy(images)


def _open(encoded: Encoded) -> "ImageFile":
    """A Pillow image, its pixels not yet decoded.

    Pillow asks one format after the other whether a file is theirs, which takes longer than to decode a WebP image of
    32 x 32 pixels; so that of a usual file's first bytes is asked alone.
    """
    from PIL import Image

    if isinstance(encoded, bytes):
        return Image.open(BytesIO(encoded), formats=_FORMATS.get(encoded[:3]))
    return Image.open(encoded)


def fit(image: Pixels, shape: tuple[int, ...], name: str) -> Pixels:
    """Return the image [C, H, W] at the shape of its set: grey is repeated to colour, all else is refused.

    Raises:
        DataError: another size, or colour among grey; the message names the image and the remedy.
    """
    (channels, height, width), (_, high, wide) = image.shape, shape
    if (height, width) != (high, wide):
        raise DataError(
            f"{name} has {height} x {width} pixels, but the first training image has {high} x {wide}, and a set has "
            f"one size. Give size={min(high, wide)} (--set data.size={min(high, wide)}) to crop and resize all"
        )
    if channels > shape[0]:
        raise DataError(
            f"{name} is in colour, but the first training image is grey. Give channels=3 (--set data.channels=3) for "
            "colour, or channels=1 for grey"
        )
    return image if image.shape == shape else np.broadcast_to(image, shape)


def _small(encoded: Sequence[Encoded]) -> bool:
    """Whether images, judged by the first few, are so small that threads would only wait for each other's Python: with
    two, 32 x 32 pixels of PNG take 1.7 times as long as with one, 96 x 96 pixels 0.6 times."""
    sizes = [
        len(one) if isinstance(one, bytes) else one.stat().st_size if one.exists() else 0 for one in encoded[:_FEW]
    ]
    return sum(sizes) < _SMALL * len(sizes)


def threads() -> int:
    """Threads that decode at once: the machine's processors, but no more than 16."""
    return min(os.cpu_count() or 1, 16)
