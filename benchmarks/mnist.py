"""Claim: on MNIST at eps 0.3 one-step ATLAS beats one-step ADV and reaches multi-step ADV and TRADES in less time.

    HOLDFAST_DATA=<folder with mnist/> python -m benchmarks.mnist --out runs/benchmark-mnist

Trains every row that is not trained yet, evaluates what is not evaluated yet, and writes benchmarks/mnist.md from the
saved runs and verdicts. All rows share model, optimizer, schedule, eps warm-up and epochs; they differ in the method
alone. The checkpoint is the best by PGD-10 on 1,000 held-out training images. Nothing was tuned on test images here.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from benchmarks.claims.claim import Claim, Judged
from numpy.typing import NDArray

from holdfast.attacks import APGD, DLR, FGSMRS, PGD, Square, Uniform
from holdfast.data import source
from holdfast.evaluation import Protocol, evaluate
from holdfast.methods import ATLAS, FGSMRSAT, PGDAT, TRADES, Batch, GlobalComponent, Method, Natural, Progress
from holdfast.models import WongCNN
from holdfast.noise import Noise
from holdfast.provenance import versions
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.results import Evaluation, contrast, holm, spread
from holdfast.threat import Linf
from holdfast.training import Run, train

THREAT = Linf(0.3)
EXAMPLES = 500
# PGD-100 with 10 restarts at step 0.01, the attack of Madry et al.'s MNIST challenge with a tenth of its restarts.
PROTOCOLS = {
    "pgd": Protocol("pgd-100x10", "1", (PGD(steps=100, step_size=1 / 30, restarts=10, early_stop=True),)),
    "apgd": Protocol("apgd-ce+dlr", "1", (APGD(), APGD(criterion=DLR()))),
    "square": Protocol("square-5000", "1", (Square(),)),
}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    method: Method
    seeds: int


# As in fast_adversarial's MNIST script the first gradient is taken outside the box.
ONE_STEP = FGSMRS(initial=Uniform(clip=False))
FORMER = GlobalComponent(beta=1.0, anchored=False)  # ATLAS's default before docs/decisions/0010
ROWS = (
    Row("natural", Natural(), 3),
    Row("one-step ADV (fgsm_rs)", FGSMRSAT(inner=ONE_STEP), 3),
    Row("one-step ATLAS, clean pass", ATLAS(inner=ONE_STEP, global_component=FORMER), 3),
    Row("PGD-3 ADV (ATLAS's price)", PGDAT(inner=PGD(steps=3, step_size=0.5)), 3),
    Row("PGD-10 ADV", PGDAT(inner=PGD(steps=10, step_size=0.25)), 2),
    Row("TRADES-10 (beta 6)", TRADES(), 1),
)


def recipe(method: Method, seed: int) -> Recipe:
    """The shared setting: Wong et al.'s small CNN and one-cycle Adam, 5 epochs."""
    return Recipe(
        method=method,
        threat=THREAT,
        data=source("mnist"),
        model=WongCNN(),
        optimizer=Adam(lr=5e-3),
        schedule=OneCycle(peak=0.4),
        epochs=5,
        batch_size=128,
        eps_warmup=0.3,
        precision="bfloat16",
        seed=seed,
    )


def folder(out: Path, row: Row, seed: int) -> Path:
    return out / f"{''.join(c if c.isalnum() else '-' for c in row.name)}-s{seed}"


def measure(run: Run, out: Path) -> dict[str, Evaluation]:
    """Every protocol on the first test images; what is on disk is read."""
    images = source("mnist").load("test")
    found = {}
    for name, protocol in PROTOCOLS.items():
        place = out / "evaluations" / name
        if (place / "evaluation.json").exists():
            found[name] = Evaluation.load(place)
        else:
            found[name] = evaluate(
                run.load(), images, THREAT, protocol, n=EXAMPLES, folder=place, device="cpu", with_curves=False
            )
    return found


