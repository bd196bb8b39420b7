"""Searches by cheaper passes: when they are taken, and how the model itself keeps the last word.

What is cheaper (bfloat16, other layouts, folded BatchNorm) also rounds differently, so that a search may miss what the
model would have shown it, or claim what the model denies. Three things keep that from the verdicts: every candidate
is judged on the model itself, also the strongest one of a search that found nothing; a row whose claim the model
denied asks the model itself from then on; and where all searches of an attack failed, the strongest one's last
`FINISH` steps are taken once more on the model itself.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from holdfast.attacks import Attack
from holdfast.errors import unknown
from holdfast.evaluation.examples import Counted
from holdfast.files import write_atomically
from holdfast.processes import Processes
from holdfast.speed import PLAIN, Demand, Passes, StandIn, candidates, trial
from holdfast.typing import Images, Labels, Logits, Mask

EvaluationPrecision = Literal["auto", "float32", "bfloat16"]
FINISH = 20
LONG = 500_000  # example-passes; a shorter evaluation takes seconds and is not worth another rounding
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
) -> Passes:
    """The passes of an evaluation's searches: those that it has begun with, or the fastest ones by a short trial.

    Args:
        folder: of the evaluation, where the choice is kept.
        count: examples to attack.
        batch: a whole one.
        doubted: the checks before the attacks have raised an alarm; "auto" then stays with the plain passes.
    """
    path = folder / "passes.json"
    if group.first and not path.exists():
        begun = any(folder.glob("verdicts*.jsonl"))
        plain = precision == "float32" or (precision == "auto" and (doubted or begun))
        chosen = PLAIN if plain else _tried(precision, model, attacks, count, batch)
        write_atomically(path, json.dumps(asdict(chosen)).encode())
    group.wait()
    kept = Passes(**json.loads(path.read_text()))
    if precision == "auto" or precision == kept.precision:
        return kept
    return Passes(precision)  # another evaluation than the one begun here, which its log refuses


def _tried(
    precision: EvaluationPrecision,
    model: nn.Module,
    attacks: Sequence[Attack[Any]],
    count: int,
    batch: tuple[Images, Labels],
) -> Passes:
    x, y = batch
    demand = _demand(attacks, count / len(x))
    if precision == "auto" and (demand.forward + demand.gradient) * len(x) < LONG:
        return PLAIN
    ways = candidates(x.dim() == 4, ("float32", "bfloat16") if precision == "auto" else ("bfloat16",))
    try:
        chosen = trial(model, x, y, demand, ways, compiled=False).passes
        agreeing = precision != "auto" or _agreement(model, StandIn(model, chosen), x) >= AGREES
    except (RuntimeError, TypeError):  # a model that cannot be copied answers itself
        return PLAIN
    return chosen if agreeing else PLAIN


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


class Mixed:
    """Asks cheaper passes, and the model itself for the rows that `exact` names.

    Attributes:
        exact: [B] bool for a batch of B rows, or None for no row. A batch of another size, as attacks that ask several
            times in one pass make it, is then asked of the model itself.
    """

    def __init__(self, model: Counted, cheap: Counted) -> None:
        self.model, self.cheap = model, cheap
        self.exact: Mask | None = None

    def __call__(self, x: Images) -> Logits:
        if self.exact is None:
            return self.cheap(x)
        if len(self.exact) != len(x) or bool(self.exact.all()):
            return self.model(x)
        cheap, exact = (~self.exact).nonzero()[:, 0], self.exact.nonzero()[:, 0]
        logits = torch.cat([self.cheap(x[cheap]), self.model(x[exact])])
        return logits[torch.cat([cheap, exact]).argsort()]
