"""Searches by cheaper passes: when they are taken, and how the model itself keeps the last word.

A copy of the model whose layers are laid out, folded or differentiated in a faster way answers in float32 as another
machine would: its numbers differ in the last bits. One in bfloat16 is coarser, so that a search may miss what the
model would have shown it, or claim what the model denies. Four things keep that from the verdicts: every claim is
judged on the model itself; so is the strongest candidate of a search that found nothing; a claim that the model denies
settles nothing; and an example that such a search has left near the edge, with less than `DOUBT` of its clean margin,
is attacked once more in full on the model itself, and only that verdict counts. Why, and how well it works:
docs/decisions/0009-cheaper-searches.md.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from holdfast.attacks import Attack
from holdfast.errors import InvalidInput, unknown
from holdfast.evaluation.batches import fitting
from holdfast.files import write_atomically
from holdfast.processes import Processes
from holdfast.speed import Demand, Passes, Precision, StandIn, candidates, is_quickened, trial
from holdfast.typing import Images, Labels

EvaluationPrecision = Literal["auto", "float32", "bfloat16"]
DOUBT = 0.1
LONG = 500_000  # example-passes; a shorter evaluation takes seconds and is not worth a trial
AGREES = 0.95  # share of clean inputs on which cheaper passes must predict what the model does


def check(precision: str) -> None:
    """Refuse unknown names."""
    if precision not in get_args(EvaluationPrecision):
        raise unknown("precision", precision, get_args(EvaluationPrecision))


def settle(
    folder: Path,
    precision: EvaluationPrecision,
    model: nn.Module,
    attacks: Sequence[Attack[Any]],
    count: int,
    batch: tuple[Images, Labels],
    doubted: bool,
    group: Processes,
) -> Passes | None:
    """The passes of an evaluation's searches: those that it has begun with, or the fastest ones by a short trial.

    None where nothing but the model itself is to be asked.

    Args:
        folder: of the evaluation, where the choice is kept.
        count: examples to attack.
        batch: a whole one.
        doubted: the model is to answer itself unless bfloat16 is asked for: the checks before the attacks have raised
            an alarm, or no gradient reaches its input.

    Raises:
        InvalidInput: bfloat16 is asked of a model that cannot be copied.
    """
    path = folder / "passes.json"
    if group.first and not path.exists():
        itself = precision != "bfloat16" and (doubted or any(folder.glob("verdicts*.jsonl")))
        x, y = batch
        chosen = None
        if not itself:
            _, chosen = fitting(len(x), lambda rows: _tried(precision, model, attacks, count, (x[:rows], y[:rows])))
        write_atomically(path, json.dumps(chosen and asdict(chosen)).encode())
    group.wait()
    kept = json.loads(path.read_text())
    passes = None if kept is None else Passes(**kept)
    if precision == "auto" or precision == ("float32" if passes is None else passes.precision):
        return passes
    return None if precision == "float32" else Passes(precision)  # another evaluation, which its log refuses


def _tried(
    precision: EvaluationPrecision,
    model: nn.Module,
    attacks: Sequence[Attack[Any]],
    count: int,
    batch: tuple[Images, Labels],
) -> Passes | None:
    x, y = batch
    demand = _demand(attacks, count / len(x))
    if precision != "bfloat16" and (demand.forward + demand.gradient) * len(x) < LONG:
        return None
    precisions: tuple[Precision, ...] = ("float32", "bfloat16") if precision == "auto" else (precision,)
    try:
        chosen = trial(model, x, y, demand, candidates(x.dim() == 4, precisions), compiled=False).passes
        agreeing = _agreement(model, StandIn(model, chosen), x) >= AGREES
    except torch.OutOfMemoryError:  # a RuntimeError too, but of the batch and not of the model
        raise
    except (RuntimeError, TypeError) as error:
        if precision != "bfloat16":
            return None
        raise InvalidInput(f"the model cannot be copied ({error}), as bfloat16 needs; evaluate in float32") from error
    needless = chosen.plain and not is_quickened(model)
    return chosen if precision == "bfloat16" or (agreeing and not needless) else None


def _demand(attacks: Sequence[Attack[Any]], batches: float) -> Demand:
    """The passes of all attacks if every example stands, in batches. Foreign attacks are not counted."""
    forward = gradient = 0.0
    for attack in attacks:
        work = batches * max(attack.targets, 1) * attack.restarts * attack.budget * (attack.passes or 0)
        forward, gradient = (forward + work, gradient) if attack.gradient_free else (forward, gradient + work)
    return Demand(forward=forward, gradient=gradient)


@torch.no_grad()
def _agreement(model: nn.Module, cheap: StandIn, x: Images) -> float:
    return float((model(x).argmax(dim=1) == cheap(x).argmax(dim=1)).float().mean())
