"""FileSet: labelled images that stay in their files, for sets larger than the memory."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from holdfast.data.decode import Decoder, fit
from holdfast.data.holdout import holdout
from holdfast.data.imageset import ImageSet, check_labels
from holdfast.typing import Images, Labels


@dataclass(frozen=True, eq=False)
class FileSet:
    """As an `ImageSet`, but an image is decoded when it is asked for.

    Args:
        files: [N] paths of image files.
        labels: int64 [N], class indices.
        classes: names of the K classes.
        name: for messages and records, "source/split".
        decoder: how files are read.
        shape: (C, H, W) of every image.

    Raises:
        DataError: at construction, as `ImageSet` for the labels; at reading, a file that does not fit the shape.
    """

    files: tuple[Path, ...] = field(repr=False)
    labels: Labels = field(repr=False)
    classes: tuple[str, ...]
    name: str
    decoder: Decoder
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes, self.name)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of every file's last two path parts, size and label: cheap, but blind to pixels."""
        digest = hashlib.sha256(f"{self.shape} {self.classes}".encode())
        for file, label in zip(self.files, self.labels.tolist(), strict=True):
            digest.update(f"{file.parent.name}/{file.name} {file.stat().st_size} {label}\n".encode())
        return digest.hexdigest()

    def subset(self, index: Tensor | Sequence[int]) -> "FileSet":
        """The examples at the [M] positions `index`, in that order."""
        index = torch.as_tensor(index, dtype=torch.int64)
        files = tuple(self.files[i] for i in index.tolist())
        return replace(self, files=files, labels=self.labels[index])

    def split_holdout(self, size: int | float | None = None, seed: int = 0) -> tuple["FileSet", "FileSet"]:
        """Two disjoint, stratified sets (train, held_out) that together are this one; see `holdout`."""
        train, held_out = holdout(self.labels, size, seed)
        return self.subset(train), self.subset(held_out)

    def pixels(self, index: Tensor) -> Images:
        """The examples at the [M] positions, decoded: uint8 [M, C, H, W]."""
        return self.subset(index).load().images

    def read(self, index: int) -> Images:
        """Decode the image at a position: uint8 [C, H, W]."""
        name = str(self.files[index])
        return torch.from_numpy(fit(self.decoder.read(self.files[index], name), self.shape, name).copy())

    def load(self) -> ImageSet:
        """Decode all images into memory."""
        images = self.decoder.read_all(self.files, self.shape, lambda i: str(self.files[i]))
        return ImageSet(images, self.labels, self.classes, self.name)
