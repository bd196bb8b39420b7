"""A step's loss as one forward pass, and what it depends on."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.methods import LLR, Batch, GradAlign, Loss, Method, Natural, Progress, Task
from holdfast.models import MLP, PreActResNet18
from holdfast.noise import Noise
from holdfast.processes import Processes
from holdfast.recipe import SGD, Recipe
from holdfast.speed import PLAIN
from holdfast.threat import Linf, ThreatModel
from holdfast.training.learner import Learner
from holdfast.training.objective import Objective, parts
from holdfast.training.stages import Stages

Make = Callable[..., Recipe]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Drawing(Method):
    """Its loss is a learned number; it logs a number of each kind of randomness."""

    def init(self, model: nn.Module, task: Task) -> nn.Module:
        return nn.Linear(task.classes, 1)

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
        value = state(model(batch.x)).mean()
        return Loss(value, {"global": torch.rand(()), "keyed": noise.uniform(()).mean(), "clean_accuracy": value})


def drawn(recipe: Recipe, epoch: int = 0, step: int = 0, rank: int = 0, number: int = 0) -> dict[str, float]:
    learner = Learner(recipe, Task(10, 6, 6, (1, 8, 8)), 10, Processes(0, 1, CPU))
    objective = Objective(recipe, PLAIN, learner.model, learner.objective.state, CPU, rank, Stages(CPU))
    x, y, index = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6), torch.arange(6)
    part = list(parts(x, y, index, 2))[number]
    found = objective(part, Linf(0.1), Progress(0.0, epoch, step, 10)).parts
    return {name: float(value) for name, value in found.items()}


@pytest.mark.usefixtures("global_state_rests")
def test_randomness_is_a_function_of_seed_step_process_and_part(tiny: Make) -> None:
    recipe = tiny(method=Drawing(), model=MLP())
    assert drawn(recipe) == drawn(recipe)
    others = [
        drawn(recipe, step=1),
        drawn(recipe, rank=1),
        drawn(recipe, number=1),
        drawn(tiny(method=Drawing(), seed=1)),
    ]
    assert all(other["global"] != drawn(recipe)["global"] for other in others)
    # An example's own noise changes with the epoch, and with neither the step nor the process that sees it.
    assert drawn(recipe, step=1, rank=1)["keyed"] == drawn(recipe)["keyed"]
    assert drawn(recipe, epoch=1)["keyed"] != drawn(recipe)["keyed"]


def test_the_log_keeps_the_held_out_accuracies_names_free(tiny: Make) -> None:
    assert drawn(tiny(method=Drawing(), model=MLP())).keys() == {"loss", "global", "keyed", "train_clean_accuracy"}


@pytest.mark.parametrize(("rows", "count", "sizes"), [(6, 1, [6]), (6, 3, [2, 2, 2]), (5, 2, [3, 2]), (2, 4, [1, 1])])
def test_parts_are_the_batch(rows: int, count: int, sizes: list[int]) -> None:
    x = torch.arange(rows)
    cut = list(parts(x, x, x, count))
    assert [len(part.batch.y) for part in cut] == sizes
    assert torch.equal(torch.cat([part.batch.x for part in cut]), x)
    assert sum(part.share for part in cut) == pytest.approx(1.0)
    assert [part.last for part in cut] == [False] * (len(cut) - 1) + [True]


def test_a_methods_own_parameters_learn_too(tiny: Make) -> None:
    recipe = tiny(method=Drawing(), model=MLP(), optimizer=SGD(lr=0.1))
    learner = Learner(recipe, Task(10, 6, 6, (1, 8, 8)), 10, Processes(0, 1, CPU))
    before = {name: value.clone() for name, value in learner.objective.state.named_parameters()}
    (part,) = parts(torch.rand(6, 1, 8, 8), torch.arange(6), torch.arange(6), 1)
    learner.objective(part, Linf(0.1), Progress(0.0, 0, 0, 10)).value.backward()
    learner.update(1)
    assert all(not torch.equal(value, before[name]) for name, value in learner.objective.state.named_parameters())


@pytest.mark.parametrize("method", [GradAlign(Natural()), LLR(inner=PGD(steps=1))])
def test_no_stand_in_is_made_that_nobody_asks(tiny: Make, method: Method) -> None:
    recipe = tiny(method=method, model=PreActResNet18(width=4), channels_last=True)
    learner = Learner(recipe, Task(10, 6, 6, (1, 8, 8)), 10, Processes(0, 1, CPU))
    (part,) = parts(torch.rand(6, 1, 8, 8), torch.arange(6), torch.arange(6), 1)
    learner.objective(part, Linf(0.1), Progress(0.0, 0, 0, 10))
    assert learner.objective._stand_ins._made == {}


def test_learning_rates_follow_the_schedule_in_every_group(tiny: Make) -> None:
    recipe = tiny(model=MLP(), optimizer=SGD(lr=0.2, decay_everything=False))
    learner = Learner(recipe, Task(10, 6, 6, (1, 8, 8)), 10, Processes(0, 1, CPU))
    assert learner.set_rate(0.2) == pytest.approx(0.1)  # one-cycle: half way to its peak at 0.4
    assert [group["lr"] for group in learner.optimizer.param_groups] == pytest.approx([0.1, 0.1])
