"""A folder of image files, one folder a class."""

from dataclasses import dataclass
from pathlib import Path

import torch

from holdfast.data.decode import Decoder
from holdfast.data.fileset import FileSet
from holdfast.data.imageset import ImageSet
from holdfast.data.source import SPLITS, check_split
from holdfast.errors import DataError

_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Folder:
    """Images from train/<class>/*.png and test/<class>/*.png (or another common format).

    The classes are the folders of train, by name; files are taken by name. All images have one size, or are brought to
    one by `size`. The test split may also be called validation, valid or val.

    Args:
        path: of the folder that holds train and test.
        name: of the data set; by default that of the folder.
        channels: see `Decoder`.
        size: see `Decoder`.

    Raises:
        DataError: at loading, if a split is missing or empty or has a class that train has not, or an image cannot be
            read or has another size than the first. Not at construction: a recorded recipe can be read on a machine
            that lacks the data.
    """

    path: str
    name: str = ""
    channels: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        Decoder(self.channels, self.size)
        if not self.name:
            object.__setattr__(self, "name", Path(self.path).expanduser().resolve().name)

    def load(self, split: str) -> ImageSet:
        """Read the split "train" or "test" into memory: uint8 [N, C, H, W]."""
        return self.files(split).load()

    def files(self, split: str) -> FileSet:
        """The split "train" or "test" without decoding it, see `open_split`."""
        classes, present = self._classes("train"), self._classes(check_split(split))
        if not classes:
            raise DataError(f"{self._split('train')} has no folders; give one folder a class, train/<class>/*.png")
        if strange := sorted(set(present) - set(classes)):
            raise DataError(f"{self._split(split)} has classes that train has not: {', '.join(strange)}")
        number = {word: label for label, word in enumerate(classes)}
        files = self._files(split)
        decoder = Decoder(self.channels, self.size)
        first = (files if split == "train" else self._files("train"))[0]
        return FileSet(
            files=tuple(files),
            labels=torch.tensor([number[file.parent.name] for file in files]),
            classes=tuple(classes),
            name=f"{self.name}/{split}",
            decoder=decoder,
            shape=decoder.read(first, str(first)).shape,
        )

    def _files(self, split: str) -> list[Path]:
        folder = self._split(split)
        files = [f for word in self._classes(split) for f in sorted((folder / word).iterdir())]
        files = [f for f in files if f.suffix.lower() in _ENDINGS]
        if not files:
            raise DataError(f"{folder} is empty: its folders hold no {', '.join(sorted(_ENDINGS))}")
        return files

    def _split(self, split: str) -> Path:
        root = Path(self.path).expanduser()
        for word in SPLITS[split]:
            if (root / word).is_dir():
                return root / word
        raise DataError(
            f"there is no folder {' or '.join(SPLITS[split])} in {self.path}; every source needs both splits"
        )

    def _classes(self, split: str) -> list[str]:
        return sorted(
            folder.name for folder in self._split(split).iterdir() if folder.is_dir() and folder.name[0] != "."
        )
