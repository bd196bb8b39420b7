"""A copy of a model that answers in its place, cheaper, where only logits and gradients of the input are wanted."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from holdfast import losses, modes
from holdfast.speed.folding import fold
from holdfast.speed.one_channel import quicken
from holdfast.speed.outer import adapt, laid_out
from holdfast.speed.passes import Passes
from holdfast.typing import Classifier, Images, Logits

Place = tuple[dict[str, Any], str]  # where a tensor of the model is kept
_UNREAD = ("num_batches_tracked",)  # what BatchNorm reads only where running statistics move
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
        adapt(copy, passes)
        self._lowered = passes.precision == "bfloat16"
        if self._lowered:
            for layer in copy.modules():
                if type(layer) in _LOWERED:
                    layer.to(torch.bfloat16)
        made = {id(tensor) for fold in self._folds for tensor in fold.folded.parameters()}
        if not passes.compiled:
            quicken(copy)
        live = {name: (store, key) for name, store, key in _tensors(model)}
        # One group for each pair of types: a call with several would copy tensor by tensor.
        self._groups: dict[tuple[torch.dtype, torch.dtype], list[tuple[Tensor, Place]]] = {}
        for name, store, key in _tensors(copy):
            mine, place = store[key], live.get(name)
            if place is not None and mine is not None and id(mine) not in made and key not in _UNREAD:
                kinds = mine.dtype, place[0][place[1]].dtype
                self._groups.setdefault(kinds, []).append((mine, place))
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the model's present weights, statistics and frozen layers."""
        for group in self._groups.values():
            # Looked up each time: others may stand for the model's tensors (`modes.substituted`).
            torch._foreach_copy_([mine for mine, _ in group], [store[key] for _, (store, key) in group])
        for folded in self._folds:
            folded.refresh()
        if self._batch_statistics:
            modes.normalise_alike(self._copy, self._model)

    def __call__(self, x: Images) -> Logits:
        """[B, ...] on the model's device -> [B, K] logits, at least float32; differentiable in x."""
        x = laid_out(x, self.passes)
        # The cache would keep casts of weights that the next refresh changes.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._lowered, cache_enabled=False):
            return losses.precise(self._copy(x))


class StandIns:
    """Stand-ins of a model for its searches, each made when it is first asked for, and fresh for every search.

    Args:
        model: to stand in for. One that cannot be copied, and one with plain passes, answers itself.
        passes: how to compute.
    """

    def __init__(self, model: nn.Module, passes: Passes) -> None:
        self._model, self._passes = model, passes
        self._made: dict[bool, StandIn | None] = {}

    def __call__(self, model: nn.Module, batch_statistics: bool) -> Classifier | None:
        """Who answers a search of `model`; None if that is no business of these stand-ins."""
        if model is not self._model or self._passes.plain:
            return None
        if batch_statistics not in self._made:
            self._made[batch_statistics] = self._make(batch_statistics)
        made = self._made[batch_statistics]
        if made is not None:
            made.refresh()
        return made

    def _make(self, batch_statistics: bool) -> StandIn | None:
        try:
            return StandIn(self._model, self._passes, batch_statistics)
        except (RuntimeError, TypeError):
            return None


def _tensors(model: nn.Module) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Where parameters and buffers are kept, under all of their names: (full name, dictionary, key)."""
    for path, module in model.named_modules(remove_duplicate=False):
        for store in (module._parameters, module._buffers):
            yield from ((f"{path}.{key}", store, key) for key in store)
