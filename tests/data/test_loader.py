"""The order of batches, of images in memory and in files: purity, processes, resuming."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from holdfast.data import EpochLoader, Folder, HorizontalFlip, ImageSet, RandomCrop, ordered_batches
from holdfast.data.loader import Examples
from holdfast.errors import DataError, InvalidInput

AUGMENT = (RandomCrop(padding=1), HorizontalFlip())
TEN = tuple("0123456789")


@pytest.fixture(scope="module")
def images() -> ImageSet:
    pixels = torch.randint(0, 256, (23, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(pixels, torch.arange(23) % 10, TEN, "r/train")


@pytest.fixture(scope="module")
def folder(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The same images as files; their order differs, because files go by class."""
    root = tmp_path_factory.mktemp("files")
    for row, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        path = root / "train" / str(int(label)) / f"{row:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())).save(path)
    return Folder(str(root))


def same(a: Examples, b: Examples) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_epoch_sees_every_example_at_most_once_in_a_new_order_each_time(images: ImageSet) -> None:
    loader = EpochLoader(images, 5, "cpu", seed=0)
    assert loader.steps_per_epoch == 4
    epochs = [torch.cat([index for _, _, index in loader.batches(epoch)]) for epoch in (0, 1)]
    for order in epochs:
        assert len(order) == len(order.unique()) == 20
    assert not torch.equal(*epochs)
    assert set(epochs[0].tolist()) != set(epochs[1].tolist()), "the examples left out differ too"


def test_batches_are_unit_floats_of_the_rows_that_index_names(images: ImageSet) -> None:
    for x, y, index in EpochLoader(images, 6, "cpu", seed=3).batches(2):
        assert (x.dtype, y.dtype, index.dtype) == (torch.float32, torch.int64, torch.int64)
        torch.testing.assert_close(x, images.images[index].float() / 255)
        assert torch.equal(y, images.labels[index])


def test_a_batch_is_a_function_of_seed_epoch_and_step(images: ImageSet) -> None:
    loader = EpochLoader(images, 5, "cpu", 0, AUGMENT)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    whole = list(loader.batches(7))
    assert torch.equal(torch.get_rng_state(), state), "the global generator moved"
    for start in range(5):
        resumed = list(EpochLoader(images, 5, "cpu", 0, AUGMENT).batches(7, start))
        assert len(resumed) == 4 - start
        assert all(same(a, b) for a, b in zip(resumed, whole[start:], strict=True))
    assert not same(whole[0], next(EpochLoader(images, 5, "cpu", 1, AUGMENT).batches(7)))
    # The same example is changed in another way in another epoch.
    again = torch.cat([x[index == 3] for x, _, index in loader.batches(8)])
    assert not torch.equal(again, torch.cat([x[index == 3] for x, _, index in whole]))


@pytest.mark.parametrize("world", [2, 3, 6])
def test_processes_together_see_the_batches_of_one(images: ImageSet, world: int) -> None:
    one = list(EpochLoader(images, 6, "cpu", 0, AUGMENT).batches(1))
    parts = [list(EpochLoader(images, 6, "cpu", 0, AUGMENT, rank, world).batches(1)) for rank in range(world)]
    for step, whole in enumerate(one):
        for rank in range(world):
            assert same(parts[rank][step], tuple(t[rank::world] for t in whole))


def test_a_set_smaller_than_a_batch_is_one_batch(images: ImageSet) -> None:
    loader = EpochLoader(images.subset(range(3)), 100, "cpu", seed=0)
    assert loader.steps_per_epoch == 1
    ((x, _, index),) = loader.batches(0)
    assert x.shape == (3, 3, 5, 4)
    assert sorted(index.tolist()) == [0, 1, 2]


