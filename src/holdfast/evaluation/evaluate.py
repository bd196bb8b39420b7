"""Measure a model: a cascade of attacks over the survivors, verdict by verdict."""

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast import modes, results
from holdfast.data import Split
from holdfast.data.imageset import counted
from holdfast.errors import InvalidInput
from holdfast.evaluation import findings, preflight
from holdfast.evaluation.batches import fitting, room, rows_of
from holdfast.evaluation.cascade import Cascade
from holdfast.evaluation.curves import draw, probe
from holdfast.evaluation.examples import Clean, Counted, Examples, Subject, look
from holdfast.evaluation.identity import identity
from holdfast.evaluation.keepsakes import GalleryStore
from holdfast.evaluation.precision import EvaluationPrecision, settle
from holdfast.evaluation.precision import check as check_precision
from holdfast.evaluation.protocols import Protocol
from holdfast.evaluation.shards import Shards
from holdfast.models import is_blind
from holdfast.processes import Processes, meeting, processes
from holdfast.provenance import versions
from holdfast.results import Evaluation, VerdictLog
from holdfast.rounding import float32
from holdfast.speed import PLAIN, Passes, StandIn
from holdfast.threat import ThreatModel

CURVE_EXAMPLES = 200
FLOAT32 = "IEEE 754, not TF32"  # recorded where it could be otherwise
LOOKED_AT = 64  # examples of the first checks


def evaluate(
    model: nn.Module,
    images: Split,
    threat: ThreatModel,
    protocol: Protocol,
    *,
    name: str = "model",
    run: str | None = None,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    precision: EvaluationPrecision = "auto",
    folder: Path | None = None,
    with_curves: bool = True,
    gallery: int = 60,
    recorded_clean: float | None = None,
    progress: bool = True,
    command: str = "",
) -> Evaluation:
    """Attack the first `n` examples of a split and return every verdict.

    The model is put in eval mode, and given back in the modes it came in; it stays on `device`. With `folder`, verdicts
    are appended there as they fall: a killed evaluation that is called again goes on, and ends with the same verdicts
    as one that was never killed. A verdict depends on its example alone, up to the rounding by which a device's kernels
    treat batches of different sizes differently; that is coarser in bfloat16, and may then move an example at the edge
    of its ball.

    Args:
        model: inputs in the threat model's box to logits [B, K].
        images: the split, in memory or in files, which are then decoded whenever a search begins; name, run, split and
            command only describe it in the result.
        threat: what the adversary may do.
        protocol: the attacks.
        n: examples, all by default.
        seed: of the attacks' random numbers.
        batch_size: rows in a batch; verdicts do not depend on it, speed and memory do. By default as many as hold
            `NUMBERS` input numbers, more on a large CUDA device, see `evaluation.batches`: 1,024 images of MNIST, 256
            to 1,024 of CIFAR. Halved where a CUDA device's memory does not suffice.
        device: where to compute; the model's own device by default, or that of the processes that work together.
        precision: of the searches' passes. A copy of the model answers them the way that a short trial finds the
            fastest: "float32" lets it round as another machine would, "bfloat16" more coarsely, and "auto" takes the
            faster of them. The model itself judges every candidate and is attacked again where the copy's answer is in
            doubt, see `evaluation.precision`; it answers everything where the evaluation is short or a check of the
            model raises an alarm.
        folder: where to keep log and result; without, nothing is written. Processes that torchrun started share the
            examples and meet there; each returns the whole result.
        with_curves: also measure robust accuracy against eps and against steps, on at most 200 examples; by FMN and
            PGD, so not of a black box, and not where eps is 0.
        gallery: examples whose images the result keeps.
        recorded_clean: clean accuracy that the model's training recorded, to compare with.
        progress: show a line with the bound on robust accuracy and the time left.

    Raises:
        InvalidInput: unusable model, data or arguments; or a black box under attacks that need gradients.
        ThreatModelViolation: an attack handed over an input that is not allowed.
        CheckpointError: `folder` holds an evaluation of something else.
    """
    count = counted(n, len(images), images.name)
    if batch_size is not None and batch_size < 1:
        raise InvalidInput(f"batch_size is {batch_size}, but a batch holds at least one example; try 256")
    group = processes(meeting(_device_of(model)) if device is None else device)
    if group.world > 1 and folder is None:
        raise InvalidInput(f"{group.world} processes need a folder to meet in; give one")
    check_precision(precision)
    preflight.check_protocol(model, protocol)
    was_training, with_curves = model.training, with_curves and not is_blind(model) and threat.eps > 0.0
    model = model.to(group.device)
    keeping = tempfile.TemporaryDirectory() if folder is None else nullcontext(str(folder))
    with modes.inference(model), float32(group.device), keeping as kept:
        place, rows = Path(kept), rows_of(images.shape, room(group.device)) if batch_size is None else batch_size
        examples, shown = Examples(images, group.device), GalleryStore(place / "gallery", range(min(gallery, count)))
        ready = _prepare(model, examples, threat, protocol, place, group, count, rows, seed, precision, was_training)
        _attack(ready, model, shown, group, with_curves, progress and group.first)
        group.wait()
        if group.first:
            told = {
                "model": name,
                "run": run,
                "data": results.Data(images.name, split, len(images), images.fingerprint, images.classes),
                "seed": seed,
                "gallery": shown.gallery(examples) if gallery else None,
                "versions": versions(str(group.device)) | ({"float32": FLOAT32} if group.device.type == "cuda" else {}),
                "command": command,
                "precision": str(ready.passes or PLAIN),
            }
            evaluation = _conclude(told, ready, with_curves, recorded_clean)
            if folder is not None:
                evaluation.save(folder)
    group.wait()
    return evaluation if folder is None or group.first else Evaluation.load(folder)


