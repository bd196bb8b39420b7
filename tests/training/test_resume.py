"""A training that was interrupted ends with the bytes of one that was not."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from holdfast.data import HorizontalFlip, RandomCrop, Tensors
from holdfast.errors import HoldfastError, InvalidInput
from holdfast.losses import cross_entropy
from holdfast.methods import ATLAS, Batch, Loss, Method, Progress, Task
from holdfast.methods.base import accuracy, mean
from holdfast.models import PreActResNet18, UserModel, WideResNet
from holdfast.noise import Noise
from holdfast.recipe import EMA, SGD, SWA, Recipe
from holdfast.threat import ThreatModel
from holdfast.training import Run, trainer
from holdfast.training import train as train_aloud

Make = Callable[..., Recipe]
Kill = Callable[..., None]
Outcome = Callable[[Run], tuple[Any, ...]]


def train(recipe: Recipe, out: Path, device: str = "cpu", **options: Any) -> Run:
    return train_aloud(recipe, out, device=device, progress=False, checkpoint_seconds=0.0, **options)


@dataclass(frozen=True)
class LearnedSmoothing(Method):
    """A method with memory that learns: a bias a class, beside the model's logits; it also draws at random."""

    def init(self, model: nn.Module, task: Task) -> nn.Module:
        return nn.Linear(1, task.classes)

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
        assert state is not None
        logits = model(batch.x + 0.01 * torch.randn_like(batch.x)) + state(torch.ones(len(batch.y), 1))
        return Loss(mean(cross_entropy(logits, batch.y)), {"adversary_accuracy": accuracy(logits, batch.y)})


FULL = {
    "method": ATLAS(),
    "model": PreActResNet18(width=2),
    "optimizer": SGD(lr=0.1, momentum=0.9),
    "ema": EMA(decay=0.9),
    "eps_warmup": 0.5,
    "augment": (RandomCrop(1), HorizontalFlip()),
    "accumulate": 2,
}


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        (FULL, (1, 4, 5, 8)),
        (
            {"method": LearnedSmoothing(), "model": WideResNet(depth=10, widen=1, dropout=0.3), "swa": SWA(start=0.0)},
            (2, 5, 7),
        ),
    ],
)
def test_goes_on_bit_for_bit_from_any_step(
    tmp_path: Path,
    tiny: Make,
    kill_after: Kill,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    steps: tuple[int, ...],
    outcome: Outcome,
) -> None:
    monkeypatch.setattr(trainer, "READ_EVERY", 2)
    recipe = tiny(**fields)
    whole = outcome(train(recipe, tmp_path / "whole"))
    torch.rand(3)  # where the global generator stands decides nothing
    for step in steps:
        kill_after(step, recipe, tmp_path / f"killed{step}")
        assert outcome(train(recipe, tmp_path / f"killed{step}", resume=True)) == whole, f"killed after step {step}"


@pytest.mark.gpu
def test_goes_on_bit_for_bit_on_an_accelerator(tmp_path: Path, tiny: Make, kill_after: Kill, outcome: Outcome) -> None:
    """With half precision, where cuDNN has many algorithms to choose from."""
    recipe = tiny(**{**FULL, "model": PreActResNet18(width=8), "precision": "bfloat16", "channels_last": True})
    whole = outcome(train(recipe, tmp_path / "whole", "cuda"))
    kill_after(7, recipe, tmp_path / "killed", "cuda")
    assert outcome(train(recipe, tmp_path / "killed", "cuda", resume=True)) == whole


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(
    tmp_path: Path, tiny: Make, kill_after: Kill, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    monkeypatch.setattr(trainer, "READ_EVERY", 2)
    whole = outcome(train(tiny(), tmp_path / "whole"))
    kill_after(8, tiny(), tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").iterdir()) / "state.pt"
    newest.write_bytes(newest.read_bytes()[:100])
    assert outcome(train(tiny(), tmp_path / "run", resume=True)) == whole


@pytest.mark.parametrize("files", [0, 1, 4, 9, 12])
def test_a_full_disk_stops_a_training_that_can_go_on_later(
    tmp_path: Path, tiny: Make, monkeypatch: pytest.MonkeyPatch, files: int, outcome: Outcome
) -> None:
    whole = outcome(train(tiny(), tmp_path / "whole"))
    real, calls = Path.replace, iter(range(1000))

    def full(self: Path, target: Path) -> Path:
        if next(calls) >= files:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(HoldfastError, match=r"No space left on device.*make room"):
            train(tiny(), tmp_path / "run")
    assert outcome(train(tiny(), tmp_path / "run", resume=True)) == whole


def test_resuming_what_never_began_begins(tmp_path: Path, tiny: Make, outcome: Outcome) -> None:
    assert outcome(train(tiny(), tmp_path / "a", resume=True)) == outcome(train(tiny(), tmp_path / "b"))


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path, tiny: Make, outcome: Outcome) -> None:
    before = outcome(train(tiny(), tmp_path / "run"))
    assert outcome(train(tiny(), tmp_path / "run", resume=True)) == before


def test_half_written_files_are_swept_away(tmp_path: Path, tiny: Make) -> None:
    run = train(tiny(), tmp_path / "run")
    left = run.folder / "best" / ".model.safetensors.12345.part"
    left.write_bytes(b"half")
    train(tiny(), tmp_path / "run", resume=True)
    assert not left.exists()


def test_another_recipe_is_refused_with_every_difference(tmp_path: Path, tiny: Make) -> None:
    train(tiny(), tmp_path / "run")
    with pytest.raises(InvalidInput, match=r"epochs: 2 -> 3; seed: 0 -> 1.*new run"):
        train(tiny(epochs=3, seed=1), tmp_path / "run", resume=True)


def test_other_data_are_refused(tmp_path: Path, tiny: Make, few_digits: Tensors) -> None:
    train(tiny(), tmp_path / "run")
    images, labels = few_digits.train
    other = Tensors((images.flip(0), labels.flip(0)), few_digits.test, few_digits.classes)
    with pytest.raises(InvalidInput, match="training of the data"):
        train(tiny(data=other), tmp_path / "run", resume=True)


def test_a_changed_file_of_the_users_is_refused(tmp_path: Path, tiny: Make) -> None:
    file = tmp_path / "my_model.py"
    file.write_text(
        "from torch import nn\ndef net(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    recipe = tiny(model=UserModel(str(file), "net"))
    run = train(recipe, tmp_path / "run")
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(InvalidInput, match=r"the file my_model\.py"):
        train(recipe, tmp_path / "run", resume=True)
    file.unlink()
    assert isinstance(run.load(), nn.Module), "the run keeps a copy of the file"


def test_a_run_that_collapsed_is_not_resumed(tmp_path: Path, tiny: Make) -> None:
    run = train(tiny(), tmp_path / "run")
    with (run.folder / "metrics.jsonl").open("a") as log:
        log.write('{"event": "end", "step": 10, "reason": "collapse"}\n')
    with pytest.raises(InvalidInput, match=r"catastrophic overfitting.*best"):
        train(tiny(), tmp_path / "run", resume=True)
