"""Folders of image files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from holdfast.data import Folder
from holdfast.errors import DataError


def save(path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, word, name in [
        ("train", "dog", "b.png"),
        ("train", "cat", "b.PNG"),
        ("train", "cat", "a.png"),
        ("val", "dog", "x.bmp"),
    ]:
        save(tmp_path / "pets" / split / word / name, rng.integers(0, 256, (5, 4, 3), dtype=np.uint8))
    (tmp_path / "pets/train/cat/notes.txt").write_text("not an image")
    (tmp_path / "pets/train/.cache").mkdir()
    return tmp_path / "pets"


def test_classes_are_the_training_folders_and_files_go_by_name(pets: Path) -> None:
    source = Folder(str(pets))
    train = source.load("train")
    assert (source.name, train.name, train.classes) == ("pets", "pets/train", ("cat", "dog"))
    assert train.labels.tolist() == [0, 0, 1]
    for row, file in enumerate(("cat/a.png", "cat/b.PNG", "dog/b.png")):
        expected = np.asarray(Image.open(pets / "train" / file)).transpose(2, 0, 1)
        assert np.array_equal(train.images[row].numpy(), expected)
    assert source.load("test").labels.tolist() == [1]


def test_sizes_must_agree_or_be_made_to(pets: Path) -> None:
    save(pets / "train/dog/z.png", np.zeros((9, 6, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"z.png has 9 x 6 pixels.*5 x 4.*size=4"):
        Folder(str(pets)).load("train")
    for split in ("train", "test"):
        assert Folder(str(pets), size=3).load(split).shape == (3, 3, 3)


def test_resizing_crops_at_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24), dtype=np.uint8)
    pixels[:, 8:16] = 200
    for word in ("a", "b"):
        save(tmp_path / "train" / word / "wide.png", pixels)
    image = Folder(str(tmp_path), size=8).load("train").images[0, 0]
    assert (image == 200).all()


def test_what_is_missing_is_told(pets: Path, tmp_path: Path) -> None:
    (pets / "val").rename(pets / "hidden")
    with pytest.raises(DataError, match=r"no folder test or validation or valid or val"):
        Folder(str(pets)).load("test")
    save(pets / "test/fox/a.png", np.zeros((5, 4, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"classes that train has not: fox"):
        Folder(str(pets)).load("test")
    (pets / "test/fox").rename(pets / "fox")
    (pets / "test/cat").mkdir()
    with pytest.raises(DataError, match=r"test is empty.*\.png"):
        Folder(str(pets)).load("test")
    (pets / "train/cat/a.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"a.png cannot be decoded"):
        Folder(str(pets)).load("train")
    (tmp_path / "flat/train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"train has no folders; give one folder a class"):
        Folder(str(tmp_path / "flat")).load("train")
    with pytest.raises(DataError, match=r"no folder train"):
        Folder(str(tmp_path / "nowhere")).load("train")


def test_files_stay_on_disk_until_they_are_read(pets: Path) -> None:
    files = Folder(str(pets)).files("train")
    loaded = Folder(str(pets)).load("train")
    assert (len(files), files.shape, files.classes) == (3, (3, 5, 4), ("cat", "dog"))
    assert torch.equal(files.read(2), loaded.images[2])
    part = files.subset([2, 0])
    assert part.load().fingerprint == loaded.subset([2, 0]).fingerprint
    assert part.fingerprint != files.fingerprint == Folder(str(pets)).files("train").fingerprint
    train, held = files.split_holdout(1, seed=0)
    expected = loaded.split_holdout(1, seed=0)
    assert train.load().fingerprint == expected[0].fingerprint
    assert held.load().fingerprint == expected[1].fingerprint
