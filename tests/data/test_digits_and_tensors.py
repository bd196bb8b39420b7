"""The two sources that need no files."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from holdfast.data import Digits, Source, Tensors
from holdfast.errors import DataError, InvalidInput


def test_digits_are_scikit_learns_scans_in_a_fixed_stratified_split() -> None:
    train, test = Digits().load("train"), Digits().load("test")
    assert (len(train), len(test)) == (1348, 449)
    assert train.shape == test.shape == (1, 8, 8)
    assert (train.name, train.classes[3]) == ("digits/train", "3")
    pixels, labels = load_digits(return_X_y=True)
    share = torch.from_numpy(np.bincount(labels)) / len(labels)
    assert ((test.labels.bincount() - share * 449).abs() < 1.0).all()
    # Together the splits are the whole set, and grey levels survive the change of unit.
    levels = torch.cat([train.images, test.images]).flatten(1).double().mul(16 / 255).round().long()
    given = [[*row, label] for row, label in zip(pixels.astype(int).tolist(), labels.tolist(), strict=True)]
    both = torch.cat([train.labels, test.labels])
    got = torch.cat([levels, both[:, None]], dim=1).tolist()
    assert sorted(got) == sorted(given)
    assert train.images.max() == 255
    # The split is part of every published number on this set: it must never move.
    assert test.fingerprint == "a568f56569c5022385f21dd4cb39f26ee1fda986197ca7a838691245ca2bda15"


def test_tensors_take_numpy_and_torch_and_count_the_classes() -> None:
    inputs = np.random.default_rng(0).random((6, 13))
    source = Tensors(train=(inputs, [0, 1, 2, 0, 1, 2]), test=(torch.from_numpy(inputs[:2]), torch.tensor([3, 0])))
    assert isinstance(source, Source)
    train = source.load("train")
    assert (train.images.dtype, train.labels.dtype) == (torch.float32, torch.int64)
    assert train.classes == ("0", "1", "2", "3")
    assert source.load("test").name == "tensors/test"
    assert all(isinstance(part, torch.Tensor) for part in (*source.train, *source.test)), "records take no lists"
    assert "0.6" not in repr(source), "a record of the source must not hold its pixels"


def test_rounding_outside_the_box_is_put_back_and_more_is_refused() -> None:
    slightly = torch.tensor([[-1e-7, 1.0 + 2e-7]])
    assert Tensors((slightly, [0]), (slightly, [1])).load("train").images.tolist() == [[0.0, 1.0]]
    with pytest.raises(InvalidInput, match=r"tensors/test span \[-0.001, 1\]"):
        Tensors((slightly, [0]), (torch.tensor([[-1e-3, 1.0]]), [1]))


def test_tensors_are_checked_at_construction() -> None:
    good = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(DataError, match=r"tensors/test is empty"):
        Tensors((good, [0, 1]), (good[:0], []))
    with pytest.raises(DataError, match=r"label 2 of example 1 of tensors/train is outside \[0, 2\)"):
        Tensors((good, [0, 2]), (good, [0, 1]), classes=("cat", "dog"))
    with pytest.raises(InvalidInput, match=r"shape \(1, 2, 2\) and test examples \(1, 1, 2\)"):
        Tensors((good, [0, 1]), (good[:, :, :1], [0, 1]))
    with pytest.raises(InvalidInput, match=r"float32.*int64"):
        Tensors((good, [0.0, 1.0]), (good, [0, 1]))


def test_other_splits_are_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"unknown split 'tests'; did you mean 'test'"):
        Digits().load("tests")
