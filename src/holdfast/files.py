"""Files that are either whole or absent: written beside their place, flushed to the disk, then renamed."""

import os
from pathlib import Path

from holdfast.errors import HoldfastError


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`; a reader, or a machine that dies, sees the old file or the new one.

    Raises HoldfastError when the disk refuses; the old file is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HoldfastError(
            f"cannot write {path}: {error.strerror or error}; make room or choose another folder and run again"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in `folder` durable; does nothing where folders cannot be opened (Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
