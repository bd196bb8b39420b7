"""What a source of data is, and the names of its two splits."""

from typing import Protocol, runtime_checkable

from holdfast.data.imageset import ImageSet
from holdfast.errors import unknown

# What other projects call the split that a result is reported on; the first that exists is taken.
SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}


@runtime_checkable
class Source(Protocol):
    """Where images come from: a value, usually a frozen dataclass, that loads either split.

    One whose images lie in files may have a method `files(split)` besides, which gives a `FileSet`, or None.
    """

    @property
    def name(self) -> str:
        """Short name of the data set, e.g. "mnist": recipes are found by it."""
        ...

    def load(self, split: str) -> ImageSet:
        """Read the split "train" or "test"."""
        ...


def check_split(split: str) -> str:
    """Return `split` if it is "train" or "test".

    Raises:
        InvalidInput: it is neither.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    return split
