"""Steps that see the same batch again."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from holdfast.losses import cross_entropy
from holdfast.methods import Batch, FreeAT, Loss, Method, Progress, Task
from holdfast.methods.base import accuracy, mean
from holdfast.noise import Noise
from holdfast.recipe import SWA, Recipe
from holdfast.threat import ThreatModel
from holdfast.training import averaging, train, trainer
from holdfast.training.averaging import EpochAverage
from holdfast.training.replays import Replays

Make = Callable[..., Recipe]
Kill = Callable[..., None]


class Numbers:
    """A loader whose batches are numbers of epoch and batch."""

    steps_per_epoch = 3

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, int]]:
        return ((epoch, step) for step in range(start, 3))


@pytest.mark.parametrize(
    ("times", "start", "seen"), [(1, 1, [1, 2]), (2, 0, [0, 0, 1, 1, 2, 2]), (3, 4, [1, 1, 2, 2, 2])]
)
def test_each_batch_comes_several_times_from_any_step_on(times: int, start: int, seen: list[int]) -> None:
    replays = Replays(Numbers(), times)  # type: ignore[arg-type]
    assert list(replays.batches(7, start)) == [(7, step) for step in seen]
    assert replays.steps_per_epoch == 3 * times
    assert not list(replays.batches(7, 3 * times))
    assert list(replays.once(7)) == [(7, 0), (7, 1), (7, 2)]


def test_the_statistics_of_an_average_are_taken_once(tmp_path: Path, tiny: Make) -> None:
    """SWA measures BatchNorm on every batch of the epoch, of which Free has each eight times."""
    passes: list[int] = []

    class Counting(EpochAverage):
        def end_epoch(self, step: int, inputs: Callable[[], Iterable[Tensor]]) -> None:
            passes.append(len(list(inputs())))

    recipe = tiny(method=FreeAT(replays=8), swa=SWA(start=0.0), epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaging, "EpochAverage", Counting)
        train(recipe, tmp_path / "run", progress=False)
    assert passes == [5]


class Trace(nn.Module):
    """What the steps saw: the sums of the batches and, a row of the batch each, the examples' positions."""

    sums: Tensor
    index: Tensor

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(60))
        self.register_buffer("index", torch.full((batch_size,), -1))


@dataclass(frozen=True)
class Thrice(Method):
    """Ordinary training, three steps a batch."""

    replays: int = 3

    def init(self, model: nn.Module, task: Task) -> nn.Module:
        return Trace(task.batch_size)

    @property
    def passes(self) -> float:
        return 1.0

    def loss(
        self,
        model: nn.Module,
        batch: Batch,
        threat: ThreatModel,
        state: nn.Module | None,
        progress: Progress,
        noise: Noise,
    ) -> Loss:
        assert isinstance(state, Trace)
        state.sums[progress.step] += batch.x.sum()
        state.index[batch.places] = batch.index
        logits = model(batch.x)
        return Loss(mean(cross_entropy(logits, batch.y)), {"adversary_accuracy": accuracy(logits, batch.y)})


def states(folder: Path) -> Tensor:
    newest = max((folder / "checkpoints").iterdir()) / "state.pt"
    state: Tensor = torch.load(newest, weights_only=True)["learner"]["method"]
    return state


def test_a_training_with_replays_goes_on_bit_for_bit(
    tmp_path: Path, tiny: Make, kill_after: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 epochs of 5 batches, three steps each, in two parts; what the method remembers is in the checkpoint too."""
    monkeypatch.setattr(trainer, "READ_EVERY", 2)
    recipe = tiny(method=Thrice(), accumulate=2)
    run = train(recipe, tmp_path / "whole", device="cpu", progress=False, checkpoint_seconds=0.0)
    whole = states(run.folder)
    assert run.last["step"] == 30
    by_batch = whole["sums"][:30].reshape(10, 3)
    assert torch.equal(by_batch, by_batch[:, :1].expand(10, 3))
    assert by_batch.unique().numel() == 10
    assert (whole["sums"][30:] == 0).all()
    assert whole["index"].unique().numel() == 50

    weights = (run.folder / "last" / "model.safetensors").read_bytes()
    for step in (7, 22):
        folder = tmp_path / f"killed{step}"
        kill_after(step, recipe, folder)
        resumed = train(recipe, folder, device="cpu", progress=False, checkpoint_seconds=0.0, resume=True)
        assert (resumed.folder / "last" / "model.safetensors").read_bytes() == weights
        assert all(torch.equal(value, whole[name]) for name, value in states(folder).items())
