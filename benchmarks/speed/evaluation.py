"""Measuring a model: AutoAttack and its parts, and PGD, ours beside the peers', with the verdicts compared."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from benchmarks.harness import Contestant, Measured, Record, clock, contest, ratio, table
from benchmarks.speed.subjects import SUBJECTS, Subject, images, victim
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import peers
from holdfast.attacks import PGD
from holdfast.data import ImageSet
from holdfast.evaluation import Protocol, evaluate, protocol
from holdfast.evaluation.batches import room, rows_of
from holdfast.results import Evaluation
from holdfast.rounding import without_tf32
from holdfast.speed import StandIn, candidates
from holdfast.typing import Classifier

OURS, PLAIN, FLOOR = "holdfast", "holdfast, float32", "bare passes"
CHEAP_FLOOR = "bare passes, computed as holdfast's"
BARE_ROUNDS = 7
SHARE = 0.1  # of eps, PGD's step size
WHOLE = ("apgd-ce", "apgd-t", "fab-t", "square")
PEER_BATCH = 250


def ours(
    model: nn.Module, split: ImageSet, subject: Subject, suite: Protocol, n: int, precision: str = "auto"
) -> Evaluation:
    """Holdfast's evaluation, as `holdfast evaluate` makes it, without curves and pictures."""
    return evaluate(
        model,
        split,
        subject.threat,
        suite,
        n=n,
        precision=precision,
        with_curves=False,
        gallery=0,
        progress=False,
    )


def record(
    entered: list[Contestant], rounds: int, device: str, n: int, warmup: int
) -> tuple[Record, dict[str, Evaluation]]:
    """Times, and what stood under each contestant; and our evaluations."""
    times, done = contest(entered, rounds, device, warmup)
    evaluations = {name: found for name, found in done.items() if isinstance(found, Evaluation)}
    verdicts = {name: found for name, found in done.items() if isinstance(found, list)}
    verdicts |= {name: found.verdicts.robust.tolist() for name, found in evaluations.items()}
    passes = {name: found.precision for name, found in evaluations.items()}
    found = {"examples": n, "clock": clock(device), "times": times, "robust": verdicts, "passes": passes}
    return found, evaluations


def bare(ask: Classifier, found: Evaluation, x: Tensor, y: Tensor, device: str) -> dict[str, list[float]]:
    """Seconds of the passes that an evaluation made, had each been made in a full batch and with nothing beside it."""

    def forward() -> None:
        with torch.no_grad():
            ask(x)

    def gradient() -> None:
        point = x.detach().requires_grad_()
        torch.autograd.grad(functional.cross_entropy(ask(point), y), point)

    times, _ = contest([Contestant("forward", forward), Contestant("gradient", gradient)], BARE_ROUNDS, device)
    gradients = sum(attack.backward for attack in found.passes.values())
    forwards = sum(attack.forward for attack in found.passes.values()) - gradients

    def all_of_them(clock: str) -> float:
        each = [
            count * np.median(times[kind][clock]) for count, kind in ((forwards, "forward"), (gradients, "gradient"))
        ]
        return float(sum(each)) / len(x)

    return {clock: [all_of_them(clock)] for clock in ("cpu", "wall")}


def both_of_ours(model: nn.Module, split: ImageSet, subject: Subject, suite: Protocol, n: int) -> list[Contestant]:
    """As it comes, and with float32 passes alone."""
    precisions = {OURS: "auto", PLAIN: "float32"}
    return [
        Contestant(name, lambda precision=precision: ours(model, split, subject, suite, n, precision))
        for name, precision in precisions.items()
    ]


