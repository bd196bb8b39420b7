"""The only place that touches train and eval flags, and that lends a model other tensors."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.typing import Classifier

# Stands around inner searches, given the model, whether they go by batch statistics, and whether the model is to answer
# itself, and yields who answers in its place, if anybody.
Replacement = Callable[[nn.Module, bool, bool], AbstractContextManager[Classifier | None]]
_replacement: ContextVar[Replacement | None] = ContextVar("replacement", default=None)


def rest(model: nn.Module) -> None:
    """Put every module of `model` in eval mode for good."""
    model.eval()


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Put every module of `model` in eval mode, and give each its own flag back afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Put every module but BatchNorm's layers in eval mode, and give each its own flag back afterwards."""
    flags = [(module, module.training) for module in model.modules() if not isinstance(module, _BatchNorm)]
    try:
        for module, _ in flags:
            module.training = False
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def searching(model: nn.Module, batch_statistics: bool, itself: bool = False) -> Iterator[Classifier]:
    """The modes of an inner search: eval everywhere, so that dropout is off and running statistics rest.

    With `batch_statistics` the BatchNorm layers that are in train mode normalise by the batch at hand instead, as
    methods do whose reference code attacks in train mode, but without moving their running averages (the reference
    codes move them in every attack pass; this is the one deviation that all our methods share). Layers that the caller
    froze in eval mode keep their running statistics.

    Args:
        model: to search on.
        batch_statistics: see above.
        itself: nobody is to answer in the model's place.

    Yields:
        Whom to ask in the search: the model, or what gives the same logits by cheaper passes (see `replacing`).
        Gradients are meant for its input; those of the parameters it may lack.
    """
    replacement = _replacement.get() or _nobody
    normalising = [layer for layer in _norms(model) if _moves(layer)] if batch_statistics else []
    with replacement(model, batch_statistics, itself) as asked, inference(model):
        try:
            for layer in normalising:
                # With track_running_stats off, a layer in train mode neither reads nor moves its buffers.
                layer.track_running_stats = False
                layer.training = True
            yield model if asked is None else asked
        finally:
            for layer in normalising:
                layer.track_running_stats = True


@contextmanager
def measuring(model: nn.Module) -> Iterator[list[Tensor]]:
    """Eval mode, but BatchNorm layers in train mode forget their running statistics and take their mean over the
    batches of this block, each batch alike.

    Yields:
        The running means and variances; empty if nothing is to be measured.
    """
    measured = [(layer, layer.momentum) for layer in _norms(model) if _moves(layer)]
    statistics = [layer.get_buffer(name) for layer, _ in measured for name in ("running_mean", "running_var")]
    with inference(model):
        try:
            for layer, _ in measured:
                layer.reset_running_stats()
                layer.momentum, layer.training = None, True
            yield statistics
        finally:
            for layer, momentum in measured:
                layer.momentum = momentum


def _nobody(model: nn.Module, batch_statistics: bool, itself: bool) -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def replacing(replacement: Replacement) -> Iterator[None]:
    """Within this block searches ask whom `replacement` names; where it names nobody, the model itself."""
    token = _replacement.set(replacement)
    try:
        yield
    finally:
        _replacement.reset(token)


def normalise_alike(copy: nn.Module, model: nn.Module) -> None:
    """Have the BatchNorm layers of a resting copy normalise as a search by batch statistics of `model` would."""
    for mine, layer in zip(_norms(copy), _norms(model), strict=True):
        by_batch = _moves(layer)
        mine.training = by_batch
        mine.track_running_stats = layer.track_running_stats and not by_batch


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def _moves(layer: _BatchNorm) -> bool:
    """The layer's running statistics follow the batches."""
    return layer.training and layer.track_running_stats


@contextmanager
def substituted(model: nn.Module, tensors: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Let other tensors stand for parameters and buffers of `model`, each under every name that it has.

    The model's own tensors are not written to, so that they come back with their bits whatever happens; a graph that is
    built meanwhile goes on to hold the stand-ins, and leads to what these were made of.
    """
    others = {id(own): other for own, other in tensors.items()}
    stores = [store for module in model.modules() for store in (module._parameters, module._buffers)]
    places = [
        (store, name, own) for store in stores for name, own in store.items() if own is not None and id(own) in others
    ]
    try:
        for store, name, own in places:
            store[name] = others[id(own)]  # type: ignore[assignment]
        yield
    finally:
        for store, name, own in places:
            store[name] = own  # type: ignore[assignment]
