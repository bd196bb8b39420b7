"""Images and where they come from; loaders and augmentation on the device. Inputs are in [0, 1]."""

from holdfast.data.augment import Augment, HorizontalFlip, RandomCrop
from holdfast.data.digits import Digits
from holdfast.data.fileset import FileSet
from holdfast.data.folder import Folder
from holdfast.data.hub import Hub
from holdfast.data.imageset import ImageSet
from holdfast.data.later import Later
from holdfast.data.loader import EpochLoader, Examples, ordered_batches
from holdfast.data.names import UserSource, source
from holdfast.data.parquet import Parquet
from holdfast.data.source import Source
from holdfast.data.streaming import Split, open_split
from holdfast.data.tensors import Tensors

__all__ = [
    "Augment",
    "Digits",
    "EpochLoader",
    "Examples",
    "FileSet",
    "Folder",
    "HorizontalFlip",
    "Hub",
    "ImageSet",
    "Later",
    "Parquet",
    "RandomCrop",
    "Source",
    "Split",
    "Tensors",
    "UserSource",
    "open_split",
    "ordered_batches",
    "source",
]
