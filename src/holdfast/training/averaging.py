"""Averages of the weights over a training, which are measured and kept in place of the weights themselves."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn

from holdfast import modes
from holdfast.errors import InvalidInput
from holdfast.processes import Processes
from holdfast.recipe import EMA, SWA, Recipe
from holdfast.typing import Images


class Average(ABC):
    """A second model whose parameters are made of those of the model in training.

    Args:
        model: in training; it is only read.

    Raises:
        InvalidInput: the model cannot be copied.
    """

    def __init__(self, model: nn.Module) -> None:
        self._online = model
        try:
            self._model = deepcopy(model).requires_grad_(False)
        except (RuntimeError, TypeError) as error:
            raise InvalidInput(f"the model cannot be copied ({error}); leave out ema and swa, which need it") from error

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The model to measure and keep."""

    def update(self, step: int) -> None:  # noqa: B027 - an average of epochs has nothing to do
        """After the optimizer's step number `step` (from 1)."""

    def end_epoch(self, step: int, inputs: Callable[[], Iterable[Images]]) -> None:  # noqa: B027 - as above
        """After an epoch, which ended with that step; `inputs` gives the epoch's batches once more."""

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged parameters by name."""
        return {name: parameter.detach() for name, parameter in self._model.named_parameters()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the averaged parameters back, on any device."""
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                parameter.copy_(state[name])

    @torch.no_grad()
    def _approach(self, share: float) -> None:
        """Move by a share of the way towards the model's parameters."""
        torch._foreach_lerp_(list(self._model.parameters()), list(self._online.parameters()), share)

    @torch.no_grad()
    def _copy_buffers(self) -> None:
        for mine, online in zip(self._model.buffers(), self._online.buffers(), strict=True):
            mine.copy_(online)


class ExponentialAverage(Average):
    """Trails the model's parameters, as in Gowal et al. 2020 (arXiv:2010.03593).

    Args:
        ema: the decay and its warm-up.
        model: in training.
        steps: of the whole training.
    """

    def __init__(self, ema: EMA, model: nn.Module, steps: int) -> None:
        super().__init__(model)
        self._ema = ema
        self._start = ema.warmup * steps

    def decay(self, step: int) -> float:
        """Share of the old average after `step` steps: 0 in the warm-up, then min(decay, (1 + d) / (10 + d))."""
        since = step - self._start
        return 0.0 if since <= 0 else min(self._ema.decay, (1.0 + since) / (10.0 + since))

    def update(self, step: int) -> None:
        self._approach(1.0 - self.decay(step))

    @property
    def model(self) -> nn.Module:
        """The averaged model.

        Its buffers (BatchNorm's statistics) are values copied from the online model at this moment: averaging would
        blur them with the statistics of early weights, sharing them would let later steps leak in.
        """
        self._copy_buffers()
        return self._model


class EpochAverage(Average):
    """The mean of the weights at the ends of epochs (SWA), with BatchNorm's statistics measured anew for it.

    No pass of the training has seen the averaged weights, so that nobody's running statistics fit them: after each
    epoch they are taken over all of its inputs, clean and augmented as the epoch had them. Deviation from the reference
    code: dropout is off in these passes.

    Args:
        swa: when it begins.
        model: in training.
        steps: of the whole training.
        processes: who trains; each measures on its part of the inputs.
    """

    def __init__(self, swa: SWA, model: nn.Module, steps: int, processes: Processes) -> None:
        super().__init__(model)
        self._start = swa.start * steps
        self._processes = processes
        self._count = 0

    def end_epoch(self, step: int, inputs: Callable[[], Iterable[Images]]) -> None:
        if step <= self._start:
            return
        self._count += 1
        self._approach(1.0 / self._count)
        self._copy_buffers()
        with modes.measuring(self._model) as statistics, torch.no_grad():
            if statistics:
                for x in inputs():
                    self._model(x)
        for values in statistics:
            self._processes.sum(values).div_(self._processes.world)

    @property
    def model(self) -> nn.Module:
        """The averaged model; before it begins, the model in training."""
        return self._model if self._count else self._online

    def state_dict(self) -> dict[str, Tensor]:
        return {**super().state_dict(), "epochs averaged": torch.tensor(self._count)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._count = int(state["epochs averaged"])


def average(recipe: Recipe, model: nn.Module, steps: int, processes: Processes) -> Average | None:
    """The average that a recipe asks for."""
    if recipe.ema:
        return ExponentialAverage(recipe.ema, model, steps)
    return EpochAverage(recipe.swa, model, steps, processes) if recipe.swa else None
