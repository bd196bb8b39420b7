"""Augmentation against a slow reference that takes one image at a time."""

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.data import Augment, HorizontalFlip, RandomCrop
from holdfast.data.augment import apply
from holdfast.errors import InvalidInput
from holdfast.noise import Noise

BYTES = torch.randint(0, 256, (40, 3, 7, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def noise(count: int) -> Noise:
    return Noise.of(3, torch.arange(count))


def crop_one(image: Tensor, padding: int, mode: str, top: int, left: int) -> Tensor:
    _, height, width = image.shape
    numpy_mode = {"zeros": "constant", "reflect": "reflect"}[mode]
    padded = np.pad(image.numpy(), ((0, 0), (padding, padding), (padding, padding)), mode=numpy_mode)
    return torch.from_numpy(padded[:, top : top + height, left : left + width])


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("x", [BYTES, BYTES.float() / 255, BYTES[:, :1]], ids=["bytes", "floats", "grey"])
def test_random_crop_is_the_crop_of_each_padded_image(x: Tensor, mode: str) -> None:
    out = RandomCrop(padding=2, mode=mode)(x, noise(40))
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    corners = noise(40).integers(5, (2,)).tolist()
    for i, (top, left) in enumerate(corners):
        assert torch.equal(out[i], crop_one(x[i], 2, mode, top, left))
    assert {tuple(c) for c in corners} != {(2, 2)}


def test_random_crop_uses_every_place_equally() -> None:
    # One lit pixel in the middle shows where each window was cut.
    x = torch.zeros(9000, 1, 3, 3)
    x[:, :, 1, 1] = 1.0
    places = RandomCrop(padding=1)(x, noise(9000)).flatten(1).sum(dim=0)
    assert places.sum() == 9000
    assert ((places - 1000).abs() < 150).all(), places


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (1.0, 40, 40), (0.5, 10, 30)])
def test_horizontal_flip_mirrors_some_whole_images(probability: float, low: int, high: int) -> None:
    out = HorizontalFlip(probability)(BYTES, noise(40))
    mirrored = sum(bool(torch.equal(a, b.flip(-1))) for a, b in zip(out, BYTES, strict=True))
    kept = sum(bool(torch.equal(a, b)) for a, b in zip(out, BYTES, strict=True))
    assert low <= mirrored <= high
    assert mirrored + kept == 40


@pytest.mark.parametrize(
    "augment", [(RandomCrop(2),), (HorizontalFlip(),), (RandomCrop(1, "reflect"), HorizontalFlip(0.3), RandomCrop(1))]
)
def test_a_row_depends_on_its_own_noise_alone(augment: tuple[Augment, ...]) -> None:
    whole = apply(augment, BYTES, noise(40))
    rows = torch.tensor([31, 2, 2, 17])
    assert torch.equal(apply(augment, BYTES[rows], noise(40).select(rows)), whole[rows])


def test_steps_of_a_composition_draw_apart() -> None:
    x = torch.zeros(200, 1, 9, 9)
    x[:, :, 4, 4] = 1.0
    once, twice = apply((RandomCrop(2),), x, noise(200)), apply((RandomCrop(2), RandomCrop(2)), x, noise(200))
    # Were both drawn alike, the second would always double the first's move.
    moved = [(t.flatten(1).argmax(dim=1) // 9 - 4) for t in (once, twice)]
    assert not torch.equal(2 * moved[0], moved[1])


def test_bad_augmentations_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"padding of RandomCrop is 0; give at least 1"):
        RandomCrop(padding=0)
    with pytest.raises(InvalidInput, match=r"unknown mode of RandomCrop 'zeroes'; did you mean 'zeros'"):
        RandomCrop(mode="zeroes")
    with pytest.raises(InvalidInput, match=r"probability of HorizontalFlip is 1.5; .*\[0, 1\]"):
        HorizontalFlip(1.5)
    with pytest.raises(InvalidInput, match=r"7 x 6 images cannot be reflected over 6 pixels.*below 6"):
        RandomCrop(6, "reflect")(BYTES, noise(40))
