"""Images and labels out of Arrow tables with the columns of the Hugging Face hub."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from holdfast.data.decode import Decoder, Encoded
from holdfast.data.imageset import ImageSet
from holdfast.errors import DataError
from holdfast.typing import Labels

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "fine_label", "labels")


@dataclass(frozen=True)
class Columns:
    """Which columns hold the images and the labels, and the names of the classes; empty where the table has none."""

    image: str
    label: str
    classes: tuple[str, ...]


def find_columns(schema: Any, image: str, label: str, name: str) -> Columns:
    """Settle the columns of a pyarrow schema.

    Args:
        schema: of the table; its metadata `huggingface` holds the classes' names, if anything does.
        image: the column of the images; "" for the first of `image` and `img`.
        label: the column of the labels; "" for the first of `label`, `fine_label` and `labels`.
        name: what a message calls the table.

    Raises:
        DataError: no such column, or the labels are no integers.
    """
    images = _pick(schema, image, _IMAGE_COLUMNS, "image", name)
    labels = _pick(schema, label, _LABEL_COLUMNS, "label", name)
    if not str(schema.field(labels).type).lstrip("u").startswith("int"):
        raise DataError(
            f"column {labels!r} of {name} is of type {schema.field(labels).type}; give integer class indices"
        )
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return Columns(images, labels, tuple(features.get(labels, {}).get("names", ())))


def _pick(schema: Any, wanted: str, usual: Sequence[str], kind: str, name: str) -> str:
    for column in [wanted] if wanted else usual:
        if column in schema.names:
            return column
    raise DataError(
        f"{name} has no column {wanted or ' or '.join(usual)!r}, only {', '.join(schema.names)}; give its name as "
        f"{kind}=... (--set data.{kind}=...)"
    )


def read_labels(table: Any, column: str, name: str) -> Labels:
    """The labels of a pyarrow table, int64 [N].

    Raises:
        DataError: a label is missing.
    """
    labels = table.column(column)
    if labels.null_count:
        raise DataError(f"{labels.null_count} labels of {name} are missing; leave the examples out")
    return torch.tensor(labels.to_pylist(), dtype=torch.int64)


def read_tables(
    tables: Sequence[tuple[str, Any]], first: Any, columns: Columns, decoder: Decoder, name: str
) -> ImageSet:
    """Decode pyarrow tables to one set of images.

    Args:
        tables: each with what a message calls it.
        first: the table that begins with the first training image, whose shape all images have.
        columns: where images, labels and classes are.
        decoder: how images are read.
        name: of the set.

    Raises:
        DataError: an image or a label is missing, cannot be read, or does not fit the rest.
    """
    ends = list(accumulate(len(table) for _, table in tables))

    def origin(row: int) -> str:
        shard = bisect_right(ends, row)
        return f"row {row - (ends[shard - 1] if shard else 0)} of {tables[shard][0]}"

    files: list[Encoded] = []
    for title, table in tables:
        files.extend(_encoded(table.column(columns.image), columns.image, title))
    if not files:
        raise DataError(f"{name} is empty; every split needs at least one example")
    labels = torch.cat([read_labels(table, columns.label, title) for title, table in tables])
    (pattern,) = _encoded(first.column(columns.image)[:1], columns.image, "the training set")
    shape = decoder.read(pattern, "the first training image").shape
    return ImageSet(decoder.read_all(files, shape, origin), labels, columns.classes, name)


def _encoded(column: Any, image: str, title: str) -> list[Encoded]:
    """The image files in a column: bytes, or a struct of bytes and a path that stands in for absent bytes."""
    kind = str(column.type)
    if kind not in ("binary", "large_binary") and not (kind.startswith("struct") and "bytes: " in kind):
        raise DataError(
            f"column {image!r} of {title} is of type {kind}; give encoded images, struct<bytes, path> or binary"
        )
    files: list[Encoded] = []
    for row, content in enumerate(column.to_pylist()):
        cell = content if isinstance(content, dict) else {"bytes": content}
        if cell.get("bytes"):
            files.append(cell["bytes"])
        elif cell.get("path"):
            files.append(Path(cell["path"]))
        else:
            raise DataError(f"row {row} of {title} has no image; leave the example out")
    return files
