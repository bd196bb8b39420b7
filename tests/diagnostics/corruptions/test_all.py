"""What holds for every corruption."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from holdfast.data import ImageSet
from holdfast.diagnostics.corruptions import CORRUPTIONS, Corruption, common_corruptions
from holdfast.diagnostics.corruptions.corruption import SEVERITIES, eight_bits, levels
from holdfast.diagnostics.corruptions.published import GROUPS
from holdfast.noise import Noise


def every(corruptions: Sequence[Corruption]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("corruption", corruptions, ids=[corruption.name for corruption in corruptions])


@every(CORRUPTIONS)
def test_every_row_is_an_8_bit_image_of_its_own(corruption: Corruption, pictures: Tensor, noise: Noise) -> None:
    for severity in SEVERITIES:
        corrupted = corruption(pictures, severity, noise)
        assert corrupted.shape == pictures.shape
        assert 0.0 <= float(corrupted.min()) <= float(corrupted.max()) <= 1.0
        torch.testing.assert_close(levels(corrupted), corrupted)
        changed = (corrupted != pictures).flatten(1).any(dim=1)
        assert changed.all(), severity
        alone = corruption(pictures[2:4], severity, noise.select(torch.tensor([2, 3])))
        assert float((alone - corrupted[2:4]).abs().max()) <= 1.01 / 255
        assert float((alone != corrupted[2:4]).double().mean()) < 0.01


# The published constants of these two do not rise with the severity.
@every([c for c in CORRUPTIONS if c.name not in ("elastic_transform", "saturate")])
def test_the_worst_severity_changes_more_than_the_mildest(corruption: Corruption, pictures: Tensor) -> None:
    many = pictures.repeat(4, 1, 1, 1)
    noise = Noise.of(1, torch.arange(len(many)))
    mild, worst = (float((corruption(many, severity, noise) - many).abs().mean()) for severity in (1, 5))
    assert worst > mild


@every([c for c in CORRUPTIONS if not c.colour])
def test_grey_and_tiny_images(corruption: Corruption) -> None:
    x = Noise.of(1, torch.arange(2)).uniform((1, 8, 8))
    corrupted = corruption(x, 5, Noise.of(0, torch.arange(2)))
    assert corrupted.shape == x.shape
    assert torch.isfinite(corrupted).all()


def test_all_of_the_benchmark_but_frost_is_made() -> None:
    made = {corruption.name: corruption.group for corruption in CORRUPTIONS}
    published = {name: group for group, names in GROUPS.items() for name in names}
    assert published.items() - made.items() == {("frost", "weather"), ("spatter", "extra")}
    assert all(len(corruption.constants) == 5 for corruption in CORRUPTIONS)


def test_cutting_to_8_bits() -> None:
    x = torch.arange(256.0) / 255
    torch.testing.assert_close(eight_bits(x), x)
    torch.testing.assert_close(eight_bits((torch.arange(256.0) + 0.99) / 255), x)
    assert eight_bits(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 1.0]


def test_the_table(colour_cnn: nn.Module, cnn: nn.Module, colours: ImageSet, some: ImageSet) -> None:
    found = common_corruptions(colour_cnn, colours)
    assert found.kinds == tuple(corruption.name for corruption in CORRUPTIONS)
    assert list(found.of("fog")) == [f"severity {severity}" for severity in SEVERITIES]
    assert set(found.skipped) == {"frost", "spatter"}
    assert "not the published" in found.source
    assert common_corruptions(colour_cnn, colours, batch_size=4) == found
    grey = common_corruptions(cnn, some)
    assert set(grey.skipped) == {"frost", "spatter", "saturate"}
