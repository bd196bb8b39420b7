from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from holdfast.data import ImageSet
from holdfast.diagnostics import ALL, diagnose, local_linearity, loss_surface
from holdfast.errors import InvalidInput
from holdfast.results import Diagnostics
from holdfast.threat import L2, Linf


def test_everything_in_one_call(colour_cnn: nn.Module, colours: ImageSet, tmp_path: Path) -> None:
    colour_cnn.train()
    found = diagnose(colour_cnn, colours, Linf("8/255"), n=5, seed=2, name="tiny", progress=False, command="look")
    assert colour_cnn.training
    assert (found.n, found.data.n, found.model, found.seed, found.skipped) == (5, 6, "tiny", 2, {})
    assert (found.threat.norm, found.threat.eps_text) == ("Linf", "8/255")
    five = colours.subset(range(5))
    assert found.linearity == local_linearity(colour_cnn, five, Linf("8/255"), seed=2)
    assert found.surface == loss_surface(colour_cnn, five.subset(range(4)), Linf("8/255"), seed=2)
    parts = (found.alignment, found.divergence, found.compactness, found.invariance, found.corruptions)
    assert all(part is not None for part in parts)
    found.save(tmp_path)
    assert Diagnostics.load(tmp_path) == found
    assert found.versions["torch"] == torch.__version__


def numbers(part: Any) -> list[float]:
    """All numbers that a result is made of."""
    if is_dataclass(part):
        return [number for field in fields(part) for number in numbers(getattr(part, field.name))]
    if isinstance(part, Mapping):
        return [number for value in part.values() for number in numbers(value)]
    if isinstance(part, (list, tuple, np.ndarray)):
        return [number for value in part for number in numbers(value)]
    return [float(part)] if isinstance(part, (int, float, np.number)) else []


@pytest.mark.gpu
@pytest.mark.parametrize("name", ALL)
def test_a_gpu_sees_what_the_cpu_sees(name: str, colour_cnn: nn.Module, colours: ImageSet) -> None:
    found = [
        diagnose(colour_cnn, colours, Linf("8/255"), which=(name,), device=device, progress=False)
        for device in ("cpu", "cuda")
    ]
    for result in found:
        assert result.versions
    plain = [replace(result, versions={}, seconds=0.0) for result in found]
    there, here = (numbers(result) for result in plain)
    assert len(here) > 10
    np.testing.assert_allclose(here, there, atol=1e-2, rtol=1e-2)


def test_parts_do_not_depend_on_each_other(colour_cnn: nn.Module, colours: ImageSet) -> None:
    whole = diagnose(colour_cnn, colours, L2(0.5), progress=False)
    for name in ("alignment", "invariance"):
        alone = diagnose(colour_cnn, colours, L2(0.5), which=(name,), progress=False)
        assert getattr(alone, name) == getattr(whole, name)
        assert [part for part in (alone.linearity, alone.surface, alone.corruptions) if part is not None] == []


def test_tables_have_no_invariances(cnn: nn.Module) -> None:
    table = ImageSet(torch.rand(5, 7, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 2, ("a", "b"), "t")
    model = nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2))
    found = diagnose(model, table, Linf(0.1), progress=False)
    assert found.skipped == {"invariance": "the data are no images", "corruptions": "the data are no images"}
    assert found.linearity is not None
    assert found.divergence is not None
    assert found.divergence.layers == ("input", "0", "1", "2")


def test_published_arrays_take_the_place_of_ours(colour_cnn: nn.Module, colours: ImageSet, tmp_path: Path) -> None:
    pixels = colours.images.permute(0, 2, 3, 1).repeat(5, 1, 1, 1).numpy()
    np.save(tmp_path / "snow.npy", pixels)
    np.save(tmp_path / "labels.npy", colours.labels.repeat(5).numpy().astype(np.uint8))
    found = diagnose(colour_cnn, colours, Linf(0.1), which=("corruptions",), corrupted=tmp_path, progress=False)
    assert found.corruptions is not None
    assert found.corruptions.kinds == ("snow",)
    assert {shift.correct for shift in found.corruptions.shifts} == {found.corruptions.clean}


def test_layers_are_the_caller_s_choice(colour_cnn: nn.Module, colours: ImageSet) -> None:
    options = {"which": ("features",), "layers": ("1",), "compact_layer": "0", "progress": False}
    found = diagnose(colour_cnn, colours, Linf(0.1), **options)
    assert found.divergence is not None
    assert found.compactness is not None
    assert (found.divergence.layers, found.compactness.layer) == (("input", "1"), "0")


def test_what_cannot_be_is_refused(colour_cnn: nn.Module, colours: ImageSet) -> None:
    with pytest.raises(InvalidInput, match="unknown diagnostic 'surfaces'; did you mean 'surface'"):
        diagnose(colour_cnn, colours, Linf(0.1), which=("surfaces",))
    with pytest.raises(InvalidInput, match="n is 0"):
        diagnose(colour_cnn, colours, Linf(0.1), n=0)
    with pytest.raises(InvalidInput, match="device meta cannot be used"):
        diagnose(colour_cnn, colours, Linf(0.1), device="meta")
    with pytest.raises(InvalidInput, match=r"outside the threat model's box \[0, 0.5\]"):
        diagnose(colour_cnn, colours, Linf(0.1, high=0.5))
    with pytest.raises(InvalidInput, match=r"shape \(2, 1\) for 2 inputs.*3 classes"):
        diagnose(nn.Sequential(nn.Flatten(), nn.Linear(576, 1)), colours, Linf(0.1))
    assert set(ALL) == {"linearity", "surface", "alignment", "features", "invariance", "corruptions"}
