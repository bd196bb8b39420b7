"""The loader for sets that fit on the device: pixels stay there as bytes, and nothing is copied but their numbers."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from holdfast.data.augment import Augment, apply
from holdfast.data.imageset import ImageSet
from holdfast.data.order import Order
from holdfast.noise import Noise
from holdfast.typing import Images, Labels

Examples = tuple[Images, Labels, Tensor]  # x float32 in [0, 1], y int64 [B], index int64 [B]: positions in the set

_STREAM = 0x61756721  # keeps augmentation apart from everything else that the seed decides


def unit(x: Images) -> Images:
    """Grey levels 0 to 255 as float32 in [0, 1]; floats as they are."""
    return x.to(torch.float32).div_(255.0) if x.dtype == torch.uint8 else x


def finish(pixels: Images, index: Tensor, augment: Sequence[Augment], seed: int, epoch: int) -> Images:
    """Make a batch for training of stored pixels: augmented by (seed, example, epoch), float32 in [0, 1]."""
    if augment:
        pixels = apply(augment, pixels, Noise.of(seed, index, _STREAM, epoch))
    return unit(pixels).contiguous()


class EpochLoader:
    """Shuffled, augmented batches of a set that lives on the device.

    Batch t of an epoch is a function of (seed, epoch, t) alone, so a run goes on at any step; the batches of all
    processes together are those of one process (see `Order`).

    Args:
        images: the training set; copied to the device once.
        batch_size: examples a global batch, over all processes.
        device: where batches are made.
        seed: of order and augmentation.
        augment: applied in turn to each batch of [B, C, H, W].
        rank: number of this process.
        world: number of processes.

    Raises:
        InvalidInput: as `Order`.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        device: torch.device | str,
        seed: int,
        augment: Sequence[Augment] = (),
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._order = Order(len(images), batch_size, seed, rank, world)
        self._images = images.images.to(device)
        self._labels = images.labels.to(device)
        self._augment = tuple(augment)

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch."""
        return self._order.steps_per_epoch

    def batches(self, epoch: int, start: int = 0) -> Iterator[Examples]:
        """Batches start, start + 1, ... of an epoch, as (x, y, index).

        Raises:
            InvalidInput: `start` is not a step of the epoch.
        """
        return (self._batch(rows, epoch) for rows in self._order.batches(epoch, start))

    def _batch(self, rows: Tensor, epoch: int) -> Examples:
        index = rows.to(self._images.device, non_blocking=True)
        pixels = self._images[index]
        return finish(pixels, index, self._augment, self._order.seed, epoch), self._labels[index], index


def ordered_batches(images: ImageSet, batch_size: int, device: torch.device | str) -> Iterator[Examples]:
    """All examples once, in order, as (x, y, index) on the device; the last batch may be smaller. For evaluation.

    Raises:
        InvalidInput: a batch size below 1.
    """
    order = Order(len(images), batch_size, seed=0)
    for start in range(0, order.count, order.batch_size):
        rows = slice(start, start + order.batch_size)
        index = torch.arange(order.count)[rows]
        yield unit(images.images[rows].to(device)), images.labels[rows].to(device), index.to(device)
