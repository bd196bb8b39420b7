"""ImageSet: labelled images, or rows of a table, that have been checked once and are believed from then on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from holdfast.data.holdout import holdout
from holdfast.errors import DataError, InvalidInput
from holdfast.typing import Images, Labels


def check_labels(labels: Labels, classes: Sequence[str], name: str) -> None:
    """Refuse labels that are no class indices.

    Raises:
        DataError: no label at all, or one outside [0, K); the message names its index, its value and K.
        InvalidInput: not an int64 vector, or fewer than two classes.
    """
    if len(labels) == 0:
        raise DataError(f"{name} is empty; every split needs at least one example")
    if labels.dtype != torch.int64 or labels.dim() != 1:
        raise InvalidInput(
            f"labels of {name} are {labels.dtype} of shape {tuple(labels.shape)}; give int64 class indices of shape [N]"
        )
    if len(classes) < 2:
        raise InvalidInput(f"{name} has {len(classes)} classes; a classifier needs at least 2")
    outside = ((labels < 0) | (labels >= len(classes))).nonzero().flatten()
    if len(outside):
        index = int(outside[0])
        raise DataError(
            f"label {int(labels[index])} of example {index} of {name} is outside [0, {len(classes)}), as are "
            f"{len(outside)} of {len(labels)}; number the {len(classes)} classes from 0, and name all of them"
        )


def counted(n: int | None, size: int, name: str) -> int:
    """How many the first `n` of `size` examples are: n itself, or all for None.

    Raises:
        InvalidInput: there are not so many, or n is below 1.
    """
    count = size if n is None else n
    if not 1 <= count <= size:
        raise InvalidInput(f"n is {n}, but {name} has {size} examples; give 1 to {size}")
    return count


def number_classes(labels: Sequence[Labels]) -> tuple[str, ...]:
    """Names "0", "1", ... up to the greatest label of all splits, for data that does not name its classes."""
    highest = max((int(split.max()) for split in labels if len(split)), default=-1)
    return tuple(str(label) for label in range(highest + 1))


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled examples in memory.

    Args:
        images: uint8 [N, C, H, W], grey levels 0 to 255; or float32 [N, ...] of any rank >= 2 in [0, 1].
        labels: int64 [N], class indices.
        classes: names of the K classes.
        name: for messages and records, "source/split".

    Raises:
        InvalidInput: a dtype, shape or range that is not the above; the message holds the remedy.
        DataError: no examples, as many labels as images there are not, or a label outside [0, K).
    """

    images: Images = field(repr=False)
    labels: Labels = field(repr=False)
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes, self.name)
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{self.name} has {len(self.images)} images and {len(self.labels)} labels; give one label an image"
            )
        if self.images.dtype == torch.uint8:
            self._check_grey_levels()
        elif self.images.dtype == torch.float32:
            self._check_numbers()
        else:
            raise InvalidInput(
                f"images of {self.name} are {self.images.dtype}; give uint8 grey levels, or .float() numbers in [0, 1]"
            )

    def _check_grey_levels(self) -> None:
        shape = tuple(self.images.shape)
        if len(shape) != 4 or 0 in shape:
            raise InvalidInput(f"uint8 images of {self.name} have shape {shape}; give [N, C, H, W], C is 1 for grey")
        if shape[3] in (1, 3) and shape[1] > 4:
            raise InvalidInput(
                f"images of {self.name} have shape {shape}, which looks like [N, H, W, C]; give "
                "images.permute(0, 3, 1, 2)"
            )

    def _check_numbers(self) -> None:
        if self.images.dim() < 2 or 0 in self.images.shape:
            raise InvalidInput(
                f"examples of {self.name} have shape {tuple(self.images.shape)}; give [N, C, H, W] or [N, F]"
            )
        low, high = (float(bound) for bound in torch.aminmax(self.images))
        # A NaN is neither below nor above, so the condition is what holds for good numbers.
        if not (low >= 0.0 and high <= 1.0):
            remedy = "divide by 255" if low >= 0.0 and high > 2.0 else "scale the inputs to [0, 1]"
            raise InvalidInput(
                f"inputs of {self.name} span [{low:g}, {high:g}], outside [0, 1]; {remedy}, and put normalisation in "
                "the model (mean and std of its architecture)"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example: (C, H, W), or (F,) for a table."""
        return tuple(self.images.shape[1:])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of everything but the name: the same for the same examples in the same order."""
        header = f"{self.images.dtype} {tuple(self.images.shape)} {self.classes}"
        digest = hashlib.sha256(header.encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def pixels(self, index: Tensor) -> Images:
        """The examples at the [M] positions, as they are stored."""
        return self.images[index]

    def load(self) -> "ImageSet":
        """All of them in memory, where they are."""
        return self

    def subset(self, index: Tensor | Sequence[int]) -> "ImageSet":
        """The examples at the [M] positions `index`, in that order."""
        index = torch.as_tensor(index, dtype=torch.int64)
        return replace(self, images=self.images[index], labels=self.labels[index])

    def split_holdout(self, size: int | float | None = None, seed: int = 0) -> tuple["ImageSet", "ImageSet"]:
        """Two disjoint, stratified sets (train, held_out) that together are this one; see `holdout`."""
        train, held_out = holdout(self.labels, size, seed)
        return self.subset(train), self.subset(held_out)
