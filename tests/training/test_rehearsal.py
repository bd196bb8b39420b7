"""A step that is taken to see whether it can be."""

from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
import torch
from torch import nn

from holdfast.errors import InvalidInput
from holdfast.methods import AWP, PGDAT, YOPO, Batch, FreeAT, Loss
from holdfast.processes import Processes
from holdfast.recipe import Recipe
from holdfast.threat import Linf
from holdfast.training import record, rehearsal
from holdfast.training.rehearsal import Rehearsal, in_memory, rehearse, unwritten
from holdfast.training.trainer import Trainer

ALONE = Processes(0, 1, torch.device("cpu"))
Make = Callable[..., Recipe]


class Listening(PGDAT):
    """Remembers what it was given."""

    def loss(self, model: nn.Module, batch: Batch, *rest: object) -> Loss:
        asked.append((len(batch.y), rest[2].fraction))
        return super().loss(model, batch, *rest)


asked: list[tuple[int, float]] = []


def test_a_few_examples_are_taken_late_in_the_training_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Make, global_state_rests: None
) -> None:
    monkeypatch.chdir(tmp_path)
    asked.clear()
    recipe = tiny(method=Listening(), compile=True)
    model = rehearse(recipe, "cpu")
    assert asked == [(8, 0.75)]
    first = recipe.model.build((1, 8, 8), 10, recipe.seed)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), first.parameters(), strict=True))
    assert list(tmp_path.iterdir()) == []


def test_each_part_of_a_batch_has_two_examples(tiny: Make) -> None:
    asked.clear()
    rehearse(tiny(method=Listening(), accumulate=10), "cpu")
    assert [count for count, _ in asked] == [2] * 10


@pytest.mark.parametrize("method", [FreeAT(), YOPO(), AWP(warmup=0.5)])
def test_methods_with_memory_and_with_ramps(tiny: Make, method: PGDAT) -> None:
    rehearse(tiny(method=method), "cpu")


def test_no_folder_of_any_name_plays_a_part(monkeypatch: pytest.MonkeyPatch, tiny: Make) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(record, "settled", looked.append)
    unwritten(tiny(), ALONE)
    (folder,) = looked
    with pytest.raises(OSError, match="Not a directory"):
        (folder / "recipe.json").write_text("{}")


def test_it_waits_for_the_device_that_computes(monkeypatch: pytest.MonkeyPatch, tiny: Make) -> None:
    waited: list[torch.device] = []
    group = Processes(0, 1, torch.device("cuda:1"))
    monkeypatch.setattr(rehearsal, "unwritten", lambda recipe, _: Trainer(recipe, ALONE, Path("run"), inf, False))
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    Rehearsal(tiny(), group).spend(1)
    assert waited == [group.device] * 2


def test_what_the_trainer_refuses_is_refused(tiny: Make) -> None:
    with pytest.raises(InvalidInput, match="box"):
        rehearse(tiny(threat=Linf(0.1, low=0.2)), "cpu")


def test_images_in_memory_are_not_read_again(tiny: Make) -> None:
    data = tiny().data
    assert in_memory(data) is data
