"""Image files and Parquet files made for a test."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

Pictures = Callable[..., NDArray[np.uint8]]
Encode = Callable[..., bytes]
Write = Callable[..., None]


def _encode(pixels: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, lossless=True)
    return buffer.getvalue()


def _pictures(count: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def _write(
    path: Path,
    files: Sequence[bytes | None],
    labels: Sequence[int | None],
    names: Sequence[str] = (),
    image: str = "image",
    label: str = "label",
) -> None:
    rows = [None if file is None else {"bytes": file, "path": "some.png"} for file in files]
    table = pa.table(
        {
            image: pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            label: pa.array(labels, pa.int64()),
            "coarse_label": pa.array([0] * len(labels)),
        }
    )
    if names:
        features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": list(names)}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


@pytest.fixture
def encode() -> Encode:
    """(pixels [H, W] or [H, W, 3], kind="PNG") -> one image file, lossless."""
    return _encode


@pytest.fixture
def pictures() -> Pictures:
    """(count, *shape) -> random uint8 images, the same for the same count and shape."""
    return _pictures


@pytest.fixture
def write() -> Write:
    """(path, files, labels, names, image, label): a Parquet file as `datasets` writes it.

    The classes' names go to the schema's metadata, if there are any.
    """
    return _write
