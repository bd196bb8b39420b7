"""A test split that begins later."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from holdfast.data import Digits, Folder, ImageSet, Later, Source, open_split
from holdfast.errors import InvalidInput
from holdfast.recipe import codec


def test_what_was_met_before_is_left_alone_and_the_training_split_stays() -> None:
    later, whole = Later(Digits(), 100), Digits().load("test")
    assert isinstance(later, Source)
    left = later.load("test")
    assert torch.equal(left.images, whole.images[100:])
    assert torch.equal(left.labels, whole.labels[100:])
    assert (later.name, left.name) == ("digits", "digits from 100/test")
    assert later.load("train").fingerprint == Digits().load("train").fingerprint


def test_images_that_stay_in_their_files_are_left_alone_too(tmp_path: Path) -> None:
    for split, count in (("train", 2), ("test", 5)):
        for row in range(count):
            for word in "ab":
                (tmp_path / split / word).mkdir(parents=True, exist_ok=True)
                Image.new("L", (4, 4), 20 * row).save(tmp_path / split / word / f"{row}.png")
    later = Later(Folder(str(tmp_path)), 3)
    files, images = later.files("test"), later.load("test")
    assert files is not None
    assert torch.equal(files.load().images, images.images)
    assert files.name == images.name == f"{tmp_path.name} from 3/test"
    assert len(images) == 7
    assert isinstance(open_split(later, "train"), ImageSet), "so few are read at once"
    assert Later(Digits(), 3).files("test") is None


def test_it_is_written_down_with_where_it_begins() -> None:
    later = Later(Digits(), 100)
    assert codec.decode(codec.encode(later)) == later
    assert codec.differences(later, Later(Digits(), 101)) == ["first: 100 -> 101"]


def test_a_split_that_ends_before_is_refused() -> None:
    with pytest.raises(InvalidInput, match="first is -1"):
        Later(Digits(), -1)
    with pytest.raises(InvalidInput, match="digits/test has 449 examples; give 0 to 448"):
        Later(Digits(), 449).load("test")