def test_tables_are_loaded_as_they_are() -> None:
    rows = torch.rand(6, 13)
    table = ImageSet(rows, torch.arange(6), TEN, "t/train")
    x, _, index = next(EpochLoader(table, 4, "cpu", seed=0).batches(0))
    assert torch.equal(x, rows[index])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda i: EpochLoader(i, 0, "cpu", 0), ["batches of 0", "at least 1"]),
        (lambda i: EpochLoader(i, 5, "cpu", 0, rank=0, world=2), ["5 examples", "2 processes", "multiple of 2"]),
        (lambda i: EpochLoader(i, 40, "cpu", 0, rank=0, world=2), ["23 examples", "2 processes"]),
        (lambda i: EpochLoader(i, 4, "cpu", 0, rank=2, world=2), ["rank 2", "[0, 2)"]),
        (lambda i: EpochLoader(i, 5, "cpu", 0).batches(0, start=5), ["step 5", "[0, 4]"]),
        (lambda i: EpochLoader(i, 5, "cpu", 0).batches(0, start=-1), ["step -1"]),
        (lambda i: next(ordered_batches(i, 0, "cpu")), ["batches of 0"]),
    ],
)
def test_what_cannot_be_loaded_is_refused_at_once(
    images: ImageSet, make: Callable[[ImageSet], object], words: list[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        make(images)
    assert all(word in str(caught.value) for word in words), caught.value


def test_ordered_batches_give_everything_once_in_order(images: ImageSet) -> None:
    batches = list(ordered_batches(images, 10, "cpu"))
    assert [len(y) for _, y, _ in batches] == [10, 10, 3]
    torch.testing.assert_close(torch.cat([x for x, _, _ in batches]), images.images.float() / 255)
    assert torch.cat([index for _, _, index in batches]).tolist() == list(range(23))
    assert torch.equal(torch.cat([y for _, y, _ in batches]), images.labels)


def test_images_in_files_give_the_batches_of_images_in_memory(folder: Folder) -> None:
    in_memory, files = folder.load("train"), folder.files("train")
    for options in ({}, {"rank": 1, "world": 2}):
        expected = EpochLoader(in_memory, 4, "cpu", 5, AUGMENT, **options)
        streamed = EpochLoader(files, 4, "cpu", 5, AUGMENT, **options)
        assert streamed.steps_per_epoch == expected.steps_per_epoch == 5
        for start in (0, 3, 5):
            pairs = list(zip(streamed.batches(2, start), expected.batches(2, start), strict=True))
            assert len(pairs) == 5 - start
            assert all(same(a, b) for a, b in pairs)


def test_streaming_can_be_left_early_and_tells_of_broken_files(folder: Folder, tmp_path: Path) -> None:
    loader = EpochLoader(folder.files("train"), 2, "cpu", seed=0)
    threads = threading.active_count()
    batches = loader.batches(0)
    first = next(batches)
    assert threading.active_count() > threads
    del batches
    assert threading.active_count() == threads, "decoding goes on for nobody"
    assert same(first, next(loader.batches(0)))
    with pytest.raises(InvalidInput, match=r"step 99 is outside \[0, 11\]"):
        loader.batches(0, start=99)
    broken = folder.files("train")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    object.__setattr__(broken, "files", (tmp_path / "broken.png",) * len(broken))
    with pytest.raises(DataError, match=r"broken.png cannot be decoded"):
        next(EpochLoader(broken, 2, "cpu", seed=0).batches(0))


@pytest.mark.gpu
def test_the_device_does_not_change_a_batch(images: ImageSet) -> None:
    def batches(device: str) -> list[Tensor]:
        loader = EpochLoader(images, 5, device, 0, (RandomCrop(1, "reflect"), HorizontalFlip()))
        return [x.cpu() for x, _, _ in loader.batches(0)]

    assert all(torch.equal(a, b) for a, b in zip(batches("cuda"), batches("cpu"), strict=True))


@pytest.mark.gpu
def test_a_streamed_batch_waits_for_nothing_and_is_the_same(
    folder: Folder, unwaited: Callable[[], AbstractContextManager[None]]
) -> None:
    expected = list(EpochLoader(folder.files("train"), 4, "cpu", 5, AUGMENT).batches(2))
    streamed = EpochLoader(folder.files("train"), 4, "cuda", 5, AUGMENT)
    with unwaited():
        found = list(streamed.batches(2))
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(a.cpu(), b) for a, b in zip(one, other, strict=True))
