"""Diagnostics as diagnostics.json: columns are lists, nan is null."""

from dataclasses import fields, is_dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.errors import CheckpointError, InvalidInput
from holdfast.results.diagnostics import Alignment, Compactness, Diagnostics, Divergence, Linearity, Surface
from holdfast.results.evaluation import Data, Threat
from holdfast.results.record import Format
from holdfast.results.shifts import Shift, Shifts

NAME = "diagnostics.json"
FORMAT = Format("holdfast.diagnostics", version=1, what="diagnosis", again="run the diagnostics again")
COLUMNS: dict[str, Any] = {
    "linearity": Linearity,
    "surface": Surface,
    "alignment": Alignment,
    "divergence": Divergence,
    "compactness": Compactness,
}
SHIFTS = ("invariance", "corruptions")
DERIVED = {
    "linearity": ("mean", "p95"),
    "alignment": ("mean_uniform", "mean_adversarial", "vanished"),
    "compactness": ("ratio",),
    "invariance": ("mean",),
    "corruptions": ("mean",),
}


def save(diagnostics: Diagnostics, folder: Path) -> None:
    """Write diagnostics.json; see `Diagnostics.save`."""
    FORMAT.write(folder / NAME, _plain(diagnostics))


def load(folder: Path) -> Diagnostics:
    """Read diagnostics.json; see `Diagnostics.load`."""
    path = folder / NAME
    record = FORMAT.read(path)
    try:
        return Diagnostics(**{name: _part(name, record[name]) for name in (f.name for f in fields(Diagnostics))})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = "contradicts itself" if isinstance(error, InvalidInput) else "lacks or misstates a field"
        raise CheckpointError(f"{path} {told}: {error}") from error


def describe(diagnostics: Diagnostics) -> dict[str, Any]:
    """The record with all that is derived from the columns; see `Diagnostics.to_json`."""
    record: dict[str, Any] = _plain(diagnostics)
    for name, properties in DERIVED.items():
        if (part := getattr(diagnostics, name)) is not None:
            record[name] |= {derived: _plain(getattr(part, derived)) for derived in properties}
    return record


def _plain(value: Any) -> Any:
    """Nested dictionaries, lists and numbers that JSON knows."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and isnan(value) else value


def _part(name: str, value: Any) -> Any:
    """A field of `Diagnostics`, made of its plain form."""
    if value is None:
        return None
    if name in COLUMNS:
        return COLUMNS[name](**value)
    if name in SHIFTS:
        return Shifts(**{**value, "shifts": tuple(Shift(**shift) for shift in value["shifts"])})
    if name == "data":
        return Data(**{**value, "classes": tuple(value["classes"])})
    return Threat(**value) if name == "threat" else value
