"""Data that the caller has in memory already."""

from dataclasses import dataclass, field
from typing import Any

import torch

from holdfast.data.imageset import ImageSet, number_classes
from holdfast.data.source import check_split
from holdfast.errors import InvalidInput
from holdfast.typing import Images, Labels

_ROUNDING = 1e-6  # float inputs may leave [0, 1] by this much (resizing and colour arithmetic do) and are put back


@dataclass(frozen=True, eq=False)
class Tensors:
    """Two splits of torch tensors or numpy arrays, as pairs (inputs, labels).

    Args:
        train: inputs, uint8 [N, C, H, W] or numbers in [0, 1] of any shape [N, ...]; and N integer labels. Kept as
            tensors of the types of `ImageSet`.
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
        object.__setattr__(self, "train", _converted(*self.train))
        object.__setattr__(self, "test", _converted(*self.test))
        if not self.classes:
            object.__setattr__(self, "classes", number_classes([self.train[1], self.test[1]]))
        train, test = self.load("train"), self.load("test")
        if train.shape != test.shape:
            raise InvalidInput(f"train examples of {self.name} have shape {train.shape} and test examples {test.shape}")

    def load(self, split: str) -> ImageSet:
        """Take the split "train" or "test"."""
        images, labels = self.train if check_split(split) == "train" else self.test
        return ImageSet(images, labels, self.classes, f"{self.name}/{split}")


def _converted(inputs: Any, labels: Any) -> tuple[Images, Labels]:
    images, numbers = torch.as_tensor(inputs), torch.as_tensor(labels)
    if images.is_floating_point():
        images = images.to(torch.float32)
        slightly = (images < 0.0) & (images >= -_ROUNDING) | (images > 1.0) & (images <= 1.0 + _ROUNDING)
        images = torch.where(slightly, images.clamp(0.0, 1.0), images)
    return images, numbers if numbers.is_floating_point() else numbers.to(torch.int64)
