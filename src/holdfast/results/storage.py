"""An evaluation's folder: evaluation.json, verdicts.parquet and gallery.npz.

evaluation.json is written last and holds the checksums of the other two, so that files of two evaluations never
pass for one, whenever the writing was interrupted.
"""

from dataclasses import asdict
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from holdfast.errors import CheckpointError, InvalidInput
from holdfast.files import write_atomically
from holdfast.results.evaluation import Curve, Data, Evaluation, Finding, Gallery, Passes, Protocol, Threat
from holdfast.results.rates import Rate
from holdfast.results.record import Format
from holdfast.results.table import from_parquet, to_parquet

FORMAT = Format("holdfast.evaluation", version=1, what="evaluation", again="evaluate again")
PLAIN = ("model", "run", "attacks", "seed", "checks", "seconds", "versions", "command")


def save(evaluation: Evaluation, folder: Path) -> None:
    """Write the folder of `evaluation`; see `Evaluation.save`."""
    parts = {"verdicts.parquet": to_parquet(evaluation.verdicts)}
    if evaluation.gallery is not None:
        parts["gallery.npz"] = _pack_gallery(evaluation.gallery)
    for name, content in parts.items():
        write_atomically(folder / name, content)
    checksums = {name: sha256(content).hexdigest() for name, content in parts.items()}
    FORMAT.write(folder / "evaluation.json", {**_record(evaluation), "files": checksums}, indent=2)
    if evaluation.gallery is None:
        (folder / "gallery.npz").unlink(missing_ok=True)


def load(folder: Path) -> Evaluation:
    """Read the folder; see `Evaluation.load`."""
    record = FORMAT.read(folder / "evaluation.json")
    try:
        parts = {name: _read_part(folder / name, checksum) for name, checksum in record["files"].items()}
        return Evaluation(
            **{name: record[name] for name in PLAIN},
            data=Data(**{**record["data"], "classes": tuple(record["data"]["classes"])}),
            threat=Threat(**record["threat"]),
            protocol=Protocol(**record["protocol"]),
            verdicts=from_parquet(parts["verdicts.parquet"]),
            curves=tuple(Curve(**curve) for curve in record["curves"]),
            findings=tuple(Finding(**finding) for finding in record["findings"]),
            gallery=_unpack_gallery(parts["gallery.npz"]) if "gallery.npz" in parts else None,
            passes={name: Passes(**passes) for name, passes in record["passes"].items()},
            precision=record.get("precision", "float32"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'evaluation.json'} lacks or misstates a field: {error}") from error
    except InvalidInput as error:
        raise CheckpointError(f"the evaluation in {folder} contradicts itself: {error}") from error


def describe(evaluation: Evaluation) -> dict[str, Any]:
    """The record with all that is derived from the verdicts; see `Evaluation.to_json`."""
    verdicts = evaluation.verdicts
    per_class = verdicts.per_class(len(evaluation.data.classes))
    return {
        **_record(evaluation),
        "n": len(verdicts),
        "clean_accuracy": _rate(verdicts.clean),
        "robust_accuracy": _rate(verdicts.worst_case),
        "per_attack": {
            attack: {"cumulated": _rate(after), "alone": _rate(verdicts.alone(attack))}
            for attack, after in zip(verdicts.attacks, verdicts.cumulated(), strict=True)
        },
        "per_class": {
            name: {"clean": _rate(clean), "robust": _rate(robust)}
            for name, (clean, robust) in zip(evaluation.data.classes, per_class, strict=True)
        },
        "confusion": verdicts.confusion(len(evaluation.data.classes)).tolist(),
    }


def _record(evaluation: Evaluation) -> dict[str, Any]:
    return {
        **{name: getattr(evaluation, name) for name in PLAIN},
        "data": asdict(evaluation.data),
        "threat": asdict(evaluation.threat),
        "protocol": asdict(evaluation.protocol),
        "curves": [asdict(curve) for curve in evaluation.curves],
        "findings": [asdict(finding) for finding in evaluation.findings],
        "passes": {name: asdict(passes) for name, passes in evaluation.passes.items()},
        "precision": evaluation.precision,
    }


def _rate(rate: Rate | None) -> dict[str, Any] | None:
    if rate is None or rate.n == 0:
        return None
    low, high = rate.interval()
    return {"value": rate.value, "low": low, "high": high, "count": rate.count, "n": rate.n}


def _read_part(path: Path, checksum: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"the evaluation lacks {path}: {error.strerror or error}") from error
    if sha256(content).hexdigest() != checksum:
        raise CheckpointError(
            f"{path} is not the file that evaluation.json was written with (truncated, altered, or left by an "
            "interrupted evaluation): evaluate again"
        )
    return content


def _pack_gallery(gallery: Gallery) -> bytes:
    file = BytesIO()
    np.savez_compressed(
        file, example=gallery.example, x=gallery.x, x_adv=gallery.x_adv, attack=np.array(gallery.attack, dtype=np.str_)
    )
    return file.getvalue()


def _unpack_gallery(content: bytes) -> Gallery:
    try:
        with np.load(BytesIO(content), allow_pickle=False) as file:
            return Gallery(file["example"], file["x"], file["x_adv"], tuple(file["attack"].tolist()))
    except (BadZipFile, ValueError) as error:
        raise CheckpointError(f"gallery.npz cannot be read: {error}") from error
