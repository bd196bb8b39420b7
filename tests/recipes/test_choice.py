"""Which recipe a source of data gets."""

from dataclasses import dataclass, replace

import pytest
import torch

from holdfast.data import Digits, ImageSet
from holdfast.errors import InvalidInput
from holdfast.recipes import recipe
from holdfast.recipes.choice import choose


@dataclass(frozen=True)
class Scans:
    """Empty images of some shape."""

    shape: tuple[int, ...]
    name: str = "scans"
    size: int = 0
    channels: int = 0

    def load(self, split: str) -> ImageSet:
        images = torch.zeros(4, *self.shape, dtype=torch.uint8 if len(self.shape) == 3 else torch.float32)
        return ImageSet(images, torch.arange(4) % 2, ("a", "b"), f"{self.name}/{split}")


def test_a_source_with_recipes_of_its_own_takes_them() -> None:
    found, why = choose(Digits(), "atlas")
    assert found == recipe("digits", "atlas")
    assert why == "atlas on digits: ours, chosen by hand so that a demonstration is quick"
    own = Scans((1, 28, 28), name="mnist")
    assert choose(own, "trades")[0] == replace(recipe("mnist", "trades"), data=own)


@pytest.mark.parametrize(
    ("shape", "like"),
    [((1, 12, 12), "digits"), ((1, 28, 28), "mnist"), ((3, 32, 32), "cifar10"), ((3, 16, 16), "cifar10")],
)
def test_other_sources_take_the_nearest_by_shape(shape: tuple[int, ...], like: str) -> None:
    source = Scans(shape)
    found, why = choose(source, "fgsm_rs")
    assert found == replace(recipe(like, "fgsm_rs"), data=source)
    assert f"fgsm_rs on {like}" in why
    assert " x ".join(map(str, shape)) in why


def test_a_recipe_can_be_asked_for() -> None:
    found, why = choose(Scans((3, 32, 32)), "atlas", like="mnist")
    assert found == replace(recipe("mnist", "atlas"), data=Scans((3, 32, 32)))
    assert why == "atlas on mnist: as asked for"


def test_tables_have_no_nearest_recipe() -> None:
    with pytest.raises(InvalidInput, match=r"shape \(7,\), and there are recipes for images only.*--recipe digits"):
        choose(Scans((7,)), "atlas")


def test_images_are_brought_to_the_size_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    sized = replace(recipe("digits", "fgsm_rs"), data=Scans((3, 9, 9), size=9, channels=3))
    monkeypatch.setattr("holdfast.recipes.choice.recipe", lambda data, method: sized)
    assert choose(Scans((3, 300, 200)), "fgsm_rs")[0].data == Scans((3, 300, 200), size=9, channels=3)
    # What the user has chosen stays.
    assert choose(Scans((3, 300, 200), size=64), "fgsm_rs")[0].data == Scans((3, 300, 200), size=64, channels=3)
