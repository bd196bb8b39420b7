"""`train`: from a recipe to a run on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from holdfast.errors import InvalidInput
from holdfast.processes import processes
from holdfast.recipe import Recipe
from holdfast.training.run import PARTS, Run, ending
from holdfast.training.trainer import Trainer


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    device: str | torch.device | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 60.0,
    tensorboard: bool = False,
    profile: bool = False,
    progress: bool = True,
) -> Run:
    """Train what a recipe says, into a folder.

    Started by torchrun, the processes share each batch of `batch_size` between them; only the first writes.

    Args:
        recipe: the training.
        out: the run's folder (see `holdfast.training.run`), made if it is not there; all processes must see it.
        device: None for an accelerator where there is one.
        resume: go on where a killed run was, or begin if it had not begun. In one process, on the same device, the
            result has the same bits as without the interruption; in several it is the same to rounding. A finished run
            is returned as it is.
        checkpoint_seconds: time between checkpoints within an epoch; there is one after each epoch in any case.
        tensorboard: write TensorBoard's files too (extra `tensorboard`).
        profile: write a trace of a few of the first steps, trace.json, for chrome://tracing or ui.perfetto.dev; the
            log has each stage's seconds in any case.
        progress: tell a person on stderr how it goes.

    Returns:
        The run, with its best and last weights on disk.

    Raises:
        InvalidInput: the folder holds a run and `resume` is not set; or the run cannot go on with this recipe.
        TrainingDiverged: the loss is not finite; the last good checkpoint is kept.
        CheckpointError, DataError, HoldfastError: files that cannot be believed, read or written.
    """
    folder = Path(out)
    _check_folder(folder, resume)
    group = processes(device)
    with repeatable():
        trainer = Trainer(recipe, group, folder, checkpoint_seconds, progress)
        try:
            trainer.begin(resume, tensorboard, profile)
            trainer.fit()
        finally:
            trainer.stages.close()
            trainer.journal.close()
    # The first process writes on when the others are done already.
    group.wait()
    return Run.open(folder)


def _check_folder(folder: Path, resume: bool) -> None:
    """Never write over a run, and never go on with one that gave up."""
    found = [name for name in PARTS if (folder / name).exists()]
    if found and not resume:
        raise InvalidInput(
            f"{folder} holds a run already ({', '.join(found)}); go on with it (holdfast train --resume {folder}) or "
            "choose another folder"
        )
    if ending(folder) == "collapse":
        raise InvalidInput(
            f"the run in {folder} stopped because of catastrophic overfitting and would do so again; its best "
            f"weights are in {folder / 'best'}. Start a new run with another method, or with on_collapse=continue"
        )


@contextmanager
def repeatable() -> Iterator[None]:
    """Have cuDNN take algorithms that add in the same order each time; without this a resumed run has other bits."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
