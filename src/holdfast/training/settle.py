"""How the passes of a run are computed: what the recipe says and, where it says "auto", what a trial finds."""

from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from holdfast.errors import InvalidInput
from holdfast.methods import Method, Task
from holdfast.methods.base import Wrapper
from holdfast.noise import Noise
from holdfast.processes import Processes
from holdfast.recipe import Recipe
from holdfast.speed import Demand, Passes, Precision, Trial, Tried, candidates, trial


def settle(recipe: Recipe, model: nn.Module, task: Task, steps: int, processes: Processes) -> Trial:
    """Choose the passes of a run; the same in every process.

    Each process makes the trial, so that it is made under the load of the training; the first one's choice counts. A
    model that cannot be copied cannot be tried: it gets the most ordinary passes that the recipe allows.

    Args:
        model: on its device, in train mode; it stays untouched.
        task: the data.
        steps: optimizer steps of the run.

    Raises:
        InvalidInput: the recipe compiles a model that cannot be copied.
    """
    method = recipe.method
    by_batch = _by_batch(method)
    # What is differentiated twice is computed in float32 in any case, so that only a search has a use for less.
    lowered = method.search_passes > 0.0 or not method.differentiates_twice
    free: tuple[Precision, ...] = ("float32", "bfloat16") if lowered else ("float32",)
    ways = candidates(
        len(task.shape) == 3,
        free if recipe.precision == "auto" else (recipe.precision,),
        (False, True) if recipe.channels_last == "auto" else (recipe.channels_last,),
        folded=not by_batch,
    )
    compiled = None if recipe.compile == "auto" else recipe.compile
    if not method.compilable:
        compiled = False
    if (fault := _copying_fault(model)) is not None:
        if compiled:
            raise InvalidInput(f"the model cannot be copied ({fault}), as compiled passes need; leave out compile")
        return Trial(ways[0])
    rows = max(1, task.batch_size // (processes.world * recipe.accumulate))
    index = torch.arange(rows, device=processes.device)
    outer = method.passes - method.search_passes
    times = steps * recipe.accumulate
    demand = Demand(gradient=times * method.search_passes, training=times * outer)
    x, y = Noise.of(recipe.seed, index).uniform(task.shape), index % task.classes
    found = trial(model, x, y, demand, ways, batch_statistics=by_batch, compiled=compiled)
    return replace(found, passes=_shared(found.passes, processes))


def _copying_fault(model: nn.Module) -> str | None:
    """Why a model cannot be copied; None if it can."""
    try:
        deepcopy(model)
    except (RuntimeError, TypeError) as error:
        return str(error)
    return None


def _by_batch(method: Method) -> bool:
    """Whether a method's searches normalise by the batch."""
    while isinstance(method, Wrapper):
        method = method.method
    return bool(getattr(method, "batch_statistics", False))


def _shared(passes: Passes, processes: Processes) -> Passes:
    """The first process's passes."""
    mine = (passes.precision == "bfloat16", passes.channels_last, passes.folded, passes.compiled)
    flags = torch.tensor(mine, dtype=torch.int64, device=processes.device) * int(processes.first)
    half, channels_last, folded, compiled = (bool(flag) for flag in processes.sum(flags).tolist())
    return Passes("bfloat16" if half else "float32", channels_last, folded, compiled)


def told(found: Trial) -> str:
    """What a person is told about the choice: the passes, and how long those that were tried took."""
    if not found.tried:
        return f"passes: {found.passes}"
    tried = "; ".join(map(_told, found.tried))
    return f"passes: {found.passes}, by a trial of {found.seconds:.1f} s (search + training pass: {tried})"


def _told(one: Tried) -> str:
    times = f"{1e3 * one.cost.gradient:.1f} + {1e3 * one.cost.training:.1f} ms"
    compiling = f", compiled in {one.compile_seconds:.0f} s" if one.compile_seconds else ""
    return f"{one.passes} {one.fault or times + compiling}"
