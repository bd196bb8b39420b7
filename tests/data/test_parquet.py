"""Parquet folders in the hub's schema: files written here, and the real sets where they are at hand."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from holdfast.data import Parquet, decode
from holdfast.data.decode import Decoder
from holdfast.errors import DataError, InvalidInput

Encode = Callable[..., bytes]
Pictures = Callable[..., NDArray[np.uint8]]
Write = Callable[..., None]


def test_round_trip_of_png_and_webp_over_shards(
    tmp_path: Path, encode: Encode, pictures: Pictures, write: Write
) -> None:
    train, test = pictures(7, 5, 4, 3), pictures(2, 5, 4, 3)
    kinds = ["PNG", "WEBP", "PNG", "WEBP", "WEBP", "PNG", "WEBP"]
    files = [encode(image, kind) for image, kind in zip(train, kinds, strict=True)]
    names = ("ant", "bee", "cat")
    write(tmp_path / "bugs/data/train-00000-of-00002.parquet", files[:4], [0, 1, 2, 0], names, "img", "fine_label")
    write(tmp_path / "bugs/data/train-00001-of-00002.parquet", files[4:], [1, 2, 0], names, "img", "fine_label")
    write(tmp_path / "bugs/data/test-00000-of-00001.parquet", [encode(i) for i in test], [2, 2], names, "img")
    source = Parquet(str(tmp_path / "bugs"))
    assert source.name == "bugs"
    images = source.load("train")
    assert torch.equal(images.images, torch.from_numpy(train).permute(0, 3, 1, 2))
    assert images.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert (images.classes, images.name) == (names, "bugs/train")
    held = source.load("test")
    assert torch.equal(held.images, torch.from_numpy(test).permute(0, 3, 1, 2))
    assert held.labels.tolist() == [2, 2]


def test_grey_images_have_one_channel_and_classes_are_counted_over_both_splits(
    tmp_path: Path, encode: Encode, pictures: Pictures, write: Write
) -> None:
    pixels = pictures(3, 2, 3)
    write(tmp_path / "train.parquet", [encode(i) for i in pixels], [0, 1, 0])
    write(tmp_path / "validation.parquet", [encode(i) for i in pixels], [4, 1, 0])
    source = Parquet(str(tmp_path), name="mine")
    images = source.load("train")
    assert torch.equal(images.images, torch.from_numpy(pixels)[:, None])
    assert images.classes == ("0", "1", "2", "3", "4")
    assert source.load("test").labels.tolist() == [4, 1, 0]


def test_grey_among_colour_is_repeated_and_colour_among_grey_is_refused(
    tmp_path: Path, encode: Encode, pictures: Pictures, write: Write
) -> None:
    grey, colour = pictures(1, 2, 2)[0], pictures(1, 2, 2, 3)[0]
    write(tmp_path / "train.parquet", [encode(colour), encode(grey)], [0, 1])
    write(tmp_path / "test.parquet", [encode(grey)], [1])
    images = Parquet(str(tmp_path)).load("train")
    assert torch.equal(images.images[1], torch.from_numpy(grey).expand(3, 2, 2))
    assert Parquet(str(tmp_path)).load("test").shape == (3, 2, 2), "the test split follows the first training image"
    write(tmp_path / "train.parquet", [encode(grey), encode(colour)], [0, 1])
    with pytest.raises(DataError, match=r"row 1 of .*train.parquet is in colour.*channels=3"):
        Parquet(str(tmp_path)).load("train")
    assert Parquet(str(tmp_path), channels=3).load("train").shape == (3, 2, 2)
    assert Parquet(str(tmp_path), channels=1).load("train").shape == (1, 2, 2)


def test_sizes_differ(tmp_path: Path, encode: Encode, pictures: Pictures, write: Write) -> None:
    write(tmp_path / "train.parquet", [encode(pictures(1, 4, 4)[0]), encode(pictures(1, 6, 4)[0])], [0, 1])
    write(tmp_path / "test.parquet", [encode(pictures(1, 9, 9)[0])], [1])
    with pytest.raises(DataError, match=r"row 1 of .*train.parquet has 6 x 4 pixels.*4 x 4.*size=4"):
        Parquet(str(tmp_path)).load("train")
    source = Parquet(str(tmp_path), size=4)
    assert source.load("train").shape == source.load("test").shape == (1, 4, 4)


def test_a_colour_index_of_names_does_not_hide_a_wrong_label(
    tmp_path: Path, encode: Encode, pictures: Pictures, write: Write
) -> None:
    write(tmp_path / "train.parquet", [encode(pictures(1, 2, 2)[0])] * 2, [0, 2], ("cat", "dog"))
    with pytest.raises(DataError, match=r"label 2 of example 1 of .*/train is outside \[0, 2\)"):
        Parquet(str(tmp_path)).load("train")


def test_what_cannot_be_read_is_told(tmp_path: Path, encode: Encode, pictures: Pictures, write: Write) -> None:
    good = encode(pictures(1, 2, 2)[0])
    with pytest.raises(DataError, match=r"no folder '.*nowhere'"):
        Parquet(str(tmp_path / "nowhere")).load("train")
    with pytest.raises(DataError, match=r"has no train\*.parquet"):
        Parquet(str(tmp_path)).load("train")
    write(tmp_path / "train.parquet", [good, b"no image"], [0, 1])
    source = Parquet(str(tmp_path))
    with pytest.raises(DataError, match=r"row 1 of .* cannot be decoded"):
        source.load("train")
    with pytest.raises(DataError, match=r"no test\*.parquet or validation\*.parquet"):
        source.load("test")
    write(tmp_path / "train.parquet", [good, good[: len(good) // 2]], [0, 1])
    with pytest.raises(DataError, match=r"row 1 of .* cannot be decoded"):
        source.load("train")
    write(tmp_path / "train.parquet", [good, None], [0, 1])
    with pytest.raises(DataError, match=r"row 1 of .* has no image"):
        source.load("train")
    write(tmp_path / "train.parquet", [good, good], [0, None])
    with pytest.raises(DataError, match=r"1 labels of .* are missing"):
        source.load("train")
    write(tmp_path / "train.parquet", [], [], ("cat", "dog"))
    with pytest.raises(DataError, match=r"/train is empty"):
        source.load("train")
    (tmp_path / "train.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(DataError, match=r"cannot be read as Parquet"):
        source.load("train")


def test_columns_are_found_or_asked_for(tmp_path: Path, encode: Encode, pictures: Pictures, write: Write) -> None:
    good = encode(pictures(1, 2, 2)[0])
    write(tmp_path / "train.parquet", [good, good], [0, 1], image="photo", label="kind")
    with pytest.raises(DataError, match=r"no column 'image or img', only photo, kind, coarse_label.*image=\.\.\."):
        Parquet(str(tmp_path)).load("train")
    with pytest.raises(DataError, match=r"no column 'label or fine_label or labels'"):
        Parquet(str(tmp_path), image="photo").load("train")
    with pytest.raises(DataError, match=r"column 'photo' .* is of type struct.*integer"):
        Parquet(str(tmp_path), image="photo", label="photo").load("train")
    with pytest.raises(DataError, match=r"column 'kind' .* is of type int64; give encoded images"):
        Parquet(str(tmp_path), image="kind", label="kind").load("train")
    images = Parquet(str(tmp_path), image="photo", label="kind").load("train")
    assert images.labels.tolist() == [0, 1]


def test_plain_bytes_are_images_too(tmp_path: Path, encode: Encode, pictures: Pictures) -> None:
    pixels = pictures(2, 3, 3)
    table = pa.table({"image": [encode(i) for i in pixels], "label": pa.array([1, 0], pa.uint8())})
    pq.write_table(table, tmp_path / "train.parquet")
    assert torch.equal(Parquet(str(tmp_path)).load("train").images, torch.from_numpy(pixels)[:, None])


def test_several_configurations_below_one_folder_are_refused(
    tmp_path: Path, encode: Encode, pictures: Pictures, write: Write
) -> None:
    for name in ("small", "large"):
        write(tmp_path / name / "train.parquet", [encode(pictures(1, 2, 2)[0])], [0])
    with pytest.raises(DataError, match=r"several data sets, large, small"):
        Parquet(str(tmp_path)).load("train")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "GIF", "BMP", "TIFF"])
def test_files_of_any_format_are_read_whether_their_first_bytes_are_known_or_not(
    encode: Encode, pictures: Pictures, kind: str
) -> None:
    image = pictures(1, 8, 8)[0] // 64 * 64
    found = Decoder(channels=1).read(encode(image, kind), "it")
    assert np.abs(found[0].astype(int) - image).max() <= (60 if kind == "JPEG" else 0)


def test_small_images_are_read_on_one_thread_and_large_ones_on_all(
    encode: Encode, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def pool(threads: int) -> ThreadPoolExecutor:
        asked.append(threads)
        return ThreadPoolExecutor(threads)

    monkeypatch.setattr(decode, "ThreadPoolExecutor", pool)
    monkeypatch.setattr(decode, "threads", lambda: 3)
    for side in (32, 96):
        images = pictures(5, side, side, 3)
        found = Decoder().read_all([encode(image) for image in images], (3, side, side), str)
        assert torch.equal(found, torch.from_numpy(images).permute(0, 3, 1, 2))
    assert asked == [1, 3]


def test_a_file_that_only_begins_like_an_image_is_refused() -> None:
    for content in (b"RIFF\x24\0\0\0WAVEfmt ", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"):
        with pytest.raises(DataError, match="row 7 cannot be decoded as an image"):
            Decoder().read(content, "row 7")


def test_sixteen_bit_images_and_bad_options_are_refused(tmp_path: Path, write: Write) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 2), 40_000, dtype=np.uint16)).save(buffer, "PNG")
    write(tmp_path / "train.parquet", [buffer.getvalue()], [0], ("cat", "dog"))
    with pytest.raises(DataError, match=r"more than 8 bits"):
        Parquet(str(tmp_path)).load("train")
    with pytest.raises(InvalidInput, match=r"channels is 2; give 1 .* 3"):
        Parquet(str(tmp_path), channels=2)
    with pytest.raises(InvalidInput, match=r"size is -1"):
        Parquet(str(tmp_path), size=-1)


@pytest.mark.real
def test_mnist_is_mnist(real_data: Path) -> None:
    test = Parquet(str(real_data / "mnist")).load("test")
    assert tuple(test.images.shape) == (10_000, 1, 28, 28)
    assert test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    unit = test.images.double() / 255
    assert abs(unit.mean().item() - 0.1325) < 1e-4
    assert abs(unit.std().item() - 0.3105) < 1e-4


@pytest.mark.real
def test_cifar10_is_cifar10(real_data: Path) -> None:
    test = Parquet(str(real_data / "cifar10")).load("test")
    assert tuple(test.images.shape) == (10_000, 3, 32, 32)
    assert test.labels.bincount().tolist() == [1000] * 10
    assert test.classes[:3] == ("airplane", "automobile", "bird")
    mean = (test.images.double() / 255).mean(dim=(0, 2, 3))
    assert torch.allclose(mean, torch.tensor([0.4942, 0.4851, 0.4504], dtype=torch.float64), atol=1e-4)