def autoattack(
    subject: Subject, model: nn.Module, split: ImageSet, n: int, names: tuple[str, ...], rounds: int, device: str
) -> Record:
    """The suite, or some of its attacks, ours and the peers', on the first n images."""
    x, y = _batch(split, n, device)
    standard = protocol("autoattack", subject.threat)
    suite = Protocol("part", "1", tuple(attack for attack in standard.attacks if attack.name in names))
    entered = both_of_ours(model, split, subject, suite, n)
    for name, make in peers.suites(all_of_them=rounds > 1):
        entered.append(Contestant(name, _robust(make(names, PEER_BATCH), model, x, y, subject.threat.eps)))
    found, evaluations = record(entered, rounds, device, n, warmup=0 if rounds == 1 else 1)
    if names == WHOLE:
        full = _batch(split, rows_of(split.images.shape[1:], room(torch.device(device))), device)
        way = next(way for way in candidates(True) if str(way) == evaluations[OURS].precision)
        found["times"][FLOOR] = bare(model, evaluations[PLAIN], *full, device)
        found["times"][CHEAP_FLOOR] = bare(StandIn(model, way), evaluations[OURS], *full, device)
    return found


def pgd(subject: Subject, model: nn.Module, split: ImageSet, n: int, rounds: int, device: str) -> Record:
    """PGD, beside as many bare input gradients of all n images."""
    x, y = _batch(split, n, device)
    steps = subject.attack_steps
    suite = Protocol("pgd", "1", (PGD(steps=steps, step_size=SHARE, early_stop=True),))

    def gradients() -> None:
        for _ in range(steps):
            point = x.detach().requires_grad_()
            torch.autograd.grad(functional.cross_entropy(model(point), y), point)

    entered = [Contestant(FLOOR, gradients), *both_of_ours(model, split, subject, suite, n)]
    for name, make in peers.pgds():
        entered.append(Contestant(name, _robust(make(steps, SHARE), model, x, y, subject.threat.eps)))
    return record(entered, rounds, device, n, warmup=1)[0]


def _batch(split: ImageSet, n: int, device: str) -> tuple[Tensor, Tensor]:
    return split.images[:n].to(device).float() / 255.0, split.labels[:n].to(device)


def _robust(attack: peers.Attack, model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Callable[[], list[bool]]:
    return lambda: peers.robust(attack, model, x, y, eps)


def measure(device: str, short: bool, folder: Path) -> Measured:
    """All of it on both victims, which are trained first if they are not there."""
    for subject in SUBJECTS.values():
        small = subject.data == "mnist"
        model = victim(subject, folder, device, short)
        split = images(subject.data, 1000).load("test")
        part, n = (256, 200 if short else 1000) if small else (64, 80)
        suite = partial(autoattack, subject, model, split)
        works = {
            "pgd": partial(pgd, subject, model, split, 512 if small else 64, 2 if short else 5, device),
            "apgd-ce": partial(suite, part, ("apgd-ce",), 1 if short else 3, device),
            "autoattack": partial(suite, n, WHOLE, 1, device),
        }
        if short and not small:
            del works["autoattack"]  # it would take half of the time of the short form
        for name, work in works.items():
            with without_tf32():  # as within `evaluate`: a GPU would give the others rougher passes
                found = work()
            yield f"{subject.data}/{name}", found


TITLES = {"pgd": "PGD-{steps}", "apgd-ce": "APGD-CE, 100 steps", "autoattack": "AutoAttack, standard"}


def report(found: Record) -> list[str]:
    """One table a victim."""
    lines = []
    for subject in SUBJECTS.values():
        rows = []
        for name, title in TITLES.items():
            one = found.get(f"{subject.data}/{name}")
            if one is not None:
                rows += _rows(title.format(steps=subject.attack_steps), one)
        columns = ["attack", "images", "who", "seconds", "time over ours", "robust", "verdict as ours"]
        lines += [f"**{subject.label}, {subject.threat}**", "", *table(columns, rows), ""]
    return lines


def _rows(title: str, one: Record) -> list[list[str]]:
    mine = np.array(one["robust"][OURS])
    rows = []
    for name, times in one["times"].items():
        over = ratio(one, name, OURS)
        verdicts = one["robust"].get(name)
        rows.append(
            [
                title,
                str(one["examples"]),
                f"{name} ({one['passes'][name]})" if name in one["passes"] else name,
                f"{np.median(times[one['clock']]):.2f}",
                over.text() if over and name != OURS else "",
                f"{100 * np.mean(verdicts):.1f} %" if verdicts else "",
                f"{100 * np.mean(mine == np.array(verdicts)):.1f} %" if verdicts and name != OURS else "",
            ]
        )
    return rows
