"""Measure a model: a cascade of attacks over the survivors, verdict by verdict."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from holdfast import modes, results
from holdfast.attacks import Attack
from holdfast.data import ImageSet
from holdfast.errors import InvalidInput
from holdfast.evaluation import findings, preflight
from holdfast.evaluation.curves import draw
from holdfast.evaluation.examples import Clean, Counted, Examples, Subject, look
from holdfast.evaluation.identity import identity
from holdfast.evaluation.keepsakes import Costs, GalleryStore
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.evaluation.protocols import Protocol
from holdfast.evaluation.shards import Shards
from holdfast.models import is_blind
from holdfast.processes import processes
from holdfast.provenance import versions
from holdfast.results import Evaluation, VerdictLog, interval
from holdfast.threat import ThreatModel

CURVE_EXAMPLES = 200
LOOKED_AT = 64  # examples of the first checks


def evaluate(
    model: nn.Module,
    images: ImageSet,
    threat: ThreatModel,
    protocol: Protocol,
    *,
    name: str = "model",
    run: str | None = None,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    folder: Path | None = None,
    with_curves: bool = True,
    gallery: int = 60,
    recorded_clean: float | None = None,
    progress: bool = True,
    command: str = "",
) -> Evaluation:
    """Attack the first `n` examples of a split and return every verdict.

    The model is put in eval mode, and given back as it came. With `folder`, verdicts are appended there as they fall:
    a killed evaluation that is called again goes on, and ends with the same verdicts as one that was never killed.

    Args:
        model: inputs in the threat model's box to logits [B, K].
        images: the split; name, run, split and command only describe it in the result.
        threat: what the adversary may do.
        protocol: the attacks.
        n: examples, all by default.
        seed: of the attacks' random numbers.
        batch_size: rows in a batch; verdicts do not depend on it, speed and memory do.
        device: where to compute; the model's own device by default.
        folder: where to keep log and result; without, nothing is written. Processes that torchrun started share the
            examples and meet there; each returns the whole result.
        with_curves: also measure robust accuracy against eps and against steps, on at most 200 examples; by FMN and
            PGD, so not of a black box.
        gallery: examples whose images the result keeps.
        recorded_clean: clean accuracy that the model's training recorded, to compare with.
        progress: show a line with the bound on robust accuracy and the time left.

    Raises:
        InvalidInput: unusable model, data or arguments; or a black box under attacks that need gradients.
        ThreatModelViolation: an attack handed over an input that is not allowed.
        CheckpointError: `folder` holds an evaluation of something else.
    """
    count = len(images) if n is None else n
    if not 1 <= count <= len(images):
        raise InvalidInput(f"n is {n}, but {images.name} has {len(images)} examples; give 1 to {len(images)}")
    group = processes(_device_of(model) if device is None else device)
    if group.world > 1 and folder is None:
        raise InvalidInput(f"{group.world} processes need a folder to meet in; give one")
    preflight.check_protocol(model, protocol)
    was_training = model.training
    model = model.to(group.device)
    names = [attack.name for attack in protocol.attacks]
    keeping = tempfile.TemporaryDirectory() if folder is None else nullcontext(str(folder))
    with modes.inference(model), keeping as kept:
        shards = Shards(Path(kept), group.world, identity(model, images, threat, protocol, seed, count), names)
        shards.check()
        counted, examples = Counted(model), Examples(images, group.device)
        clean = look(counted, examples, range(count), batch_size, max(attack.targets for attack in protocol.attacks))
        looked_at = examples.rows(range(min(count, LOOKED_AT)))
        found = preflight.preflight(counted, model, threat, *looked_at, was_training)
        subject = Subject(counted, examples, clean.ranking, seed, batch_size)
        shown = GalleryStore(Path(kept) / "gallery", range(min(gallery, count)))
        with shards.log(group.rank) as log:
            _record_clean(log, images, clean, range(group.rank, count, group.world))
            for attack in protocol.attacks:
                _attack(attack, threat, subject, log, shards.costs(group.rank), shown, progress and group.first)
        group.wait()
        if group.first:
            told = {
                "model": name,
                "run": run,
                "data": results.Data(images.name, split, len(images), images.fingerprint, images.classes),
                "seed": seed,
                "gallery": shown.gallery(examples) if gallery else None,
                "versions": versions(str(group.device)),
                "command": command,
            }
            with_curves = with_curves and not is_blind(model)
            evaluation = _conclude(told, shards, subject, threat, protocol, found, with_curves, recorded_clean)
            if folder is not None:
                evaluation.save(folder)
    group.wait()
    return evaluation if folder is None or group.first else Evaluation.load(folder)


def _device_of(model: nn.Module) -> torch.device:
    tensor = next(model.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device


def _record_clean(log: VerdictLog, images: ImageSet, clean: Clean, own: Sequence[int]) -> None:
    new = [example for example in own if example not in log.predictions]
    log.record_clean(new, images.labels[new].numpy(), clean.prediction[new].numpy())


def _conclude(
    told: dict[str, Any],
    shards: Shards,
    subject: Subject,
    threat: ThreatModel,
    protocol: Protocol,
    found: Sequence[results.Finding],
    with_curves: bool,
    recorded_clean: float | None,
) -> Evaluation:
    """Join the verdicts of all processes, draw the curves, and look at what was found.

    Args:
        told: the fields that only describe the evaluation.
        found: what the checks before the attacks have found.
    """
    verdicts, attacks = shards.verdicts(), protocol.attacks
    drawn = draw(threat, subject, verdicts, min(len(verdicts), CURVE_EXAMPLES)) if with_curves else None
    classes = len(subject.examples.images.classes)
    seconds, passes = shards.total()
    return Evaluation(
        threat=results.Threat(threat.norm, threat.eps, threat.eps_text, threat.low, threat.high),
        protocol=results.Protocol(protocol.name, protocol.version),
        attacks={attack.name: repr(attack) for attack in attacks},
        verdicts=verdicts,
        curves=drawn.all if drawn else (),
        findings=(*found, *findings.after(verdicts, attacks, drawn, threat, classes, recorded_clean)),
        checks=preflight.CHECKS + findings.checks(attacks, drawn, threat, recorded_clean),
        seconds=seconds,
        passes=passes,
        **told,
    )


def _attack(
    attack: Attack[Any],
    threat: ThreatModel,
    subject: Subject,
    log: VerdictLog,
    costs: Costs,
    shown: GalleryStore,
    progress: bool,
) -> None:
    """Let one attack try the examples that still stand, and write its verdicts down as they fall."""
    waiting = log.waiting(attack.name)
    standing = sum(y == p and not log.broken(e) for e, (y, p) in log.predictions.items())
    model = subject.model
    before, since = (model.forward, model.backward), time.perf_counter()

    def note(decisions: Sequence[Decision]) -> None:
        nonlocal before, since, standing
        examples, found, distances, steps, _ = zip(*decisions, strict=True)
        shown.offer(attack.name, decisions)
        log.record(attack.name, examples, found, distances, steps)
        now = time.perf_counter()
        costs.add(attack.name, model.forward - before[0], model.backward - before[1], now - since)
        before, since = (model.forward, model.backward), now
        standing -= sum(prediction >= 0 for prediction in found)
        # The bar counts steps: those that a success has spared are taken off the whole.
        bar.total -= sum(search.most - spent for spent in steps)
        bar.set_postfix_str(f"{len(log.attacked[attack.name])} examples, {_bound(standing, len(log.predictions))}")

    bar = tqdm(desc=attack.name, disable=None if progress else True, unit="step", unit_scale=True)
    search = PackedSearch(attack, threat, subject, note, bar.update)
    bar.total = len(waiting) * search.most
    with bar:
        search.run(waiting)


def _bound(standing: int, count: int) -> str:
    """The robust accuracy that is still possible, which only falls from here."""
    low, high = interval(standing, count)
    return f"robust <= {standing / count:.1%} [{low:.1%}, {high:.1%}]"
