"""The loader for sets that do not fit in memory: files are decoded on threads, a few batches ahead of training.

Threads and not processes: Pillow lets go of the interpreter while it decodes, so threads fill all processors, and
there is nothing to fork beside a running accelerator, to seed, or to send through shared memory.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from holdfast.data.augment import Augment
from holdfast.data.decode import threads
from holdfast.data.fileset import FileSet
from holdfast.data.loader import Examples, finish
from holdfast.data.order import Order
from holdfast.typing import Images

_AHEAD = 4  # batches that are being decoded while one is trained on


class StreamingLoader:
    """The batches that `EpochLoader` would make of the same images, decoded when they are needed.

    Args:
        images: the training set, in files.
        batch_size, device, seed, augment, rank, world: as `EpochLoader`.

    Raises:
        InvalidInput: as `Order`.
    """

    def __init__(
        self,
        images: FileSet,
        batch_size: int,
        device: torch.device | str,
        seed: int,
        augment: Sequence[Augment] = (),
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._order = Order(len(images), batch_size, seed, rank, world)
        self._images = images
        self._device = torch.device(device)
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
        return self._decoded(self._order.batches(epoch, start), epoch)

    def _decoded(self, batches: Iterator[Tensor], epoch: int) -> Iterator[Examples]:
        pool = ThreadPoolExecutor(threads())
        pending: deque[tuple[Tensor, list[Future[Images]]]] = deque()
        try:
            for rows in batches:
                pending.append((rows, [pool.submit(self._images.read, row) for row in rows.tolist()]))
                if len(pending) > _AHEAD:
                    yield self._batch(*pending.popleft(), epoch)
            while pending:
                yield self._batch(*pending.popleft(), epoch)
        finally:
            pool.shutdown(cancel_futures=True)

    def _batch(self, rows: Tensor, decoded: list[Future[Images]], epoch: int) -> Examples:
        pixels = torch.stack([image.result() for image in decoded]).to(self._device)
        index = rows.to(self._device)
        x = finish(pixels, index, self._augment, self._order.seed, epoch)
        return x, self._images.labels[rows].to(self._device), index
