"""Batches of images in files: decoded on threads, a few batches ahead of training.

Threads and not processes: Pillow lets go of the interpreter while it decodes, so threads fill all processors, and
there is nothing to fork beside a running accelerator, to seed, or to send through shared memory.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from holdfast.data.decode import threads
from holdfast.data.fileset import FileSet
from holdfast.typing import Images

_AHEAD = 4  # batches that are being decoded while one is trained on


def decoded(images: FileSet, batches: Iterator[Tensor]) -> Iterator[tuple[Tensor, Images]]:
    """The batches, int64 [B] positions each, with their images: uint8 [B, C, H, W], on the CPU.

    Raises:
        DataError: a file cannot be decoded.
    """
    pool = ThreadPoolExecutor(threads())
    pending: deque[tuple[Tensor, list[Future[Images]]]] = deque()
    try:
        for rows in batches:
            pending.append((rows, [pool.submit(images.read, row) for row in rows.tolist()]))
            if len(pending) > _AHEAD:
                yield _taken(*pending.popleft())
        while pending:
            yield _taken(*pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _taken(rows: Tensor, images: list[Future[Images]]) -> tuple[Tensor, Images]:
    return rows, torch.stack([image.result() for image in images])
