"""CIFAR-10-C and CIFAR-100-C as they were published: a folder with <corruption>.npy and labels.npy.

Each <corruption>.npy is uint8 [50000, 32, 32, 3]: the 10,000 test images at severity 1, then at 2, and so on to 5;
labels.npy goes with every one of them (README of the data, zenodo.org/records/2535967 and 3555552, CC BY 4.0).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from holdfast import modes
from holdfast.data import ImageSet, ordered_batches
from holdfast.diagnostics.corruptions.corruption import SEVERITIES
from holdfast.diagnostics.settings import count_right
from holdfast.errors import DataError
from holdfast.results import Shift, Shifts

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}


def _array(path: Path) -> NDArray[Any]:
    """An array that is read as it is needed. Raises DataError for a missing or foreign file."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {path} as a numpy array ({error}); download the archive again") from error
    return array


def _severity(folder: Path, name: str, severity: int, like: ImageSet) -> ImageSet:
    """The first images of one file at one severity, as many as `like` has."""
    pixels, labels = _array(folder / f"{name}.npy"), _array(folder / "labels.npy")
    each, rest = divmod(len(pixels), len(SEVERITIES))
    height, width, channels = like.shape[1], like.shape[2], like.shape[0]
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, channels) or rest:
        raise DataError(
            f"{folder / name}.npy holds {pixels.dtype} of shape {pixels.shape}; for this model it should be uint8 "
            f"[5 N, {height}, {width}, {channels}]"
        )
    if len(labels) != len(pixels) or each < len(like):
        raise DataError(
            f"{folder} has {len(labels)} labels and {each} images a severity in {name}.npy; {len(like)} are asked for"
        )
    rows = slice((severity - 1) * each, (severity - 1) * each + len(like))
    images = torch.from_numpy(np.ascontiguousarray(pixels[rows].transpose(0, 3, 1, 2)))
    return ImageSet(images, torch.from_numpy(labels[rows].astype(np.int64)), like.classes, f"{name}/{severity}")


def published_corruptions(
    model: nn.Module,
    folder: Path,
    clean: ImageSet,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Shifts:
    """Measure accuracy on the published arrays, the model in eval mode.

    Args:
        clean: test images of the same data set; as many of each severity are measured as it has, from the first on.

    Raises:
        DataError: no such arrays in `folder`, or of another shape than the clean images.
    """
    folder = Path(folder)
    found = {group: [name for name in names if (folder / f"{name}.npy").exists()] for group, names in GROUPS.items()}
    if not any(found.values()):
        raise DataError(f"{folder} has none of the published arrays (gaussian_noise.npy, ..., saturate.npy)")

    def right(images: ImageSet) -> int:
        return sum(count_right(model, x, y) for x, y, _ in ordered_batches(images, batch_size, device))

    shifts = []
    with modes.inference(model):
        counted = right(clean)
        for group, names in found.items():
            for name in names:
                for severity in SEVERITIES:
                    correct = right(_severity(folder, name, severity, clean))
                    shifts.append(Shift(group, name, f"severity {severity}", severity, correct))
    absent = {
        name: "not in the folder" for group, names in GROUPS.items() for name in names if name not in found[group]
    }
    return Shifts(len(clean), counted, tuple(shifts), f"the published arrays {folder.name}", absent)