def seconds(out: Path) -> float:
    """Wall time of the training, validation after each epoch included."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return max(line["seconds"] for line in lines if line["event"] == "epoch")


def percent(values: list[float]) -> str:
    found = spread([100 * value for value in values])
    return f"{found.mean:.1f} ± {found.std:.1f}" if len(values) > 1 else f"{values[0] * 100:.1f}"


def columns(row: Row, out: Path) -> tuple[dict[str, list[float]], NDArray[np.bool_]]:
    """Every figure of a row, one value a seed, from what is on disk; and which examples each seed holds, [S, N]."""
    values: dict[str, list[float]] = {name: [] for name in ("clean", *PROTOCOLS, "worst", "seconds")}
    right = []
    for seed in range(row.seeds):
        place = folder(out, row, seed)
        found = measure(Run.open(place), place)
        values["clean"].append(next(iter(found.values())).verdicts.clean_accuracy)
        for name, evaluation in found.items():
            values[name].append(evaluation.verdicts.robust_accuracy)
        robust = [evaluation.verdicts.robust for evaluation in found.values()]
        right.append(np.logical_and.reduce(robust))
        values["worst"].append(float(right[-1].mean()))
        values["seconds"].append(seconds(place))
    return values, np.array(right)


def line(row: Row, values: dict[str, list[float]], cost: float) -> str:
    cells = [row.name, f"{row.method.passes:.1f}", f"{cost:.2f}", str(row.seeds)]
    cells += [percent(values[name]) for name in ("clean", *PROTOCOLS, "worst")]
    return "| " + " | ".join([*cells, f"{min(values['seconds']):.0f}"]) + " |"


FIRST = "one-step ATLAS, clean pass"
CLAIMS = (
    Claim("ATLAS", "One-step ATLAS beats one-step ADV at equal epochs", FIRST, "one-step ADV"),
    Claim("control", "One-step ATLAS beats ADV of as many passes (PGD-3)", FIRST, "PGD-3 ADV"),
    Claim("ATLAS", "One-step ATLAS is comparable with PGD-10 ADV", FIRST, "PGD-10 ADV", "comparable"),
    Claim("ATLAS", "One-step ATLAS is comparable with TRADES-10", FIRST, "TRADES-10", "comparable"),
)


def claims(costs: list[float], rows: list[NDArray[np.bool_]]) -> str:
    """ATLAS's claims with verdicts computed from the numbers, and what the comparison costs."""
    at = {row.name.partition(" (")[0]: i for i, row in enumerate(ROWS)}
    contrasts = [contrast(rows[at[claim.first]], rows[at[claim.second]]) for claim in CLAIMS]
    tested = [k for k, claim in enumerate(CLAIMS) if claim.kind == "higher"]
    corrected = dict(zip(tested, holm([contrasts[k].p for k in tested]), strict=True))
    names = ("claim", "difference, points", "95 % interval", "p", "cost", "seeds", "verdict")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for k, (claim, one) in enumerate(zip(CLAIMS, contrasts, strict=True)):
        first, second = at[claim.first], at[claim.second]
        seeds = len(rows[first]), len(rows[second])
        judged = Judged(claim, one, corrected.get(k, 1.0), seeds)
        cells = [
            claim.text,
            f"{100 * one.difference:+.1f}",
            f"{100 * one.low:+.1f} to {100 * one.high:+.1f}",
            f"{corrected[k]:.2g}" if k in corrected else "",
            f"{costs[first] / costs[second]:.2f}",
            f"{seeds[0]} and {seeds[1]}",
            f"**{judged.verdict}**",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def step_costs(rounds: int = 9, steps: int = 10) -> list[float]:
    """CPU time of a step of each row over that of one-step ADV: medians over rounds in which all rows take turns."""
    model = WongCNN().build((1, 28, 28), 10, seed=0).train()
    x, index = torch.rand(128, 1, 28, 28), torch.arange(128)
    batch = Batch(x, index % 10, index)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def spend(method: Method) -> float:
        start = time.process_time()
        for step in range(steps):
            with torch.autocast("cpu", torch.bfloat16):
                loss = method.loss(model, batch, THREAT, None, Progress(0.9, 0, step, steps), Noise.of(step, index))
            optimizer.zero_grad()
            loss.value.backward()
            optimizer.step()
        return time.process_time() - start

    times = [[spend(row.method) for row in ROWS] for _ in range(rounds + 1)][1:]
    unit = next(i for i, row in enumerate(ROWS) if isinstance(row.method, FGSMRSAT))
    return [median(taken[i] / taken[unit] for taken in times) for i in range(len(ROWS))]


def page(out: Path) -> str:
    """The Markdown page."""
    made = versions("cpu")
    measured = [columns(row, out) for row in ROWS]
    found, rows, costs = [values for values, _ in measured], [right for _, right in measured], step_costs()
    lines = [line(row, values, cost) for row, values, cost in zip(ROWS, found, costs, strict=True)]
    records = [json.loads((folder(out, row, s) / "recipe.json").read_text()) for row in ROWS for s in range(row.seeds)]
    trained = sorted({record["versions"].get("commit", "unknown")[:12] for record in records})
    places = [
        folder(out, row, s) / "evaluations" / name for row in ROWS for s in range(row.seeds) for name in PROTOCOLS
    ]
    evaluated = sorted({Evaluation.load(place).versions.get("commit", "unknown")[:12] for place in places})
    error = 100 * (0.85 * 0.15 / EXAMPLES) ** 0.5
    return f"""# MNIST, Linf 0.3: one-step ATLAS against one-step and multi-step ADV and TRADES

    HOLDFAST_DATA=<folder with mnist/> python -m benchmarks.mnist --out runs/benchmark-mnist

Trained at {", ".join(trained)}, evaluated at {", ".join(evaluated)}.
{made["device"]}, one core, torch {made["torch"]}.
{EXAMPLES} test images, the first of the split. Per cent, mean ± standard deviation over seeds; one figure of one seed
has a standard error of about {error:.1f} points.

Small CNN of Wong et al., Adam one-cycle 5e-3, batch 128, 5 epochs, eps raised over the first 30 %, bfloat16 passes;
checkpoint by PGD-10 on 1,000 held-out training images; nothing was chosen on test images.

Passes are forward and backward passes a step. Cost is the CPU time of a step relative to one-step ADV: the median of
rounds in which all rows take turns. Seconds is the wall time of the quickest seed on a shared machine, validation
included: compare the costs, not the seconds. PGD is PGD-100 with step 0.01 and 10 restarts; APGD climbs cross-entropy,
then DLR; Square has 5,000 queries; worst is the worst case over all of them.

| method | passes | cost | seeds | clean | PGD-100x10 | APGD CE+DLR | Square | worst | seconds |
|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

Of the worst case, at equal epochs. Higher: met if beyond noise (docs/comparing.md; p after Holm's correction).
Comparable: met if the interval stays above -2 points, not met if below. Cost is that of a step, the first method's
over the second's.

{claims(costs, rows)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; what is there is not run again")
    parser.add_argument("--page", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    for seed in range(max(row.seeds for row in ROWS)):
        for row in ROWS:
            place = folder(arguments.out, row, seed)
            if seed < row.seeds and not (place.exists() and Run.open(place).outcome != "unfinished"):
                train(recipe(row.method, seed), place, device="cpu", resume=True)
    arguments.page.write_text(page(arguments.out))


if __name__ == "__main__":
    main()
