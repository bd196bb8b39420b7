"""A folder of Parquet files in the schema of the Hugging Face hub."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.data.decode import Decoder
from holdfast.data.imageset import ImageSet, number_classes
from holdfast.data.source import SPLITS, check_split
from holdfast.data.tables import Columns, find_columns, read_labels, read_tables
from holdfast.errors import DataError


def shards(folder: Path, split: str) -> list[Path]:
    """The files of a split: `train*.parquet` in the folder or in one folder below it (as the hub's `mnist/train-...`).

    The test split may also be called validation. Empty if there are none.

    Raises:
        DataError: several folders below hold such files.
    """
    for word in SPLITS[split]:
        found = sorted(folder.glob(f"{word}*.parquet")) or sorted(folder.glob(f"*/{word}*.parquet"))
        parents = sorted({file.parent.name for file in found})
        if len(parents) > 1:
            raise DataError(f"{folder} holds several data sets, {', '.join(parents)}; give the path of one of them")
        if found:
            return found
    return []


@dataclass(frozen=True)
class Parquet:
    """Images and labels from `train*.parquet` and `test*.parquet`, each file's rows in order, files by name.

    Every file has a column of encoded images (PNG, WebP, JPEG, ...; struct of bytes and path, or bytes) and one of
    integer labels. The classes' names come from the metadata that `datasets` writes; without it they are "0", "1", ...

    Args:
        path: of the folder.
        name: of the data set; by default that of the folder.
        image: the image column; by default `image` or `img`.
        label: the label column; by default `label`, `fine_label` or `labels`.
        channels: see `Decoder`.
        size: see `Decoder`.

    Raises:
        DataError: at loading, if there is no folder, no file of the split, or one cannot be read. Not at construction:
            a recorded recipe can be read on a machine that lacks the data.
    """

    path: str
    name: str = ""
    image: str = ""
    label: str = ""
    channels: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        Decoder(self.channels, self.size)
        if not self.name:
            object.__setattr__(self, "name", Path(self.path).expanduser().resolve().name)

    def load(self, split: str) -> ImageSet:
        """Read the split "train" or "test": uint8 [N, C, H, W]."""
        files = self._shards(check_split(split))
        try:
            columns = self._columns(files[0])
            tables = [(str(file), _read(file, columns.image, columns.label)) for file in files]
            first = tables[0][1] if split == "train" else _read_first(self._shards("train")[0], columns.image)
        except (OSError, ValueError) as error:
            raise DataError(f"the {split} split in {self.path} cannot be read as Parquet: {error}") from error
        return read_tables(tables, first, columns, Decoder(self.channels, self.size), f"{self.name}/{split}")

    def _columns(self, file: Path) -> Columns:
        import pyarrow.parquet as pq

        columns = find_columns(pq.read_schema(file), self.image, self.label, str(file))
        if columns.classes:
            return columns
        files = shards(self._folder, "train") + shards(self._folder, "test")
        labels = [read_labels(_read(file, columns.label), columns.label, str(file)) for file in files]
        return replace(columns, classes=number_classes(labels))

    @property
    def _folder(self) -> Path:
        return Path(self.path).expanduser()

    def _shards(self, split: str) -> list[Path]:
        if not self._folder.is_dir():
            raise DataError(f"there is no folder {self.path!r}; give a folder of Parquet files")
        found = shards(self._folder, split)
        if not found:
            words = " or ".join(f"{word}*.parquet" for word in SPLITS[split])
            raise DataError(f"{self.path} has no {words}; every source needs a train and a test split")
        return found


def _read(file: Path, *columns: str) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        return parquet.read(columns=list(columns))


def _read_first(file: Path, column: str) -> Any:
    """The first row alone, without reading the rest of the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        return pa.Table.from_batches([next(parquet.iter_batches(batch_size=1, columns=[column]))])
