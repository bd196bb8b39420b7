"""Synthetic evaluations: a fixture, not a measurement. Seeded, digits-like, with the shape of real results."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from holdfast.results import (
    Alignment,
    Cell,
    Compactness,
    Comparison,
    Curve,
    Data,
    Diagnostics,
    Divergence,
    Entrant,
    Evaluation,
    Finding,
    Gallery,
    History,
    Linearity,
    Outcome,
    Passes,
    Protocol,
    Severity,
    Shift,
    Shifts,
    Surface,
    Threat,
    Verdicts,
)

ATTACKS = {
    "apgd-ce": "APGD(steps=100, loss='ce', rho=0.75, restarts=1)",
    "apgd-t": "APGD(steps=100, loss='targeted_dlr', rho=0.75, restarts=1, targets=9)",
    "fab-t": "FAB(steps=100, alpha_max=0.1, eta=1.05, beta=0.9, targets=9)",
    "square": "Square(queries=5000, p_init=0.8, loss='margin')",
}
STAGES = {"data": 0.02, "search": 0.42, "loss": 0.17, "backward": 0.28, "optimizer": 0.01, "logging": 0.005}
SHARES = (0.82, 0.15, 0.02, 0.01)  # of the breaks, by attack
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Rows of 5 pixels each, from the top, of the ten figures.
FONT = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)

EvaluationFactory = Callable[..., Evaluation]
Quoted = Callable[..., list[tuple[dict[str, str], str]]]


def draw_digit(digit: int, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A figure of the font at a random place in an image of `shape` [C, H, W], blurred, in a random colour."""
    glyph = np.array([[(row >> (4 - i)) & 1 for i in range(5)] for row in FONT[digit % 10]], dtype=np.float32)
    glyph = np.kron(glyph, np.ones((shape[1] // 8, shape[2] // 8), dtype=np.float32))
    canvas = np.zeros(shape[1:], dtype=np.float32)
    top, left = (rng.integers(0, c - g + 1) for c, g in zip(canvas.shape, glyph.shape, strict=True))
    canvas[top : top + glyph.shape[0], left : left + glyph.shape[1]] = glyph
    padded = np.pad(canvas, 1)
    blurred = 0.6 * canvas + 0.1 * (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:])
    ink, ground = rng.uniform(0.7, 1, (shape[0], 1, 1)), rng.uniform(0, 0.3, (shape[0], 1, 1))
    noise = rng.normal(0, 0.02, shape)
    return np.clip(ground + blurred * (ink - ground) + noise, 0, 1).astype(np.float32)


def make_verdicts(n: int, classes: int, clean: float, robust: float, seed: int) -> Verdicts:
    """A cascade over n examples; what is hard is hard for every seed, so that models compare in pairs."""
    shared, rng = np.random.default_rng(11), np.random.default_rng(seed)
    label = shared.integers(0, classes, n)
    hardness = np.clip(shared.random(n) + 0.12 * (label / classes - 0.5) + 0.08 * rng.normal(size=n), 0, 1)
    order = hardness.argsort().argsort() / n
    correct, survives = order < clean, order < robust
    other = (label + 1 + rng.integers(0, classes - 1, n)) % classes
    neighbour = (label + rng.choice([1, 3, 5], n)) % classes if classes > 5 else other
    shape = (n, len(ATTACKS))
    outcome = np.full(shape, Outcome.SURVIVED, dtype="<U13")
    found, distance = np.full(shape, -1), np.full(shape, np.nan)
    steps = np.tile([100, 900, 900, 5000], (n, 1))
    breaker = rng.choice(len(ATTACKS), n, p=SHARES)
    for i in range(n):
        if not correct[i]:
            outcome[i], steps[i] = Outcome.MISCLASSIFIED, 0
        elif not survives[i]:
            b = breaker[i]
            outcome[i, b], outcome[i, b + 1 :] = Outcome.BROKEN, Outcome.SPARED
            found[i, b], distance[i, b] = neighbour[i], 8 / 255 * rng.uniform(0.7 if b == 2 else 1.0, 1)
            steps[i, b], steps[i, b + 1 :] = 1 + rng.geometric(0.06), 0
    return Verdicts(
        tuple(ATTACKS), np.arange(n), label, np.where(correct, label, other), outcome, found, distance, steps
    )


def make_gallery(verdicts: Verdicts, shape: tuple[int, ...], seed: int, size: int, eps: float) -> Gallery:
    """The first `size` examples with an adversary in the Linf ball, drawn as figures (or random rows of a table)."""
    rng = np.random.default_rng(seed)
    xs, advs, attacks = [], [], []
    for row in range(min(size, len(verdicts))):
        label = int(verdicts.label[row])
        x = draw_digit(label, np.random.default_rng(row), shape) if len(shape) == 3 else rng.random(shape)
        by = int(verdicts.broken_by[row])
        smooth = np.kron(rng.choice([-1.0, 1.0], [(s + 1) // 2 for s in shape]), np.ones([2] * len(shape)))
        sign = smooth[tuple(slice(0, s) for s in shape)] * rng.choice([0, 1, 1], shape)
        attacked = by >= 0 or bool(verdicts.robust[row])
        xs.append(x)
        advs.append(np.clip(x + eps * sign, 0, 1) if attacked else x)
        attacks.append(verdicts.attacks[by] if attacked else "")
    return Gallery(verdicts.example[: len(xs)], np.array(xs), np.array(advs), tuple(attacks))


@pytest.fixture(scope="session")
def quoted() -> Quoted:
    """Finds a page's <data> elements about a quantity and with the attributes asked for: their attributes and texts."""

    def find(html: str, quantity: str, **attributes: str) -> list[tuple[dict[str, str], str]]:
        every = [
            (dict(re.findall(r'([\w-]+)="([^"]*)"', a)), t) for a, t in re.findall(r"<data ([^>]*)>([^<]*)<", html)
        ]
        wanted = {"data-quantity": quantity} | {f"data-{name}": value for name, value in attributes.items()}
        return [(a, t.strip()) for a, t in every if wanted.items() <= a.items()]

    return find


@pytest.fixture(scope="session")
def make_evaluation() -> EvaluationFactory:
    """Makes an evaluation of the given clean and robust accuracy, deterministic in its arguments."""

    def make(
        model: str = "pgd_at",
        *,
        clean: float = 0.83,
        robust: float = 0.46,
        seed: int = 0,
        n: int = 1000,
        shape: tuple[int, ...] = (3, 32, 32),
        classes: tuple[str, ...] = DIGITS,
        gallery: int = 80,
        findings: tuple[Finding, ...] = (),
    ) -> Evaluation:
        verdicts = make_verdicts(n, len(classes), clean, robust, seed)
        radii = (0, 2, 4, 6, 8, 12, 16, 24, 32)
        budgets = (1, 2, 5, 10, 20, 50, 100)
        by_eps = [round(n * clean * 2 ** -((e / 8) ** 1.4 * np.log2(clean / robust))) for e in radii]
        by_steps = [round(n * (robust + (clean - robust) * 0.6 / k)) for k in budgets]
        return Evaluation(
            model=model,
            run=f"runs/{model}-s{seed}",
            data=Data("figures", "test", 10_000, "3c9f0d1ab2e4", classes),
            threat=Threat("Linf", 8 / 255, "8/255"),
            protocol=Protocol("autoattack", "1"),
            attacks=ATTACKS,
            seed=seed,
            verdicts=verdicts,
            curves=(
                Curve("eps", "eps", tuple(e / 255 for e in radii), tuple(by_eps), n, "apgd-ce"),
                Curve("steps", "steps", budgets, tuple(by_steps), n, "pgd"),
            ),
            findings=findings,
            checks=("accuracy falls to 0 at large eps", "more steps do not lower it", "gradients do not vanish"),
            gallery=make_gallery(verdicts, shape, seed, gallery, 8 / 255) if gallery else None,
            seconds=412.6 + 31 * seed,
            passes={
                name: Passes(101 * n * (k + 1), 100 * n * k, 500 * (k + 1), 90.0 + 3 * k, 80.0 - 9 * k)
                for k, name in enumerate(ATTACKS)
            },
            versions={"holdfast": "0.1.0", "torch": "2.13.0", "numpy": "2.4.1", "python": "3.11.7", "device": "cpu"},
            command=f"holdfast evaluate runs/{model}-s{seed} --protocol autoattack --eps 8/255 --n {n} --seed {seed}",
        )

    return make


@pytest.fixture(scope="session")
def make_history() -> Callable[..., History]:
    """Makes a training log of so many epochs; with `collapse`, robust accuracy is lost on the way."""

    def make(epochs: int = 30, seed: int = 0, pace: float = 14.0, collapse: bool = False) -> History:
        rng = np.random.default_rng(seed)
        t = np.arange(1, epochs + 1) / epochs
        robust = 0.48 * (1 - np.exp(-3 * t)) + 0.006 * rng.normal(size=epochs)
        adversary = 0.53 * (1 - np.exp(-3.2 * t))
        if collapse:
            robust[int(0.7 * epochs) :] *= 0.05
            adversary[int(0.7 * epochs) :] = 0.86
        return History(
            np.arange(epochs),
            {
                "seconds": pace * np.arange(1, epochs + 1),
                "loss": 2.3 * np.exp(-1.2 * t) + 0.5 + 0.02 * rng.normal(size=epochs),
                "clean_accuracy": 0.85 * (1 - np.exp(-4 * t)) + 0.004 * rng.normal(size=epochs),
                "robust_accuracy": np.clip(robust, 0, 1),
                "adversary_accuracy": adversary,
                **{f"{stage}_seconds": share * pace * np.ones(epochs) for stage, share in STAGES.items()},
            },
        )

    return make


@pytest.fixture(scope="session")
def make_diagnostics() -> Callable[..., Diagnostics]:
    """Makes diagnostics of a model with surfaces of `points` a side around two examples, some numbers missing."""

    def make(model: str = "pgd_at", seed: int = 0, points: int = 5, classes: tuple[str, ...] = DIGITS) -> Diagnostics:
        rng = np.random.default_rng(seed)
        loss = rng.gamma(1.0, 1.0, (2, points, points))
        loss[1, 0, 0] = np.nan
        offsets = np.linspace(-8 / 255, 8 / 255, points)
        changes = [("geometry", "rotation", d, 20 - d // 5) for d in (5, 10, 30)] + [("blur", "blur", 1, 9 + seed)]
        shifts = tuple(Shift(group, kind, f"level {value}", value, right) for group, kind, value, right in changes)
        return Diagnostics(
            model=model,
            run=f"runs/{model}-s{seed}",
            data=Data("figures", "test", 10_000, "3c9f0d1ab2e4", classes),
            threat=Threat("Linf", 8 / 255, "8/255"),
            n=20,
            seed=seed,
            linearity=Linearity(rng.gamma(1.0, 0.2, 20), np.zeros(20), "PGD"),
            surface=Surface([0, 1], [3, 5], offsets, loss, rng.integers(3, 6, loss.shape), "PGD"),
            alignment=Alignment(rng.uniform(0.5, 1, 20), np.append(rng.uniform(-1, 1, 19), np.nan), "PGD"),
            divergence=Divergence(("input", "conv1", "fc"), rng.random(3), [0.1, np.nan, 0.3], 20, "PGD"),
            compactness=Compactness("fc", ("clean", "adversarial"), [0.2, np.nan], [0.5, 0.5], 20),
            invariance=Shifts(20, 18, shifts, "invented levels", {"hue": "no colour"}),
            corruptions=Shifts(20, 18, shifts[:1], "invented corruptions"),
        )

    return make


@pytest.fixture(scope="session")
def alarm() -> Finding:
    return Finding(
        kind="steps",
        severity=Severity.ALARM,
        title="More steps still lower the accuracy",
        evidence="PGD with 100 steps leaves 46.0 % right, with 1,000 steps 41.3 % (1,000 examples).",
        advice="Raise the number of steps until the accuracy stays: the figure above is an upper bound.",
    )


@pytest.fixture(scope="session")
def three_models(make_evaluation: EvaluationFactory, alarm: Finding) -> tuple[Evaluation, ...]:
    """Three methods, side by side; the last with an alarm and a warning."""
    doubt = replace(alarm, kind="eps", severity=Severity.WARNING, title="eps is 0.031, the standard is 8/255")
    return (
        make_evaluation("pgd_at", clean=0.832, robust=0.463, seed=0),
        make_evaluation("trades", clean=0.816, robust=0.478, seed=1),
        make_evaluation("fgsm_rs", clean=0.851, robust=0.402, seed=2, findings=(alarm, doubt)),
    )


@pytest.fixture(scope="session")
def comparison(make_evaluation: EvaluationFactory, make_history: Callable[..., History], alarm: Finding) -> Comparison:
    """Two methods with two seeds, one with one, and one that is not done."""

    def entrant(label: str, robust: float, seeds: int, clean: float = 0.83) -> Entrant:
        log = make_history(epochs=6)
        times = {name: log["seconds"] * share for name, share in (("cpu_seconds", 0.5), ("training_seconds", 0.9))}
        log = History(log.epoch, {**log.columns, **times})
        cells = tuple(
            Cell(
                seed,
                "finished",
                f"cmp/runs/{label}-s{seed}",
                make_evaluation(
                    label, robust=robust + 0.01 * seed, clean=clean, seed=seed, n=300, gallery=0,
                    findings=(alarm,) if label == "weak" else (),
                ),
                log,
            )
            for seed in range(seeds)
        )  # fmt: skip
        waiting = (Cell(2, "unfinished", f"cmp/runs/{label}-s2"),)
        return Entrant(label, (("method.beta", "6"),), "a paper", 1.0, (), 4.0, 3.7, 2.5, cells or waiting)

    entrants = entrant("strong", 0.5, 2), entrant("weak", 0.3, 2), entrant("single", 0.49, 1), entrant("late", 0.4, 0)
    shared = (("optimizer", "SGD"), ("optimizer.lr", "0.1"))
    return Comparison("figures", "5 min", "cpu", shared, "autoattack@1", entrants, natural_seconds=0.0123)
