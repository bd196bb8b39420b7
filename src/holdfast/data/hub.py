"""Data sets of the Hugging Face hub, by id, through its library `datasets` (the extra `hub`)."""

from dataclasses import dataclass, replace
from typing import Any

from holdfast.data.decode import Decoder
from holdfast.data.imageset import ImageSet, number_classes
from holdfast.data.source import SPLITS, check_split
from holdfast.data.tables import find_columns, read_labels, read_tables
from holdfast.errors import DataError, MissingExtra

HUB_IDS = {"mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}


@dataclass(frozen=True)
class Hub:
    """A data set of the hub, downloaded on first use to the cache of `datasets` and read from there afterwards.

    Args:
        id: owner/name on the hub, e.g. ylecun/mnist.
        config: which of its configurations, if it has several.
        revision: commit or tag of the hub repository, to read the very same data later; by default the newest.
        name: of the data set; by default mnist, cifar10 or cifar100 for their ids, else the id's last part.
        image: the image column; by default `image` or `img`.
        label: the label column; by default `label`, `fine_label` or `labels`.
        channels: see `Decoder`.
        size: see `Decoder`.

    Raises:
        MissingExtra: at loading, if `datasets` is not installed.
        DataError: at loading, if the hub cannot be reached, has no such data set, or it is not of labelled images.
    """

    id: str
    config: str = ""
    revision: str = ""
    name: str = ""
    image: str = ""
    label: str = ""
    channels: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        Decoder(self.channels, self.size)
        if not self.name:
            known = {hub_id: name for name, hub_id in HUB_IDS.items()}
            object.__setattr__(self, "name", known.get(self.id, self.id.rsplit("/", maxsplit=1)[-1]))

    def load(self, split: str) -> ImageSet:
        """Read the split "train" or "test": uint8 [N, C, H, W]."""
        check_split(split)
        splits = self._download()
        found = next((word for word in SPLITS[split] if word in splits), None)
        if found is None:
            raise DataError(f"{self.id} on the hub has no {split} split, only {', '.join(splits)}")
        # The Arrow tables behind the splits hold the images encoded; they are decoded here, on several threads.
        tables = {word: rows.with_format("arrow") for word, rows in splits.items()}
        title = f"{self.id}, split {found}"
        columns = find_columns(splits[found].features.arrow_schema, self.image, self.label, title)
        if not columns.classes:
            labels = [read_labels(rows[:], columns.label, self.id) for rows in tables.values()]
            columns = replace(columns, classes=number_classes(labels))
        decoder = Decoder(self.channels, self.size)
        first = tables.get("train", tables[found])[:1]
        return read_tables([(title, tables[found][:])], first, columns, decoder, f"{self.name}/{split}")

    def _download(self) -> Any:
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise MissingExtra(
                f"{self.name} comes from the hub through the package datasets ({error}): pip install 'holdfast[hub]'; "
                "or give a folder on disk instead (--data PATH)"
            ) from error
        try:
            return load_dataset(self.id, self.config or None, revision=self.revision or None)
        except Exception as error:
            # The library lets through errors of several network packages; whichever it is, the remedy is the same.
            raise DataError(
                f"{self.id} could not be had from the hub ({type(error).__name__}: {error}). Without a network, give a "
                "folder on disk instead: --data PATH with train*.parquet and test*.parquet, or with "
                "train/<class>/*.png and test/<class>/*.png; or set HOLDFAST_DATA to the folder that holds "
                f"{self.name}/train*.parquet"
            ) from error
