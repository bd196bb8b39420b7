"""What an ImageSet refuses, and how it is cut."""

import dataclasses

import pytest
import torch
from torch import Tensor

from holdfast.data import ImageSet
from holdfast.errors import DataError, InvalidInput

TEN = tuple("0123456789")


def grey(count: int = 4) -> Tensor:
    return (torch.arange(count * 6) % 256).to(torch.uint8).reshape(count, 1, 2, 3)


def labels(count: int = 4) -> Tensor:
    return torch.arange(count) % 10


def test_accepts_grey_levels_and_unit_floats_of_any_rank() -> None:
    images = ImageSet(grey(), labels(), TEN, "a/train")
    assert (len(images), images.shape) == (4, (1, 2, 3))
    table = ImageSet(torch.tensor([[0.0, 1.0, 0.5]]), torch.tensor([9]), TEN, "table/train")
    assert (len(table), table.shape) == (1, (3,))


@pytest.mark.parametrize(
    ("images", "given", "classes", "error", "words"),
    [
        (grey(), torch.tensor([0, 1, 10, 3]), TEN, DataError, ["label 10", "example 2", "a/test", "[0, 10)", "from 0"]),
        (grey(), torch.tensor([0, -1, 10, 3]), TEN, DataError, ["label -1", "example 1", "2 of 4"]),
        (grey(), labels(3), TEN, DataError, ["4 images", "3 labels", "a/test"]),
        (grey(0), labels(0), TEN, DataError, ["a/test is empty"]),
        (grey(), labels().int(), TEN, InvalidInput, ["torch.int32", "int64"]),
        (grey(), labels()[:, None], TEN, InvalidInput, ["(4, 1)", "[N]"]),
        (grey(), torch.zeros(4, dtype=torch.int64), ("one",), InvalidInput, ["1 classes", "at least 2"]),
        (grey().int(), labels(), TEN, InvalidInput, ["torch.int32", "uint8", ".float()"]),
        (grey().double() / 255, labels(), TEN, InvalidInput, ["torch.float64", ".float()"]),
        (grey()[:, 0], labels(), TEN, InvalidInput, ["(4, 2, 3)", "[N, C, H, W]"]),
        (grey(40).reshape(4, 20, 1, 3), labels(), TEN, InvalidInput, ["(4, 20, 1, 3)", "permute(0, 3, 1, 2)"]),
        (grey().float(), labels(), TEN, InvalidInput, ["[0, 23]", "divide by 255", "model"]),
        (grey().float() / 10 - 1, labels(), TEN, InvalidInput, ["[-1, 1.3]", "[0, 1]", "model"]),
        (torch.tensor([[0.5], [float("nan")]]), labels(2), TEN, InvalidInput, ["nan", "[0, 1]"]),
        (torch.rand(4), labels(), TEN, InvalidInput, ["(4,)", "[N, F]"]),
    ],
)
def test_what_cannot_be_believed_is_refused(
    images: Tensor, given: Tensor, classes: tuple[str, ...], error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        ImageSet(images, given, classes, "a/test")
    assert all(word in str(caught.value) for word in words), caught.value


def test_subset_takes_rows_in_the_order_given() -> None:
    images = ImageSet(grey(), labels(), TEN, "a/train").subset([3, 1])
    assert torch.equal(images.images, grey()[[3, 1]])
    assert images.labels.tolist() == [3, 1]
    assert (images.classes, images.name) == (TEN, "a/train")


def test_fingerprint_sees_pixels_labels_and_shape_but_not_the_name() -> None:
    images = ImageSet(grey(), labels(), TEN, "a/train")
    assert images.fingerprint == ImageSet(grey(), labels(), TEN, "elsewhere").fingerprint
    assert len(images.fingerprint) == 64
    other_pixel = grey()
    other_pixel[3, 0, 1, 2] += 1
    others = [
        dataclasses.replace(images, images=other_pixel),
        dataclasses.replace(images, images=grey().reshape(4, 1, 3, 2)),
        dataclasses.replace(images, labels=torch.tensor([0, 1, 2, 4])),
        dataclasses.replace(images, classes=(*TEN, "more")),
        images.subset([1, 0, 2, 3]),
    ]
    assert len({images.fingerprint, *(other.fingerprint for other in others)}) == 6


def counted(per_class: list[int]) -> ImageSet:
    given = torch.cat([torch.full((n,), k) for k, n in enumerate(per_class)])
    return ImageSet(torch.zeros(len(given), 1, 1, 1, dtype=torch.uint8), given, TEN, "c/train")


def test_holdout_is_stratified_disjoint_and_fixed_by_the_seed() -> None:
    total = 240
    images = ImageSet(
        (torch.arange(total) % 251).to(torch.uint8).reshape(total, 1, 1, 1),
        torch.tensor([0] * 120 + [1] * 80 + [2] * 40),
        ("a", "b", "c"),
        "c/train",
    )
    train, held = images.split_holdout(24, seed=0)
    assert held.labels.bincount().tolist() == [12, 8, 4]
    assert train.labels.bincount().tolist() == [108, 72, 36]
    together = torch.cat([train.images, held.images]).flatten()
    assert torch.equal(together.sort().values, images.images.flatten().sort().values)
    assert images.split_holdout(24, seed=0)[1].fingerprint == held.fingerprint
    assert images.split_holdout(24, seed=1)[1].fingerprint != held.fingerprint
    assert len(images.split_holdout(0.25, seed=0)[1]) == 60


def test_holdout_gives_exactly_the_number_asked_for() -> None:
    train, held = counted([7, 7, 7]).split_holdout(5, seed=3)
    assert (len(train), len(held)) == (16, 5)
    assert sorted(held.labels.bincount().tolist()) == [1, 2, 2]


@pytest.mark.parametrize(("total", "expected"), [(50, 5), (9_990, 999), (10_010, 1000), (20_000, 1000)])
def test_default_holdout_is_a_thousand_or_a_tenth(total: int, expected: int) -> None:
    assert len(counted([total // 2, total // 2]).split_holdout()[1]) == expected


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, ["0 of 20", "from 1 to 19"]),
        (20, ["20 of 20", "from 1 to 19"]),
        (1.5, ["1.5", "(0, 1)", "int"]),
        (0.001, ["0 of 20"]),
        (-3, ["-3 of 20"]),
    ],
)
def test_holdouts_of_nothing_or_everything_are_refused(size: int | float, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        counted([10, 10]).split_holdout(size)
    assert all(word in str(caught.value) for word in words), caught.value
