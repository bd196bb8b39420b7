"""A training's log: metrics.jsonl, one event a line, and TensorBoard where it is asked for.

Events: {"event": "step", ...} every few steps and {"event": "epoch", ...}, both with "epoch", "step" (optimizer steps
done), "loss", the method's own parts, "lr", "eps" and "seconds"; those of epochs also with the seconds
of each stage of their steps ("search_seconds" and so on); "collapse" and "end" when they happen.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError, MissingExtra
from holdfast.files import sync_folder, write_atomically


class Log:
    """Appends events to a file, each at once.

    Opening a log of a run that goes on drops what was written after the checkpoint, so that each step stands in it
    once. The line "end" goes too: the run that goes on will end again.

    Args:
        path: of metrics.jsonl.
        step: of the checkpoint from which the run goes on, 0 for a new run.
        tensorboard: folder for TensorBoard's files, or None.

    Raises:
        HoldfastError: the disk refuses.
        MissingExtra: TensorBoard is asked for and tensorboardX is not installed.
    """

    def __init__(self, path: Path, step: int, tensorboard: Path | None = None) -> None:
        self._path = path
        self._writer = _writer(tensorboard, step) if tensorboard else None
        if path.exists():
            kept = [line for event, line in read_events(path) if event["step"] <= step and event["event"] != "end"]
            write_atomically(path, b"".join(kept))
        try:
            self._file = path.open("ab", buffering=0)
            sync_folder(path.parent)
        except OSError as error:
            raise _refused(path, error) from error

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Append one event; numbers of "epoch" and "step" events go to TensorBoard too."""
        line = json.dumps({"event": event, **values}) + "\n"
        try:
            self._file.write(line.encode())
        except OSError as error:
            raise _refused(self._path, error) from error
        if self._writer and event in ("epoch", "step"):
            for name, value in values.items():
                if name not in ("epoch", "step"):
                    self._writer.add_scalar(f"{event}/{name}", value, values["step"])

    def flush(self) -> None:
        """Bring everything to the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _refused(self._path, error) from error
        if self._writer:
            self._writer.flush()

    def close(self) -> None:
        """Let go of the files."""
        self._file.close()
        if self._writer:
            self._writer.close()


def read_events(path: Path) -> list[tuple[dict[str, Any], bytes]]:
    """The events of a log with their lines; what a kill cut short, and what is no event, is left out."""
    found = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event and "step" in event and line.endswith(b"\n"):
            found.append((event, line))
    return found


def _refused(path: Path, error: OSError) -> HoldfastError:
    return HoldfastError(f"cannot write {path}: {error.strerror or error}; make room and resume the run")


def _writer(folder: Path, step: int) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MissingExtra("TensorBoard's log needs tensorboardX: pip install 'holdfast[tensorboard]'") from error
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
