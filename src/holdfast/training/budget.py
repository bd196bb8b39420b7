"""How long a training may last, and how many epochs that is: time becomes a number that the recipe then holds.

So the run is an ordinary one, which can be repeated and resumed; how long it took is told beside what it was given.
"""

import re
from dataclasses import dataclass, replace
from math import ceil, inf
from statistics import median
from typing import Literal, get_args

import torch

from holdfast.errors import InvalidInput, unknown
from holdfast.methods import Natural
from holdfast.processes import Processes, processes
from holdfast.recipe import Recipe
from holdfast.training.rehearsal import Rehearsal, in_memory, unwritten
from holdfast.training.train import repeatable

Unit = Literal["seconds", "passes", "epochs"]
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_TURN = 0.03  # seconds of a turn of natural training; many short ones, since the quickest is looked for
_TURNS = 9


@dataclass(frozen=True)
class Budget:
    """What a training may spend.

    Args:
        amount: how much.
        unit: "seconds" of optimizer steps; "passes", forward and backward, for each training image; or "epochs".
    """

    amount: float
    unit: Unit = "seconds"

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise unknown("unit of a budget", self.unit, get_args(Unit))
        if not 0.0 < self.amount < inf:
            raise InvalidInput(f"a budget of {self.amount:g} {self.unit} trains nothing; give more than 0")

    def __str__(self) -> str:
        if self.unit == "seconds":
            name, scale = next((n, s) for n, s in reversed(_SECONDS.items()) if self.amount >= s or n == "s")
            return f"{self.amount / scale:g} {name}"
        return f"{self.amount:g} {self.unit}"

    @staticmethod
    def parse(text: str) -> "Budget":
        """Read 90s, 5min, 2h, passes:20 or epochs:5.

        Raises:
            InvalidInput: it is none of them.
        """
        word = re.fullmatch(r"(passes|epochs):([\d.]+)|([\d.]+) ?(s|min|h)", text.strip())
        try:
            if word and word[1]:
                return Budget(float(word[2]), "passes" if word[1] == "passes" else "epochs")
            if word:
                return Budget(float(word[3]) * _SECONDS[word[4]])
        except ValueError:
            pass
        raise InvalidInput(f"cannot read the budget {text!r}; write 90s, 5min, 2h, passes:20 or epochs:5")

    def epochs(self, recipe: Recipe, pace: "Pace | None" = None) -> float:
        """For how many epochs it suffices, in hundredths, rounded down; at least one hundredth.

        Args:
            recipe: the training; its own number of epochs plays no part.
            pace: its, where the budget is one of seconds.
        """
        if self.unit == "epochs":
            return self.amount
        if self.unit == "passes":
            found = self.amount / (recipe.method.passes * recipe.method.replays)
        else:
            assert pace is not None
            found = self.amount / pace.seconds / pace.per_epoch
        return max(0.01, int(found * 100.0) / 100.0)


@dataclass(frozen=True)
class Pace:
    """What the steps of a training cost on this machine.

    Attributes:
        ratio: a step's cost over that of natural training, both measured in turns, so that whatever else the machine
            does meets both alike: of the processor's time on a CPU, of the wall's on other devices.
        natural_seconds: wall time of a step of natural training, the least that was seen; of one thread on a CPU the
            processor's time, which other jobs do not stretch.
        per_epoch: steps.
    """

    ratio: float
    natural_seconds: float
    per_epoch: int

    @property
    def seconds(self) -> float:
        """Wall time of a step."""
        return self.ratio * self.natural_seconds


def fit(recipe: Recipe, budget: Budget, device: str | torch.device | None = None) -> Recipe:
    """The recipe with as many epochs as a budget buys, and with its passes settled; takes some seconds."""
    recipe = settled(recipe, budget, device)
    return replace(recipe, epochs=budget.epochs(recipe, pace(recipe, device) if budget.unit == "seconds" else None))


@repeatable()
def settled(recipe: Recipe, budget: Budget, device: str | torch.device | None = None) -> Recipe:
    """The recipe with a trial's choice where it says "auto" of its passes, so that all runs of it have the same.

    Tried, as all is measured here, by the algorithms that a training is held to.
    """
    if "auto" not in (recipe.precision, recipe.channels_last, recipe.compile):
        return recipe
    group = processes(device)
    data, recipe = recipe.data, replace(recipe, data=in_memory(recipe.data))
    eager = replace(recipe, compile=False if recipe.compile == "auto" else recipe.compile)
    found = unwritten(replace(eager, epochs=1), group).learner.trial.passes
    chosen = replace(eager, precision=found.precision, channels_last=found.channels_last)
    if recipe.compile == "auto":
        # Whether compiling pays depends on the length, and the length on the pace.
        epochs = budget.epochs(chosen, pace(chosen, device) if budget.unit == "seconds" else None)
        again = unwritten(replace(chosen, compile="auto", epochs=epochs), group).learner.trial.passes
        chosen = replace(chosen, compile=again.compiled)
    return replace(chosen, epochs=recipe.epochs, data=data)


@repeatable()
def pace(recipe: Recipe, device: str | torch.device | None = None) -> Pace:
    """Measure a few steps of a throw-away copy of a training; takes a few seconds and writes nothing.

    Of several processes each returns the mean of all. Passes that are "auto" are better `settled` before.
    """
    group = processes(device)
    recipe = replace(recipe, data=in_memory(recipe.data))
    ours = Rehearsal(recipe, group)
    natural = Rehearsal(replace(recipe, method=Natural()), group)
    for copy in (ours, natural):
        copy.spend(1)
    steps = ceil(min(max(_TURN / _mean(group, natural.spend(1)[0]), 1.0), 10.0))
    turns = [(ours.spend(steps), natural.spend(steps)) for _ in range(_TURNS)]
    on_cpu = group.device.type == "cpu"
    ratio = median(one[on_cpu] / other[on_cpu] for one, other in turns)
    least = min(other[on_cpu and torch.get_num_threads() == 1] for _, other in turns) / steps
    return Pace(_mean(group, ratio), _mean(group, least), ours.per_epoch)


def _mean(group: Processes, value: float) -> float:
    return float(group.sum(torch.tensor([value], device=group.device)).item()) / group.world
