"""BatchNorm as part of the convolution before it, for passes in eval mode.

A BatchNorm in eval mode is a scale and a shift of each channel, and so is part of what the convolution before it can
compute: w' = w * s and b' = (b - mean) * s + shift with s = weight / sqrt(variance + eps). That saves a pass over the
activations, forwards and backwards. Only a BatchNorm that alone reads a convolution can go: in a PreAct ResNet-18 8 of
17.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from holdfast.modes import inference


@dataclass(frozen=True)
class Fold:
    """A convolution of a copy that does the work of a BatchNorm too.

    Attributes:
        folded: the copy's convolution.
        convolution, norm: of the model that it is a copy of.
    """

    folded: _ConvNd
    convolution: _ConvNd
    norm: _BatchNorm

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the model's present weights and statistics."""
        norm, weight = self.norm, self.convolution.weight
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        scale = (variance + norm.eps).rsqrt_()
        if norm.weight is not None:
            scale.mul_(norm.weight)
        shift = -mean if self.convolution.bias is None else self.convolution.bias - mean
        shift = shift * scale if norm.bias is None else torch.addcmul(norm.bias, shift, scale)
        self.folded.weight.copy_(weight * scale.reshape(-1, *[1] * (weight.dim() - 1)))
        self.folded.get_parameter("bias").copy_(shift)


def fold(copy: nn.Module, model: nn.Module) -> list[Fold]:
    """Make each BatchNorm of `copy` that can go an identity, and give its convolution weights of its own.

    The weights are not set: `Fold.refresh` does that, as often as the model's change.

    Args:
        copy: a deep copy of the model, in eval mode, for its own use.
        model: keeps its layers.
    """
    layers, copies = dict(model.named_modules()), dict(copy.named_modules())
    folds = []
    for convolution, norm in foldable(copy):
        folded, gone = copies[convolution], copies[norm]
        assert isinstance(folded, _ConvNd)
        folded.weight = nn.Parameter(torch.empty_like(folded.weight), requires_grad=False)
        folded.bias = nn.Parameter(folded.weight.new_empty(folded.out_channels), requires_grad=False)
        # In place, so that whoever holds the layer (a list, say) holds an identity.
        gone.__class__ = nn.Identity
        folds.append(Fold(folded, layers[convolution], layers[norm]))
    return folds


def foldable(model: nn.Module) -> list[tuple[str, str]]:
    """Names of (convolution, BatchNorm) where the second is called once, on the first one's output, which nothing else
    reads.

    That is read off a symbolic trace by torch.fx. A model that cannot be traced, because its path depends on the
    input, has none; and so has a layer with hooks, or whose weights are used outside it.
    """
    try:
        with inference(model):
            graph = fx.Tracer().trace(model)
    except Exception:  # a proxy in place of an input may make foreign code raise anything
        return []
    calls = [node for node in graph.nodes if node.op == "call_module"]
    layers = dict(model.named_modules())
    once = {name for name, count in Counter(str(node.target) for node in calls).items() if count == 1}
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    pairs = []
    for node in calls:
        before = node.args[0] if len(node.args) == 1 and not node.kwargs else None
        if not (isinstance(before, fx.Node) and before.op == "call_module" and list(before.users) == [node]):
            continue
        convolution, norm = str(before.target), str(node.target)
        if {convolution, norm} <= once - read and _fits(layers[convolution], layers[norm]):
            pairs.append((convolution, norm))
    return pairs


def _fits(convolution: nn.Module, norm: nn.Module) -> bool:
    """Whether these layers are what torch makes of them, and no more."""
    known = type(convolution) in (nn.Conv1d, nn.Conv2d, nn.Conv3d) and isinstance(norm, _BatchNorm)
    plain = known and type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) and norm.running_mean is not None
    return plain and not any(_hooks(layer) for layer in (convolution, norm))


def _hooks(layer: nn.Module) -> Sequence[object]:
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return [hook for kind in hooks for hook in kind.values()]