@dataclass(frozen=True)
class _Ready:
    """What is known when the attacks begin.

    Attributes:
        clean: what the model says of the examples as they are.
        found: what the checks before the attacks have found.
        passes: of the searches; None where they ask the model itself.
        shards: the files of this evaluation.
    """

    subject: Subject
    threat: ThreatModel
    protocol: Protocol
    clean: Clean
    found: Sequence[results.Finding]
    passes: Passes | None
    shards: Shards


def _prepare(
    model: nn.Module,
    examples: Examples,
    threat: ThreatModel,
    protocol: Protocol,
    place: Path,
    group: Processes,
    count: int,
    rows: int,
    seed: int,
    precision: EvaluationPrecision,
    was_training: bool,
) -> _Ready:
    """Look at the clean inputs, check the model on them, choose the searches' passes, and find the evaluation's files.

    Args:
        place: folder of the evaluation.
        count, rows: examples in all, and in a batch.
        was_training: the model came in train mode.
    """
    counted, images = Counted(model), examples.images
    targets = max(attack.targets for attack in protocol.attacks)
    rows, clean = fitting(rows, lambda rows: look(counted, examples, range(count), rows, targets))
    subject = Subject(counted, examples, clean.ranking, seed, rows)
    looked_at = examples.rows(range(min(count, LOOKED_AT)))
    found = preflight.preflight(counted, model, threat, *looked_at, was_training)
    # A model that hides something from itself may hide more from a copy.
    doubted = is_blind(model) or any(one.severity == results.Severity.ALARM for one in found)
    batch = examples.rows([row % len(images) for row in range(rows)])
    passes = settle(place, precision, model, protocol.attacks, count, batch, doubted, group)
    whole = identity(model, images, threat, protocol, seed, count, passes or PLAIN)
    shards = Shards(place, group.world, whole, [attack.name for attack in protocol.attacks])
    shards.check()
    return _Ready(subject, threat, protocol, clean, found, passes, shards)


def _attack(
    ready: _Ready, model: nn.Module, shown: GalleryStore, group: Processes, with_curves: bool, progress: bool
) -> None:
    """Let all attacks, and those behind the curves, try this process's share of the examples."""
    subject, threat, shards, count = ready.subject, ready.threat, ready.shards, len(ready.clean.prediction)
    quick = None if ready.passes is None else StandIn(model, ready.passes)
    with shards.log(group.rank) as log:
        _record_clean(log, subject.examples.images, ready.clean, range(group.rank, count, group.world))
        cascade = Cascade(subject, threat, ready.clean, quick, log, shards.costs(group.rank), shown, progress)
        for attack in ready.protocol.attacks:
            cascade.run(attack)
        if with_curves:
            right = [i for i, (y, predicted) in log.predictions.items() if i < CURVE_EXAMPLES and predicted == y]
            path, rows = shards.curves()[group.rank], cascade.subject.batch_size
            fitting(rows, lambda rows: probe(path, threat, replace(subject, batch_size=rows), right))


def _device_of(model: nn.Module) -> torch.device:
    tensor = next(model.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device


def _record_clean(log: VerdictLog, images: Split, clean: Clean, own: Sequence[int]) -> None:
    new = [example for example in own if example not in log.predictions]
    log.record_clean(new, images.labels[new].cpu().numpy(), clean.prediction[new].numpy())


def _conclude(told: dict[str, Any], ready: _Ready, with_curves: bool, recorded_clean: float | None) -> Evaluation:
    """Join the verdicts of all processes, draw the curves, and look at what was found.

    Args:
        told: the fields that only describe the evaluation.
    """
    shards, threat, attacks = ready.shards, ready.threat, ready.protocol.attacks
    verdicts, classes = shards.verdicts(), len(ready.subject.examples.images.classes)
    drawn = draw(shards.curves(), threat, verdicts, min(len(verdicts), CURVE_EXAMPLES)) if with_curves else None
    seconds, passes = shards.total()
    return Evaluation(
        threat=results.Threat(threat.norm, threat.eps, threat.eps_text, threat.low, threat.high),
        protocol=results.Protocol(ready.protocol.name, ready.protocol.version),
        attacks={attack.name: repr(attack) for attack in attacks},
        verdicts=verdicts,
        curves=drawn.all if drawn else (),
        findings=(*ready.found, *findings.after(verdicts, attacks, drawn, threat, classes, recorded_clean)),
        checks=preflight.CHECKS + findings.checks(attacks, drawn, threat, recorded_clean),
        seconds=seconds,
        passes=passes,
        **told,
    )
