"""A copy of a model that answers in its place, cheaper, where only logits and gradients of the input are wanted."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from holdfast import losses, modes
from holdfast.speed.folding import fold
from holdfast.speed.passes import Passes
from holdfast.typing import Images, Logits

_LOWERED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)  # autocast computes these in bfloat16 in any case


class StandIn:
    """Inputs to float32 logits as the model gives them in a search, by cheaper passes; the model stays untouched.

    Gradients go to the input only. The copy's weights are the model's at the last `refresh`, which costs one copy of
    them; everything else about the model (its layers, and tensors that are neither parameters nor buffers) is taken
    once, at construction.

    Args:
        model: to stand in for.
        passes: how to compute.
        batch_statistics: as in `modes.searching`; nothing can then be folded.

    Raises:
        RuntimeError, TypeError: of copy.deepcopy, for a model that cannot be copied.
    """

    def __init__(self, model: nn.Module, passes: Passes, batch_statistics: bool = False) -> None:
        copy = deepcopy(model).requires_grad_(False)
        modes.rest(copy)
        self.passes = passes
        self._model, self._copy = model, copy
        self._batch_statistics = batch_statistics
        self._folds = fold(copy, model) if passes.folded and not batch_statistics else []
        if passes.channels_last:
            copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # unknown to torch's stubs
        self._lowered = passes.precision == "bfloat16"
        if self._lowered:
            for layer in copy.modules():
                if type(layer) in _LOWERED:
                    layer.to(torch.bfloat16)
        self._mine, self._live = self._pairs()
        self._ask = torch.compile(copy, dynamic=False) if passes.compiled else copy
        self.refresh()

    def _pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        """The copy's tensors, but for those that folding makes, and the model's that they are copies of."""
        made = {id(tensor) for fold in self._folds for tensor in fold.folded.parameters()}
        mine, live = _tensors(self._copy), _tensors(self._model)
        names = [name for name, tensor in mine.items() if id(tensor) not in made and name in live]
        return [mine[name] for name in names], [live[name] for name in names]

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the model's present weights, statistics and frozen layers."""
        if self._mine:
            torch._foreach_copy_(self._mine, self._live)
        for folded in self._folds:
            folded.refresh()
        if self._batch_statistics:
            modes.normalise_alike(self._copy, self._model)

    def __call__(self, x: Images) -> Logits:
        """[B, ...] on the model's device -> [B, K] logits, at least float32; differentiable in x."""
        if self.passes.channels_last and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        # The cache would keep casts of weights that the next refresh changes.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._lowered, cache_enabled=False):
            return losses.precise(self._ask(x))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers under all of their names."""
    return dict([*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)])
