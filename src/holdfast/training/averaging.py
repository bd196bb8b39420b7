"""Exponential moving average of the weights, as in Gowal et al. 2020 (arXiv:2010.03593)."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from holdfast.recipe import EMA


class Average:
    """A second model whose parameters trail those of the model in training.

    Args:
        ema: the decay and its warm-up.
        model: in training; it is only read.
        steps: of the whole training.
    """

    def __init__(self, ema: EMA, model: nn.Module, steps: int) -> None:
        self._ema = ema
        self._online = model
        self._model = deepcopy(model).requires_grad_(False)
        self._start = ema.warmup * steps

    def decay(self, step: int) -> float:
        """Share of the old average after `step` steps: 0 in the warm-up, then min(decay, (1 + d) / (10 + d))."""
        since = step - self._start
        return 0.0 if since <= 0 else min(self._ema.decay, (1.0 + since) / (10.0 + since))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the model's parameters, after the optimizer's step number `step` (from 1)."""
        torch._foreach_lerp_(list(self._model.parameters()), list(self._online.parameters()), 1.0 - self.decay(step))

    @property
    def model(self) -> nn.Module:
        """The averaged model.

        Its buffers (BatchNorm's statistics) are values copied from the online model at this moment: averaging would
        blur them with the statistics of early weights, sharing them would let later steps leak in.
        """
        with torch.no_grad():
            for mine, online in zip(self._model.buffers(), self._online.buffers(), strict=True):
                mine.copy_(online)
        return self._model

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged parameters by name."""
        return {name: parameter.detach() for name, parameter in self._model.named_parameters()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the averaged parameters back, on any device."""
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                parameter.copy_(state[name])
