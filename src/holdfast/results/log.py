"""VerdictLog: verdicts written down as they come, so that a killed evaluation goes on where it was."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from holdfast.errors import CheckpointError, HoldfastError, InvalidInput
from holdfast.files import sync_folder
from holdfast.results.verdicts import Outcome, Verdicts

SCHEMA = "holdfast.verdict_log/1"
Verdict = tuple[int, float, int]  # adversarial prediction (-1: none), distance (nan: none), steps


class VerdictLog:
    """An append-only file of verdicts: a header with the evaluation's identity, then one JSON line per verdict.

    Opening an existing file reads it back; a last line that a kill cut short is dropped. `identity` is whatever
    makes two evaluations the same (weights, data, threat, attacks' parameters, seed): a file with another
    one is refused, so that results are never mixed. `attacks` are the names in the order of the protocol.

    Raises CheckpointError for a foreign file, another identity or a damaged line; HoldfastError when the disk is full.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], attacks: Sequence[str]) -> None:
        self.path = Path(path)
        self.attacks = tuple(attacks)
        self.predictions: dict[int, tuple[int, int]] = {}  # example -> (label, clean prediction)
        self.attacked: dict[str, dict[int, Verdict]] = {attack: {} for attack in self.attacks}
        self.margins: dict[int, float] = {}  # example -> the least that the model had under any attack
        header = {"schema": SCHEMA, "identity": dict(identity), "attacks": list(self.attacks)}
        self._header = (json.dumps(header, sort_keys=True) + "\n").encode()
        whole = self._read()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
            self._file.truncate(whole)
            self._size = whole
        except OSError as error:
            raise HoldfastError(f"cannot write {self.path}: {error.strerror or error}") from error
        if not whole:
            self._write(self._header)
            sync_folder(self.path.parent)

    def _read(self) -> int:
        """Fill the log from the file, if there is one; return the length of its whole lines in bytes."""
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content.rfind(b"\n") + 1
        if not whole:
            if not self._header.startswith(content):
                raise CheckpointError(f"{self.path} is not a log of verdicts; choose another folder")
            return 0
        lines = content[:whole].splitlines()
        self._check_header(lines[0])
        for number, line in enumerate(lines[1:], start=2):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(f"line {number} of {self.path} is damaged ({error}); remove the file") from error
        return whole

    def _check_header(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            schema, theirs = found["schema"], {**found["identity"], "attacks": found["attacks"]}
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.path} is not a log of verdicts; choose another folder") from error
        if schema != SCHEMA:
            raise CheckpointError(f"{self.path} has the format {schema}, this Holdfast reads {SCHEMA}")
        header = json.loads(self._header)
        ours = {**header["identity"], "attacks": header["attacks"]}
        changed = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        if changed:
            told = "; ".join(f"{key} was {theirs.get(key)!r}, is {ours.get(key)!r}" for key in changed)
            raise CheckpointError(
                f"{self.path} belongs to another evaluation ({told}): choose another folder, or empty "
                f"{self.path.parent}, whose other files are of that one too"
            )

    def _take(self, line: dict[str, Any]) -> None:
        example = int(line["example"])
        if "attack" not in line:
            self._add_clean(example, int(line["label"]), int(line["prediction"]))
        else:
            found = int(line.get("adversarial_prediction", -1))
            verdict = (found, float(line.get("distance", "nan")), int(line["steps"]))
            self._add(line["attack"], example, verdict, float(line.get("margin", "inf")))

    def _add_clean(self, example: int, label: int, prediction: int) -> None:
        if example in self.predictions:
            raise InvalidInput(f"the clean prediction of example {example} is already in the log")
        self.predictions[example] = (label, prediction)

    def _add(self, attack: str, example: int, verdict: Verdict, margin: float) -> None:
        if attack not in self.attacked:
            raise InvalidInput(f"attack {attack!r} is not among {', '.join(self.attacks)}")
        if example not in self.predictions:
            raise InvalidInput(f"example {example} has a verdict of {attack} but no clean prediction")
        if example in self.attacked[attack]:
            raise InvalidInput(f"the verdict of {attack} on example {example} is already in the log")
        self.attacked[attack][example] = verdict
        self.margins[example] = min(margin, self.margins.get(example, math.inf))

    def record_clean(self, example: ArrayLike, label: ArrayLike, prediction: ArrayLike) -> None:
        """Append clean predictions: int [B] each. On return they are on the disk."""
        lines = []
        for e, y, p in zip(_ints(example), _ints(label), _ints(prediction), strict=True):
            self._add_clean(e, y, p)
            lines.append({"example": e, "label": y, "prediction": p})
        self._append(lines)

    def record(
        self,
        attack: str,
        example: ArrayLike,
        adversarial_prediction: ArrayLike,
        distance: ArrayLike,
        steps: ArrayLike,
        margin: ArrayLike | None = None,
    ) -> None:
        """Append verdicts of one attack, [B] each; adversarial_prediction is -1 for an example that survived.

        The distance of a survivor is ignored. `margin` is the least that the model was seen to have at a candidate
        that is no adversary, inf where none was shown to it. On return the verdicts are on the disk.
        """
        lines = []
        count = len(_ints(example))
        distances, margins = _floats(distance), [math.inf] * count if margin is None else _floats(margin)
        columns = zip(_ints(example), _ints(adversarial_prediction), distances, _ints(steps), margins, strict=True)
        for e, found, d, s, m in columns:
            self._add(attack, e, (found, d, s) if found >= 0 else (-1, math.nan, s), m)
            line = {"example": e, "attack": attack, "steps": s}
            if math.isfinite(m):
                line["margin"] = m
            lines.append({**line, "adversarial_prediction": found, "distance": d} if found >= 0 else line)
        self._append(lines)

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        if lines:
            self._write("".join(json.dumps(line) + "\n" for line in lines).encode())

    def _write(self, content: bytes) -> None:
        try:
            rest = content
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
            self._size += len(content)
        except OSError as error:
            self._file.truncate(self._size)  # half a line here would spoil the next one
            raise HoldfastError(
                f"cannot write {self.path}: {error.strerror or error}; make room and run the same command again: "
                "it goes on from the verdicts already written"
            ) from error

    def broken(self, example: int, before: str | None = None) -> bool:
        """Whether some attack (some attack that precedes `before`) has broken the example."""
        attacks = self.attacks[: self.attacks.index(before)] if before is not None else self.attacks
        return any(self.attacked[attack].get(example, (-1,))[0] >= 0 for attack in attacks)

    def waiting(self, attack: str) -> list[int]:
        """Examples that `attack` has yet to try: clean ones, not broken by an attack before it, without verdict."""
        return [
            example
            for example, (label, prediction) in self.predictions.items()
            if label == prediction and example not in self.attacked[attack] and not self.broken(example, attack)
        ]

    def verdicts(self) -> Verdicts:
        """The finished table, ordered by example. Raises InvalidInput while some example waits for an attack."""
        for attack in self.attacks:
            waiting = self.waiting(attack)
            if waiting:
                raise InvalidInput(f"{len(waiting)} examples still wait for {attack}, example {waiting[0]} first")
        examples = sorted(self.predictions)
        rows = [[self._cell(example, attack) for attack in self.attacks] for example in examples]
        shape = (len(examples), len(self.attacks))
        clean = np.array([self.predictions[e] for e in examples], dtype=np.int64).reshape(-1, 2)
        cells = [cell for row in rows for cell in row]
        outcome, found, distance, steps = zip(*cells, strict=True) if cells else ((), (), (), ())
        return Verdicts(
            self.attacks,
            np.array(examples, dtype=np.int64),
            clean[:, 0],
            clean[:, 1],
            np.array(outcome, dtype=np.str_).reshape(shape),
            np.array(found, dtype=np.int64).reshape(shape),
            np.array(distance, dtype=np.float64).reshape(shape),
            np.array(steps, dtype=np.int64).reshape(shape),
        )

    def _cell(self, example: int, attack: str) -> tuple[Outcome, int, float, int]:
        label, prediction = self.predictions[example]
        if label != prediction:
            return (Outcome.MISCLASSIFIED, -1, float("nan"), 0)
        if example not in self.attacked[attack]:
            return (Outcome.SPARED, -1, float("nan"), 0)
        verdict = self.attacked[attack][example]
        return (Outcome.BROKEN if verdict[0] >= 0 else Outcome.SURVIVED, *verdict)

    def close(self) -> None:
        """Close the file; what was recorded stays."""
        self._file.close()

    def __enter__(self) -> "VerdictLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _floats(values: ArrayLike) -> list[float]:
    return [float(value) for value in np.asarray(values, dtype=np.float64).tolist()]


def _ints(values: ArrayLike) -> list[int]:
    return [int(value) for value in np.asarray(values, dtype=np.int64).tolist()]
