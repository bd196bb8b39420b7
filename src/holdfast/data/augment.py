"""Augmentation of whole batches on their device; row i depends on its own noise alone, so on no other row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.errors import InvalidInput, unknown
from holdfast.noise import Noise
from holdfast.typing import Images

Augment = Callable[[Images, Noise], Images]  # [B, C, H, W] of any dtype -> the same shape and dtype


@dataclass(frozen=True)
class RandomCrop:
    """Pad by `padding` pixels on each side, then cut a window of the old size, its corner uniform over all places.

    Args:
        padding: pixels a side; 4 for CIFAR (He et al. 2016).
        mode: zeros (black), or reflect (the image mirrored, its border pixel not repeated).

    Raises:
        InvalidInput: at construction, for padding below 1 or an unknown mode; at use, for images too small to reflect.
    """

    padding: int = 4
    mode: str = "zeros"

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise InvalidInput(f"padding of RandomCrop is {self.padding}; give at least 1, or leave the crop out")
        if self.mode not in ("zeros", "reflect"):
            raise unknown("mode of RandomCrop", self.mode, ("zeros", "reflect"))

    def __call__(self, x: Images, noise: Noise) -> Images:
        """Crop [B, C, H, W]."""
        _, _, height, width = x.shape
        # Every window of the padded batch, as a view: [B, C, top, left, H, W].
        windows = self._pad(x).unfold(2, height, 1).unfold(3, width, 1)
        top, left = noise.integers(2 * self.padding + 1, (2,)).unbind(dim=1)
        return windows[torch.arange(len(x), device=x.device), :, top, left]

    def _pad(self, x: Images) -> Images:
        if self.mode == "zeros":
            return F.pad(x, (self.padding,) * 4)
        _, _, height, width = x.shape
        if min(height, width) <= self.padding:
            raise InvalidInput(
                f"{height} x {width} images cannot be reflected over {self.padding} pixels; give a padding below "
                f"{min(height, width)}, or mode zeros"
            )
        # By index, because torch's own reflection takes no uint8 on some devices.
        return x.index_select(2, self._mirrored(height, x)).index_select(3, self._mirrored(width, x))

    def _mirrored(self, side: int, x: Images) -> Tensor:
        """Positions of the pixels that stand at -padding ... side + padding - 1 once the image is mirrored."""
        outside = torch.arange(-self.padding, side + self.padding, device=x.device).abs()
        return (side - 1) - ((side - 1) - outside).abs()


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror an image left to right.

    Args:
        probability: of mirroring, in [0, 1].

    Raises:
        InvalidInput: for another probability.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise InvalidInput(f"probability of HorizontalFlip is {self.probability}; give a number in [0, 1]")

    def __call__(self, x: Images, noise: Noise) -> Images:
        """Mirror rows of [B, C, H, W]."""
        mirrored = noise.uniform(()) < self.probability
        return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


def apply(augment: Sequence[Augment], x: Images, noise: Noise) -> Images:
    """Apply each of `augment` in turn, with noise of its own."""
    for position, change in enumerate(augment):
        x = change(x, noise.fold(position))
    return x
