"""recipe.json: what a run was made of, written before its first step."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from holdfast.data import FileSet, ImageSet
from holdfast.errors import CheckpointError, InvalidInput
from holdfast.files import write_atomically
from holdfast.provenance import versions
from holdfast.recipe import Recipe, codec
from holdfast.speed import Trial
from holdfast.training.learner import Learner

SCHEMA = "holdfast.run/1"
NAME = "recipe.json"
SOURCES = "source"  # copies of the user's own Python files

Json = dict[str, Any]


def make(
    recipe: Recipe,
    training: ImageSet | FileSet,
    held_out: ImageSet | FileSet,
    learner: Learner,
    device: torch.device,
    world: int,
) -> Json:
    """The record of a run.

    Raises:
        InvalidInput: the recipe holds something that cannot be written down.
    """
    return {
        "schema": SCHEMA,
        "recipe": codec.encode(recipe),
        "data": {
            "name": recipe.data.name,
            "training": {"count": len(training), "sha256": training.fingerprint},
            "held_out": {"count": len(held_out), "sha256": held_out.fingerprint},
            "classes": list(training.classes),
            "shape": list(training.shape),
        },
        "source": {file.name: _digest(file.read_bytes()) for file in codec.user_files(recipe)},
        "parameters": learner.parameters,
        "trial": codec.encode(learner.trial),
        "processes": world,
        "versions": versions(str(device)),
    }


def write(folder: Path, recipe: Recipe, record: Json) -> None:
    """Write the record, and copies of the user's own files, into a run's folder."""
    for file in codec.user_files(recipe):
        write_atomically(folder / SOURCES / file.name, file.read_bytes())
    write_atomically(folder / NAME, (json.dumps(record, indent=2) + "\n").encode())


def read(folder: Path) -> Json:
    """The record of the run in `folder`.

    Raises:
        CheckpointError: there is none, or it is something else.
    """
    path = folder / NAME
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"{folder} holds no run: {path} cannot be read ({error.strerror or error}); give the folder that was --out "
            "of a training"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}); without it the run cannot be rebuilt") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise CheckpointError(f"{path} is no record of a run of this version of Holdfast")
    return record


def settled(folder: Path) -> Trial | None:
    """How the passes of the run in `folder` are computed; None where no run was begun."""
    if not (folder / NAME).exists():
        return None
    found: Trial = codec.decode(read(folder)["trial"])
    return found


def identity(record: Json) -> str:
    """A hash of what decides a run's numbers: recipe, data and the user's code; not where it ran."""
    recipe = {name: value for name, value in record["recipe"].items() if name != "sources"}
    return _digest(json.dumps([recipe, record["data"], record["source"]], sort_keys=True).encode())


def check_same(folder: Path, old: Json, new: Json) -> None:
    """Refuse to go on with a run under another recipe, other data or other code.

    Raises:
        InvalidInput: the message holds every difference.
    """
    changed = codec.differences(old["recipe"], new["recipe"])
    changed += [f"{name} of the data" for name in new["data"] if old["data"].get(name) != new["data"][name]]
    changed += [f"the file {name}" for name in new["source"] if old["source"].get(name) != new["source"][name]]
    if changed:
        raise InvalidInput(
            f"the run in {folder} cannot go on, because it was begun otherwise ({'; '.join(changed)}); resume it with "
            "what it was begun with, or start a new run in another folder"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
