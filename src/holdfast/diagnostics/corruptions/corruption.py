"""What a common corruption is: a change at five severities, on 8-bit images."""

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.noise import Noise
from holdfast.typing import Images

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One of Hendrycks and Dietterich's corruptions (ICLR 2019, arXiv:1903.12261), as CIFAR-10-C was made with it.

    Args:
        name: that of the published file.
        group: "noise", "blur", "weather", "digital", or "extra" for those outside the benchmark's mean.
        change: [B, C, H, W] 8-bit images in [0, 1], noise, and a severity's constants to corrupted images.
        constants: those of severities 1 to 5.
        colour: needs three channels.
    """

    name: str
    group: str
    change: Callable[..., Images]
    constants: tuple[tuple[float, ...], ...]
    colour: bool = False

    def __call__(self, x: Images, severity: int, noise: Noise) -> Images:
        """Corrupt [B, C, H, W] images in [0, 1]; what comes out is 8-bit, as the published arrays are."""
        return eight_bits(self.change(levels(x), noise, *self.constants[severity - 1]))


def levels(x: Images) -> Images:
    """The nearest 8-bit images."""
    return (x * 255.0).round() / 255.0


def eight_bits(x: Images) -> Images:
    """Images clipped to [0, 1] and cut down to whole grey levels, as numpy's conversion to bytes does it."""
    # A value that is a whole level but for rounding must not fall to the one below.
    return (x.clamp(0.0, 1.0) * 255.0 + 1e-3).floor() / 255.0
