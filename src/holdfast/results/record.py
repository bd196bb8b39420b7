"""The JSON records in which results lie on disk: each names its schema and the version of its format."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import CheckpointError
from holdfast.files import write_atomically


@dataclass(frozen=True)
class Format:
    """One kind of record.

    Args:
        schema: its name in the file.
        version: of the format, raised with every change that older code cannot read.
        what: what a person calls it ("evaluation", "diagnostics").
        again: how a person makes it anew ("evaluate again").
    """

    schema: str
    version: int
    what: str
    again: str

    def write(self, path: Path, fields: dict[str, Any], indent: int | None = None) -> None:
        """Write a record, whole or not at all."""
        record = {"schema": self.schema, "version": self.version, **fields}
        text = json.dumps(record, indent=indent, ensure_ascii=False, allow_nan=False)
        write_atomically(path, text.encode() + b"\n")

    def read(self, path: Path) -> dict[str, Any]:
        """Read a record. Raises CheckpointError for a missing, truncated, foreign or differently versioned file."""
        try:
            record = json.loads(path.read_bytes())
        except OSError as error:
            raise CheckpointError(f"there is no {self.what} at {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise CheckpointError(f"{path} is truncated or no JSON ({error}); {self.again}") from error
        if not isinstance(record, dict) or record.get("schema") != self.schema:
            raise CheckpointError(f"{path} is no {self.what} of Holdfast's")
        if record.get("version") != self.version:
            raise CheckpointError(
                f"{path} has version {record.get('version')} of the format, this Holdfast reads {self.version}: "
                f"use the Holdfast that wrote it, or {self.again}"
            )
        return record
