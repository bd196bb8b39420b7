from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.diagnostics.corruptions import published_corruptions
from holdfast.errors import DataError
from holdfast.results import Rate


class Corner(nn.Module):
    """The class is in the red of the first pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, 0, 0, :1] * 255 - torch.arange(3.0)).abs()


@pytest.fixture
def clean() -> ImageSet:
    images = torch.zeros(4, 3, 8, 6, dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 1])
    images[:, 0, 0, 0] = labels
    return ImageSet(images, labels, ("a", "b", "c"), "corner/test")


@pytest.fixture
def folder(clean: ImageSet, tmp_path: Path) -> Path:
    """Arrays of 6 images a severity, of which the first `severity` of fog are changed to class 0."""
    labels = np.tile([0, 1, 2, 1, 2, 2], 5).astype(np.uint8)
    pixels = np.zeros((30, 8, 6, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = labels
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "jpeg_compression.npy", pixels)
    for severity in range(5):
        pixels[6 * severity : 6 * severity + severity + 1, 0, 0, 0] = 0
    np.save(tmp_path / "fog.npy", pixels)
    return tmp_path


def test_severities_are_read_in_turn(folder: Path, clean: ImageSet) -> None:
    found = published_corruptions(Corner().train(), folder, clean, batch_size=3)
    assert found.clean == found.n == 4
    assert found.kinds == ("fog", "jpeg_compression")
    # The first example has class 0 anyway; from severity 4 on all four of them are changed.
    assert [rate.count for rate in found.of("fog").values()] == [4, 3, 2, 1, 1]
    assert set(found.of("jpeg_compression").values()) == {Rate(4, 4)}
    assert found.skipped["frost"] == "not in the folder"
    assert {shift.kind: shift.group for shift in found.shifts} == {"fog": "weather", "jpeg_compression": "digital"}
    assert folder.name in found.source


def test_what_does_not_fit_is_refused(folder: Path, clean: ImageSet, tmp_path: Path) -> None:
    more = clean.subset([0, 1, 2, 3, 0, 1, 2])
    with pytest.raises(DataError, match=r"6 images a severity in fog\.npy; 7 are asked for"):
        published_corruptions(Corner(), folder, more)
    grey = ImageSet(clean.images[:, :1], clean.labels, clean.classes, "grey")
    with pytest.raises(DataError, match=r"uint8 of shape \(30, 8, 6, 3\).* \[5 N, 8, 6, 1\]"):
        published_corruptions(Corner(), folder, grey)
    (folder / "labels.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"cannot read .*labels\.npy"):
        published_corruptions(Corner(), folder, clean)
    with pytest.raises(DataError, match="none of the published arrays"):
        published_corruptions(Corner(), tmp_path / "empty", clean)
