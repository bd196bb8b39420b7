"""Data that the caller has in memory already."""

from dataclasses import dataclass, field
from typing import Any

import torch

from holdfast.data.imageset import ImageSet
from holdfast.data.source import check_split
from holdfast.errors import InvalidInput

_ROUNDING = 1e-6  # float inputs may leave [0, 1] by this much (resizing and colour arithmetic do) and are put back


@dataclass(frozen=True, eq=False)
class Tensors:
    """Two splits of torch tensors or numpy arrays, as pairs (inputs, labels).

    Args:
        train: inputs, uint8 [N, C, H, W] or numbers in [0, 1] of any shape [N, ...]; and N integer labels.
        test: likewise.
        classes: names of the classes; by default "0", "1", ... to the greatest label of the two splits.
        name: of the data set.

    Raises:
        InvalidInput, DataError: as `ImageSet`, at construction.
    """

    train: tuple[Any, Any] = field(repr=False)
    test: tuple[Any, Any] = field(repr=False)
    classes: tuple[str, ...] = ()
    name: str = "tensors"

    def __post_init__(self) -> None:
        if not self.classes:
            filled = [torch.as_tensor(labels) for _, labels in (self.train, self.test) if len(labels)]
            highest = max((int(labels.max()) for labels in filled), default=0)
            object.__setattr__(self, "classes", tuple(str(label) for label in range(highest + 1)))
        shapes = [self.load(split).shape for split in ("train", "test")]
        if shapes[0] != shapes[1]:
            raise InvalidInput(f"train examples of {self.name} have shape {shapes[0]} and test examples {shapes[1]}")

    def load(self, split: str) -> ImageSet:
        """Read the split "train" or "test"."""
        inputs, labels = self.train if check_split(split) == "train" else self.test
        images, classes = torch.as_tensor(inputs), torch.as_tensor(labels)
        if images.is_floating_point():
            images = images.to(torch.float32)
            slightly = (images < 0.0) & (images >= -_ROUNDING) | (images > 1.0) & (images <= 1.0 + _ROUNDING)
            images = torch.where(slightly, images.clamp(0.0, 1.0), images)
        if not classes.is_floating_point():
            classes = classes.to(torch.int64)
        return ImageSet(images, classes, self.classes, f"{self.name}/{split}")
