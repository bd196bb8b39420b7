"""Common corruptions (Hendrycks and Dietterich, ICLR 2019, arXiv:1903.12261), made here or read as published.

The versions made here follow hendrycks/robustness 8190fe3, ImageNet-C/create_c/make_cifar_c.py: its constants for the
five severities and its order of operations, with random numbers of our own that belong to the example. They are not
the published arrays, whose random draws nobody can repeat: quote CIFAR-10-C numbers from the arrays only. The constants
were chosen for 32 x 32 images; on others the same numbers of pixels are used, which is ours. Known differences: no
8-bit rounding between two steps where the reference stores an image to hand it to ImageMagick, and exact positions
where OpenCV rounds them to 1/32 pixel. Frost needs photographs of frost, spatter OpenCV's edge detector and distance
transform: neither is made.
"""

import torch
from torch import nn

from holdfast.data import ImageSet
from holdfast.diagnostics.corruptions.blurs import BLURS, GAUSSIAN_BLUR
from holdfast.diagnostics.corruptions.corruption import SEVERITIES, Corruption
from holdfast.diagnostics.corruptions.digital import DIGITAL, SATURATE
from holdfast.diagnostics.corruptions.noises import NOISES, SPECKLE
from holdfast.diagnostics.corruptions.published import published_corruptions
from holdfast.diagnostics.corruptions.weather import WEATHER
from holdfast.diagnostics.settings import Setting, count_all
from holdfast.noise import Noise
from holdfast.results import Shifts
from holdfast.typing import Images

__all__ = ["CORRUPTIONS", "Corruption", "common_corruptions", "published_corruptions"]

CORRUPTIONS = (*NOISES, *BLURS, *WEATHER, *DIGITAL, SPECKLE, GAUSSIAN_BLUR, SATURATE)
SOURCE = "common corruptions made by Holdfast with the constants of CIFAR-10-C; not the published arrays"
NOT_MADE = {
    "frost": "needs photographs of frost; give the published arrays",
    "spatter": "needs OpenCV's edge detector and distance transform; give the published arrays",
}


def _setting(corruption: Corruption, severity: int) -> Setting:
    def change(x: Images, noise: Noise, severity: int = severity) -> Images:
        return corruption(x, severity, noise)

    return Setting(corruption.group, corruption.name, f"severity {severity}", severity, change)


def common_corruptions(
    model: nn.Module,
    images: ImageSet,
    *,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Shifts:
    """Measure accuracy under every corruption at severities 1 to 5, the model in eval mode.

    Args:
        images: [N, C, H, W]; where C is not 3 corruptions of colour are skipped, and the result says so.
    """
    made = [corruption for corruption in CORRUPTIONS if images.shape[0] == 3 or not corruption.colour]
    skipped = NOT_MADE | {c.name: "grey images have no colour" for c in CORRUPTIONS if c not in made}
    settings = [_setting(corruption, severity) for corruption in made for severity in SEVERITIES]
    return count_all(
        model, images, settings, source=SOURCE, skipped=skipped, seed=seed, batch_size=batch_size, device=device
    )
