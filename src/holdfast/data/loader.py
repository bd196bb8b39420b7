"""Batches on the device: of training sets in their order of an epoch, and of any set in its own."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from holdfast.data.augment import Augment, apply
from holdfast.data.fileset import FileSet
from holdfast.data.imageset import ImageSet
from holdfast.data.order import Order
from holdfast.data.streaming import decoded
from holdfast.noise import Noise
from holdfast.typing import Images, Labels

Examples = tuple[Images, Labels, Tensor]  # x float32 in [0, 1], y int64 [B], index int64 [B]: positions in the set

_STREAM = 0x61756721  # keeps augmentation apart from everything else that the seed decides


def unit(x: Images) -> Images:
    """Grey levels 0 to 255 as float32 in [0, 1]; floats as they are."""
    return x.to(torch.float32).div_(255.0) if x.dtype == torch.uint8 else x


class EpochLoader:
    """Shuffled, augmented batches of a training set, made on the device.

    Images in memory are brought to the device once, as bytes, and then nothing is copied but their positions; images in
    files are decoded when they are needed. Batch t of an epoch is a function of (seed, epoch, t) alone, so a run goes
    on at any step; the batches of all processes together are those of one process (see `Order`).

    Args:
        images: the training set.
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
        images: ImageSet | FileSet,
        batch_size: int,
        device: torch.device | str,
        seed: int,
        augment: Sequence[Augment] = (),
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._order = Order(len(images), batch_size, seed, rank, world)
        self._images = images if isinstance(images, FileSet) else images.images.to(device)
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
            DataError: a file cannot be decoded.
        """
        stored = self._stored(self._order.batches(epoch, start))
        return ((self._finish(pixels, index, epoch), self._labels[index], index) for index, pixels in stored)

    def _stored(self, batches: Iterator[Tensor]) -> Iterator[tuple[Tensor, Images]]:
        """Each batch's positions, and its pixels as they are stored; both on the device."""
        device = self._labels.device
        if isinstance(self._images, FileSet):
            for rows, pixels in decoded(self._images, batches):
                yield _sent(rows, device), _sent(pixels, device)
        else:
            for rows in batches:
                index = rows.to(device, non_blocking=True)
                yield index, self._images[index]

    def _finish(self, pixels: Images, index: Tensor, epoch: int) -> Images:
        """Augment by (seed, example, epoch); float32 in [0, 1]."""
        if self._augment:
            pixels = apply(self._augment, pixels, Noise.of(self._order.seed, index, _STREAM, epoch))
        return unit(pixels).contiguous()


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """A copy on the device; to CUDA in its queue, so that nobody waits for the steps before it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


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
