"""A training on images that stay in their files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.comparison import compare
from holdfast.data import EpochLoader, FileSet, Folder, ImageSet, Tensors, open_split, streaming
from holdfast.diagnostics import diagnose
from holdfast.evaluation import evaluate, protocol
from holdfast.methods import FGSMRSAT
from holdfast.recipe import Recipe
from holdfast.threat import Linf
from holdfast.training import Run, train
from holdfast.training.rehearsal import in_memory
from holdfast.training.trainer import Trainer

Make = Callable[..., Recipe]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, few_digits: Tensors) -> Folder:
    root = tmp_path_factory.mktemp("digits")
    for split in ("train", "test"):
        images = few_digits.load(split)
        for row in range(0, len(images), 2):
            path = root / split / str(int(images.labels[row])) / f"{row:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(images.images[row, 0].numpy())).save(path)
    return Folder(str(root))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 150 images of 8 x 8 be too many."""
    monkeypatch.setattr(streaming, "STREAMED", 150 * 64 - 1)


def test_a_large_training_split_stays_in_its_files(folder: Folder, large: None) -> None:
    assert isinstance(open_split(folder, "train"), FileSet)
    assert in_memory(folder) is folder


def test_a_small_one_is_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STREAMED", 150 * 64)
    assert isinstance(open_split(folder, "train"), ImageSet)
    assert in_memory(folder) != folder


def test_the_network_is_the_same_as_from_memory(
    folder: Folder, tiny: Make, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    recipe = tiny(data=folder, holdout=20, batch_size=25)
    whole = train(recipe, tmp_path / "whole", progress=False)
    request.getfixturevalue("large")
    loaded: list[object] = []
    keep, original = loaded.append, EpochLoader.__init__

    def watch(loader: EpochLoader, images: ImageSet | FileSet, *rest: object) -> None:
        keep(images)
        original(loader, images, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochLoader, "__init__", watch)
        streamed = train(recipe, tmp_path / "streamed", progress=False)
    assert [type(images) for images in loaded] == [FileSet]
    both = [run.load("last").state_dict() for run in (whole, streamed)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])
    assert streamed.best


def test_it_goes_on_where_it_was(folder: Folder, tiny: Make, tmp_path: Path, large: None) -> None:
    recipe = tiny(data=folder, holdout=20, batch_size=25)
    train(recipe, tmp_path / "whole", progress=False)

    class Stop(BaseException):
        pass

    original, steps = Trainer.take_step, []

    def stopped(trainer: Trainer, *batch: object) -> None:
        original(trainer, *batch)  # type: ignore[arg-type]
        steps.append(trainer.step)
        if len(steps) == 7:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "take_step", stopped)
        with pytest.raises(Stop):
            train(recipe, tmp_path / "again", checkpoint_seconds=0.0, progress=False)
    train(recipe, tmp_path / "again", resume=True, progress=False)
    both = [Run.open(tmp_path / name).load("last").state_dict() for name in ("whole", "again")]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])


def test_verdicts_and_diagnoses_are_those_from_memory(
    folder: Folder, tiny: Make, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = train(tiny(data=folder, holdout=20, batch_size=25, epochs=1), tmp_path / "run", progress=False)
    threat = Linf(0.1)
    found = []
    for kind in (ImageSet, FileSet):
        if kind is FileSet:
            request.getfixturevalue("large")
        images = open_split(folder, "test") if kind is ImageSet else folder.files("test")
        assert isinstance(images, kind)
        verdicts = evaluate(run.load(), images, threat, protocol("quick", threat), n=20, progress=False).verdicts
        found.append((verdicts, diagnose(run.load(), images, threat, n=5, progress=False).linearity))
    assert found[0] == found[1]


def test_a_comparison_searches_and_trains_on_files(folder: Folder, tiny: Make, tmp_path: Path, large: None) -> None:
    base = tiny(data=folder, holdout=20, batch_size=25)
    found = compare(
        {"one": FGSMRSAT()}, base, "epochs:1", tmp_path, seeds=[0], n=10, trials=1, device="cpu", progress=False
    )
    assert found.entrants[0].evaluations
