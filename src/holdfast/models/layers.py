"""Watching what the layers of any model give, through forward hooks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import InvalidInput, unknown
from holdfast.typing import Images, Logits

Seen = Callable[[str, Tensor, Tensor], None]  # layer's name, its (first) input, its output


def leaves(model: nn.Module) -> list[str]:
    """Names of the modules without children, in the order of registration."""
    return [name for name, module in model.named_modules() if not any(module.children())]


@contextmanager
def watching(model: nn.Module, layers: Sequence[str], seen: Seen) -> Iterator[None]:
    """Call `seen` for every output of these layers, as soon as it is there: a later layer may overwrite it.

    One forward pass belongs inside. A layer's second call in it is named "name#2"; outputs that are not one tensor are
    passed over.

    Raises:
        InvalidInput: the model has no layer of that name.
    """
    modules = dict(model.named_modules())
    if foreign := [name for name in layers if name not in modules]:
        raise unknown("layer", foreign[0], modules)
    calls = dict.fromkeys(layers, 0)

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            calls[name] += 1
            if isinstance(output, Tensor) and inputs and isinstance(inputs[0], Tensor):
                seen(name if calls[name] == 1 else f"{name}#{calls[name]}", inputs[0], output)

        return note

    handles = [modules[name].register_forward_hook(hook(name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def head(model: nn.Module, x: Images) -> str:
    """The last layer with parameters that a forward pass of [B, ...] inputs comes to: the one that makes the logits.

    Raises:
        InvalidInput: no module of the model has parameters.
    """
    modules = dict(model.named_modules())
    order: list[str] = []
    with torch.no_grad(), watching(model, leaves(model), lambda name, *_: order.append(name.partition("#")[0])):
        model(x)
    weighted = [name for name in order if any(True for _ in modules[name].parameters())]
    if not weighted:
        raise InvalidInput("no layer of the model has parameters, so none can be told to be the last; name a layer")
    return weighted[-1]


def with_features(model: nn.Module, x: Images, layer: str | None = None) -> tuple[Logits, Tensor]:
    """One forward pass of [B, ...] inputs: the logits, and [B, d] features with their graph.

    Args:
        layer: whose output the features are; None for the input of the last layer with parameters, which is the
            representation that the logits are linear in.

    Raises:
        InvalidInput: no such layer, or one that gives no row for each example.
    """
    modules = dict(model.named_modules())
    weighted = [name for name in leaves(model) if any(True for _ in modules[name].parameters())]
    found: list[Tensor] = []

    def seen(name: str, given: Tensor, output: Tensor) -> None:
        # Of all calls the last one counts. Copied, because a layer that works in place would change it.
        found[:] = [given if layer is None else output.clone()]

    with watching(model, weighted if layer is None else [layer], seen):
        logits: Logits = model(x)
    if not found or len(found[0]) != len(x):
        raise InvalidInput(
            f"layer {layer or 'in front of the logits'!r} gives no tensor with one row for each example; name another"
        )
    return logits, found[0].flatten(1)
