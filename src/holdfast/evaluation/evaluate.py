"""Measure a model: a cascade of attacks over the survivors, verdict by verdict."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
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
from holdfast.evaluation.precision import EvaluationPrecision, settle
from holdfast.evaluation.precision import check as check_precision
from holdfast.evaluation.protocols import Protocol
from holdfast.evaluation.shards import Shards
from holdfast.models import is_blind
from holdfast.processes import processes
from holdfast.provenance import versions
from holdfast.results import Evaluation, VerdictLog, interval
from holdfast.speed import StandIn
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
    precision: EvaluationPrecision = "float32",
    folder: Path | None = None,
    with_curves: bool = True,
    gallery: int = 60,
    recorded_clean: float | None = None,
    progress: bool = True,
    command: str = "",
) -> Evaluation:
    """Attack the first `n` examples of a split and return every verdict.

    The model is put in eval mode, and given back as it came. With `folder`, verdicts are appended there as they fall:
    a killed evaluation that is called again goes on, and ends with the same verdicts as one that was never killed. A
    verdict depends on its example alone, up to the rounding by which a device's kernels treat batches of different
    sizes differently; that is coarser in bfloat16, and may then move an example at the edge of its ball.

    Args:
        model: inputs in the threat model's box to logits [B, K].
        images: the split; name, run, split and command only describe it in the result.
        threat: what the adversary may do.
        protocol: the attacks.
        n: examples, all by default.
        seed: of the attacks' random numbers.
        batch_size: rows in a batch; verdicts do not depend on it, speed and memory do.
        device: where to compute; the model's own device by default.
        precision: of the searches' passes. "float32", the default, asks the model itself; how well the others agree
            with it, benchmarks/precision_autoattack.py measures. "bfloat16" asks cheaper passes of a copy, "auto" too
            where a short trial finds them faster, the evaluation is long enough to matter and no check
            raises an alarm. Candidates are judged on the model itself in any case, see `evaluation.precision`.
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
    check_precision(precision)
    preflight.check_protocol(model, protocol)
    was_training = model.training
    model = model.to(group.device)
    names = [attack.name for attack in protocol.attacks]
    keeping = tempfile.TemporaryDirectory() if folder is None else nullcontext(str(folder))
    with modes.inference(model), keeping as kept:
        counted, examples = Counted(model), Examples(images, group.device)
        clean = look(counted, examples, range(count), batch_size, max(attack.targets for attack in protocol.attacks))
        looked_at = examples.rows(range(min(count, LOOKED_AT)))
        found = preflight.preflight(counted, model, threat, *looked_at, was_training)
        doubted = any(finding.severity == results.Severity.ALARM for finding in found)
        batch = examples.rows([row % len(images) for row in range(batch_size)])
        passes = settle(Path(kept), precision, model, protocol.attacks, count, batch, doubted, group)
        whole = identity(model, images, threat, protocol, seed, count, passes)
        shards = Shards(Path(kept), group.world, whole, names)
        shards.check()
        cheap = None if passes.plain else Counted(StandIn(model, passes))
        subject = Subject(counted, examples, clean.ranking, seed, batch_size, cheap=cheap)
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
                "precision": str(passes),
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
    # The curves are the model's own.
    drawn = (
        draw(threat, replace(subject, cheap=None), verdicts, min(len(verdicts), CURVE_EXAMPLES))
        if with_curves
        else None
    )
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
    asked = [model for model in (subject.model, subject.cheap) if model is not None]
    begun = time.perf_counter()
    before = _spent(asked, begun)

    def note(decisions: Sequence[Decision]) -> None:
        nonlocal before, standing
        examples, found, distances, steps, _ = zip(*decisions, strict=True)
        shown.offer(attack.name, decisions)
        log.record(attack.name, examples, found, distances, steps)
        after = _spent(asked, begun)
        costs.add(attack.name, after - before)
        before = after
        standing -= sum(prediction >= 0 for prediction in found)
        # The bar counts steps: those that a success has spared are taken off the whole.
        bar.total -= sum(search.most - spent for spent in steps)
        bar.set_postfix_str(f"{len(log.attacked[attack.name])} examples, {_bound(standing, len(log.predictions))}")

    bar = tqdm(desc=attack.name, disable=None if progress else True, unit="step", unit_scale=True)
    search = PackedSearch(attack, threat, subject, note, bar.update)
    bar.total = len(waiting) * search.most
    with bar:
        search.run(waiting)


def _spent(asked: Sequence[Counted], begun: float) -> results.Passes:
    """What the models have been asked so far, and the seconds since `begun`."""
    forward, backward, calls = (sum(getattr(m, name) for m in asked) for name in ("forward", "backward", "calls"))
    return results.Passes(forward, backward, calls, time.perf_counter() - begun, sum(m.seconds for m in asked))


def _bound(standing: int, count: int) -> str:
    """The robust accuracy that is still possible, which only falls from here."""
    low, high = interval(standing, count)
    return f"robust <= {standing / count:.1%} [{low:.1%}, {high:.1%}]"
