"""Verdicts as a Parquet table in long format: one row per example and attack, as pandas likes it.

Columns: example, label, prediction, attack, outcome, adversarial_prediction, distance, steps. The order of the
attacks is in the file's metadata, so that a table sorted or filtered by other tools is recognised as changed.
"""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.errors import CheckpointError, InvalidInput
from holdfast.results.verdicts import Verdicts

SCHEMA = "holdfast.verdicts/1"
COLUMNS = (
    "example",
    "label",
    "prediction",
    "attack",
    "outcome",
    "adversarial_prediction",
    "distance",
    "steps",
)


def to_parquet(verdicts: Verdicts) -> bytes:
    """The bytes of the Parquet file of `verdicts`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    examples, attacks = len(verdicts), len(verdicts.attacks)
    columns: dict[str, Any] = {
        "example": np.repeat(verdicts.example, attacks),
        "label": np.repeat(verdicts.label, attacks),
        "prediction": np.repeat(verdicts.prediction, attacks),
        "attack": pa.array(list(verdicts.attacks) * examples, type=pa.string()),
        "outcome": pa.array(verdicts.outcome.ravel().tolist(), type=pa.string()),
        "adversarial_prediction": verdicts.adversarial_prediction.ravel(),
        "distance": verdicts.distance.ravel(),
        "steps": verdicts.steps.ravel(),
    }
    record = json.dumps({"schema": SCHEMA, "attacks": verdicts.attacks})
    table = pa.table({name: columns[name] for name in COLUMNS}).replace_schema_metadata({"holdfast": record})
    file = BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def read_parquet(path: Path) -> Verdicts:
    """Read the file at `path`. Raises CheckpointError when it is missing, truncated, foreign or altered."""
    try:
        return from_parquet(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot read the verdicts {path}: {error.strerror or error}") from error
    except (CheckpointError, InvalidInput) as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error


def from_parquet(content: bytes) -> Verdicts:
    """Read what `to_parquet` gave. Raises CheckpointError or InvalidInput."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(BytesIO(content))
        attacks = _attacks((table.schema.metadata or {}).get(b"holdfast", b"{}"))
    except (pa.ArrowException, OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"it is truncated or no table of verdicts ({error})") from error
    if tuple(table.column_names) != COLUMNS:
        raise CheckpointError(f"its columns are {table.column_names}, expected {list(COLUMNS)}")
    if table.column("attack").to_pylist() != list(attacks) * (len(table) // len(attacks)):
        raise CheckpointError("its rows are not one per example and attack in the order written: it was altered")
    shape = (len(table) // len(attacks), len(attacks))
    columns = {name: table.column(name).to_numpy() for name in COLUMNS if name != "attack"}
    wide = {name: column.reshape(shape) for name, column in columns.items()}
    per_example = {name: wide.pop(name) for name in ("example", "label", "prediction")}
    if any((column != column[:, :1]).any() for column in per_example.values()):
        raise CheckpointError("an example has two labels or predictions: it was altered")
    return Verdicts(attacks, **{name: column[:, 0] for name, column in per_example.items()}, **wide)


def _attacks(metadata: bytes) -> tuple[str, ...]:
    record = json.loads(metadata)
    if record.get("schema") != SCHEMA:
        raise CheckpointError(f"its schema is {record.get('schema', 'not of Holdfast')}, this version reads {SCHEMA}")
    return tuple(record["attacks"])
