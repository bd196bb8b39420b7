"""What learns: the model, the method's state, the optimizer and the average of the weights."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from holdfast.methods import Task
from holdfast.processes import Processes
from holdfast.recipe import Recipe
from holdfast.speed import Trial, adapt
from holdfast.training.averaging import average
from holdfast.training.generator import seeded
from holdfast.training.memory import Memory
from holdfast.training.objective import Objective
from holdfast.training.settle import settle
from holdfast.training.stages import Stages
from holdfast.typing import Images

_STREAM = 0x696E6974  # keeps a method's initial state apart from everything else that the seed decides


class Learner:
    """Everything that steps change, made from a recipe.

    Attributes:
        model: in training.
        objective: model and method; its forward pass is a step's loss, joined over the processes.
        optimizer: of the parameters of the model and of the method's state.
        trial: how the passes are computed, and why.
        stages: where the time of the steps goes.

    Args:
        recipe: what to train.
        task: the data.
        steps: of the whole training.
        processes: who trains.
        settled: of a run that goes on, how its passes are computed; a new run settles it.
    """

    def __init__(
        self, recipe: Recipe, task: Task, steps: int, processes: Processes, settled: Trial | None = None
    ) -> None:
        self._processes = processes
        device = processes.device
        self.model = recipe.model.build(task.shape, task.classes, recipe.seed).to(device)
        self.trial = settled or settle(recipe, self.model, task, steps, processes)
        adapt(self.model, self.trial.passes)
        with seeded(device, recipe.seed, _STREAM):
            state = recipe.method.init(self.model, task)
        self._state = None if state is None else state.to(device)
        self.stages = Stages(device)
        bare = Objective(recipe, self.trial.passes, self.model, self._state, device, processes.rank, self.stages)
        self._memory = Memory(self._state, processes)
        self.optimizer = recipe.optimizer.build(bare)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._schedule = recipe.schedule
        # A method that replays batches may move the weights in some steps, and what it learns itself in others.
        self.objective = processes.join(bare, partial=recipe.method.replays > 1)
        self._average = average(recipe, self.model, steps, processes)

    @property
    def parameters(self) -> int:
        """Numbers that are trained in the model."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)

    @property
    def evaluated(self) -> nn.Module:
        """The model to measure and keep: the average where there is one."""
        return self._average.model if self._average else self.model

    def set_rate(self, fraction: float) -> float:
        """Set the learning rate for a step at `fraction` of the training; the first group's is returned."""
        factor = self._schedule.factor(fraction)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        return float(self._rates[0]) * factor

    def update(self, step: int) -> None:
        """Step number `step` (from 1) with the gradients at hand."""
        self.optimizer.step()
        self._memory.share()
        if self._average:
            self._average.update(step)

    def end_epoch(self, step: int, inputs: Callable[[], Iterable[Images]]) -> None:
        """After an epoch, which ended with that step; `inputs` gives the epoch's batches once more."""
        if self._average:
            self._average.end_epoch(step, inputs)

    def state_dict(self) -> dict[str, Any]:
        """All but the model's weights, in plain types."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "method": self._state.state_dict() if self._state else None,
            "average": self._average.state_dict() if self._average else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state of a checkpoint back."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self._state:
            self._state.load_state_dict(state["method"])
            self._memory = Memory(self._state, self._processes)
        if self._average:
            self._average.load_state_dict(state["average"])
