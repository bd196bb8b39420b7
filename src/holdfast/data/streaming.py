"""Images that stay in their files: which do, and their batches, decoded on threads a few ahead of training.

Threads and not processes: Pillow lets go of the interpreter while it decodes, so threads fill all processors, and
there is nothing to fork beside a running accelerator, to seed, or to send through shared memory.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from holdfast.data.decode import threads
from holdfast.data.fileset import FileSet
from holdfast.data.imageset import ImageSet
from holdfast.data.source import Source
from holdfast.typing import Images

STREAMED = 4 << 30  # bytes; a split that takes more when it is decoded stays in its files
Split = ImageSet | FileSet
_AHEAD = 4  # batches that are being decoded while one is trained on


def undecoded(source: Source, split: str) -> FileSet | None:
    """A split as the files that it lies in; None where the source has none."""
    files = getattr(source, "files", None)
    found: FileSet | None = None if files is None else files(split)
    return found


def open_split(source: Source, split: str) -> Split:
    """The split "train" or "test": images in memory or, of files that would take more than `STREAMED` bytes, the files.

    So it is a property of the data, and what was begun on one machine goes on with the same on another.
    """
    files = undecoded(source, split)
    if files is None:
        return source.load(split)
    return files if len(files) * math.prod(files.shape) > STREAMED else files.load()


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
