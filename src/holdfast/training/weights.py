"""Weights as safetensors: bytes that hold tensors and nothing that could run."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from holdfast.errors import CheckpointError


def to_bytes(model: nn.Module) -> bytes:
    """A model's state dict, the same bytes for the same values, whatever the device and the memory format.

    Tied weights are written under each of their names.
    """
    state: Mapping[str, Tensor] = model.state_dict()
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()})


def is_finite(model: nn.Module) -> bool:
    """No parameter and no buffer holds inf or nan; costs one synchronisation."""
    values = [t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    return not values or bool(torch.stack([value.isfinite().all() for value in values]).all())


def from_bytes(model: nn.Module, content: bytes, path: Path) -> None:
    """Put saved weights, read from `path`, into a model.

    Raises:
        CheckpointError: the bytes are no safetensors, or the weights of another network.
    """
    try:
        state = load(content)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no whole safetensors file ({error}); it was cut short or is something else: resume the run to "
            "write it anew, or copy it again"
        ) from error
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path} holds the weights of another network: {error}") from error
