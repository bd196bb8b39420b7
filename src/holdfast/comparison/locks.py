"""Folders that one process at a time works on; a process that dies, however it does, lets go of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: there one process works on a comparison
    fcntl = None  # type: ignore[assignment]


@contextmanager
def held(folder: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a folder; the value is whether it could be had.

    Args:
        folder: made if it is not there.
        wait: until another process lets go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield True
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
