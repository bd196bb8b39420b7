"""Accuracy under changes of the inputs: what a change is, and the counting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from holdfast import losses, modes
from holdfast.data import ImageSet, ordered_batches
from holdfast.noise import Noise, stream_seed
from holdfast.results import Shift, Shifts
from holdfast.typing import Classifier, Images, Labels

Change = Callable[[Images, Noise], Images]  # [B, C, H, W] in [0, 1] -> the same; row i depends on its own noise alone


@dataclass(frozen=True)
class Setting:
    """A kind of change at one level; see `holdfast.results.Shift` for the first four fields."""

    group: str
    kind: str
    level: str
    value: float
    change: Change

    def noise(self, seed: int, index: torch.Tensor) -> Noise:
        """The random numbers of the examples at [B] `index`: others for every kind and level, whatever else runs."""
        return Noise.of(seed, index, stream_seed(*f"{self.kind}/{self.level}".encode()) >> 1)


def count_right(model: Classifier, x: Images, y: Labels) -> int:
    """How many of [B, ...] inputs are classified rightly."""
    with torch.no_grad():
        return int((losses.precise(model(x)).argmax(dim=1) == y).sum())


def count_all(
    model: nn.Module,
    images: ImageSet,
    settings: Sequence[Setting],
    *,
    source: str,
    skipped: Mapping[str, str],
    seed: int,
    batch_size: int,
    device: torch.device | str,
) -> Shifts:
    """Classify every example unchanged and under every setting by itself, the model in eval mode."""
    clean, right = 0, [0] * len(settings)
    with modes.inference(model):
        for x, y, index in ordered_batches(images, batch_size, device):
            clean += count_right(model, x, y)
            for position, setting in enumerate(settings):
                changed = setting.change(x, setting.noise(seed, index))
                right[position] += count_right(model, changed, y)
    shifts = tuple(Shift(s.group, s.kind, s.level, s.value, n) for s, n in zip(settings, right, strict=True))
    return Shifts(len(images), clean, shifts, source, skipped)
