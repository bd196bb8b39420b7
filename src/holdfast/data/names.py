"""From the text of `--data` to a source."""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from holdfast import userfile
from holdfast.data.digits import Digits
from holdfast.data.fileset import FileSet
from holdfast.data.folder import Folder
from holdfast.data.hub import HUB_IDS, Hub
from holdfast.data.imageset import ImageSet
from holdfast.data.parquet import Parquet, shards
from holdfast.data.source import Source
from holdfast.data.streaming import undecoded
from holdfast.errors import DataError, InvalidInput, unknown

# A folder with subfolders mnist, cifar10, ... of Parquet files: where these names are read from on offline machines.
ENVIRONMENT = "HOLDFAST_DATA"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class UserSource:
    """A source that a function in a user's Python file returns; it is called without arguments.

    Args:
        path: of the Python file.
        function: name in it.
        name: of the data set; by default what the source calls itself.

    Raises:
        InvalidInput: at construction, if there is no such file or name, or it returns no source.
    """

    path: str
    function: str
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self._source.name)

    @cached_property
    def _source(self) -> Source:
        function: object = userfile.load(self.path, self.function)
        if not callable(function):
            raise InvalidInput(f"{self.path}:{self.function} is a {type(function).__name__}; give a function")
        made: object = function()
        if not isinstance(made, Source):
            raise InvalidInput(
                f"{self.path}:{self.function} returned a {type(made).__name__}; return a source of holdfast.data, or "
                "an object with a name and a method load(split) that returns an ImageSet"
            )
        return made

    def load(self, split: str) -> ImageSet:
        """Read the split "train" or "test"."""
        return self._source.load(split)

    def files(self, split: str) -> FileSet | None:
        """The same, undecoded, where the source has files."""
        return undecoded(self._source, split)


def source(text: str) -> Source:
    """Read the name of a source of data.

    Args:
        text: digits; mnist, cifar10 or cifar100 (of the hub, or of the folder that the environment variable
            HOLDFAST_DATA names, if it has a subfolder of that name); the path of a folder of Parquet files or of image
            folders; owner/name for any other data set of the hub; or PATH.py:FUNCTION for a user's own. A name in this
            list comes before a folder of the same name: write ./mnist for that.

    Raises:
        InvalidInput: an unknown name; the nearest is named.
        DataError: a path where there is no data.
    """
    if reference := userfile.parse(text):
        return UserSource(*reference)
    if text == "digits":
        return Digits()
    if text in HUB_IDS:
        root = os.environ.get(ENVIRONMENT)
        local = Path(root).expanduser() / text if root else None
        return folder_source(str(local)) if local and local.is_dir() else Hub(HUB_IDS[text])
    if Path(text).expanduser().is_dir():
        return folder_source(text)
    if _HUB_ID.fullmatch(text):
        return Hub(text)
    if "/" in text or os.sep in text:
        raise DataError(f"there is no folder {text!r}; give the path of a folder of Parquet files or of image folders")
    raise unknown("data", text, ["digits", *HUB_IDS, "PATH", "OWNER/NAME", "PATH.py:FUNCTION"])


def folder_source(path: str) -> Parquet | Folder:
    """Look into a folder and say what it holds.

    Raises:
        DataError: neither Parquet files nor image folders.
    """
    folder = Path(path).expanduser()
    if shards(folder, "train"):
        return Parquet(path)
    if (folder / "train").is_dir():
        return Folder(path)
    raise DataError(
        f"{path} holds no data that is known: give a folder with train*.parquet and test*.parquet, or with "
        "train/<class>/*.png and test/<class>/*.png"
    )
