"""Claim: training by the trial's passes (bfloat16 where it is faster) leaves robust accuracy as it is, within noise.

    HOLDFAST_DATA=<folder with mnist/> python -m benchmarks.precision_mnist --out runs/benchmark-precision

Trains each method from the same seeds twice, once with plain float32 passes and once with those that a trial chooses,
for about a minute; measures both on the same test images by the same attacks; and writes benchmarks/precision_mnist.md
from the saved runs and verdicts. What is on disk is not made again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

from benchmarks.harness import commits, machines

from holdfast.attacks import APGD, DLR, FGSMRS, PGD, Uniform
from holdfast.data import source
from holdfast.evaluation import Protocol, evaluate
from holdfast.methods import ATLAS, FGSMRSAT, PGDAT, Method
from holdfast.models import WongCNN
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.results import Evaluation
from holdfast.threat import Linf
from holdfast.training import train

THREAT = Linf(0.3)
OUT = Path("runs/benchmark-precision")
EXAMPLES = 1000
SEEDS = 3
PROTOCOL = Protocol("short", "1", (PGD(steps=40, step_size=0.1, early_stop=True), APGD(steps=50, criterion=DLR())))
ONE_STEP = FGSMRS(initial=Uniform(clip=False))
METHODS: dict[str, tuple[Method, float]] = {
    "fgsm_rs": (FGSMRSAT(inner=ONE_STEP), 4.0),
    "atlas": (ATLAS(inner=ONE_STEP), 4.0),
    "pgd_at-10": (PGDAT(inner=PGD(steps=10, step_size=0.25)), 1.7),
}
PLAIN = {"precision": "float32", "channels_last": False, "compile": False}


def recipe(name: str, seed: int) -> Recipe:
    """The setting of benchmarks/claims, for about as long as there."""
    method, epochs = METHODS[name]
    return Recipe(
        method, THREAT, source("mnist"), WongCNN(), Adam(lr=5e-3), OneCycle(peak=0.4), epochs, batch_size=128,
        eps_warmup=0.3, seed=seed,
    )  # fmt: skip


def measure(name: str, way: str, seed: int, out: Path) -> dict[str, object]:
    """Train and evaluate one run, or read it."""
    place = out / f"{name}-{way}-s{seed}"
    wanted = recipe(name, seed)
    run = train(replace(wanted, **PLAIN) if way == "float32" else wanted, place, resume=True, progress=False)
    saved = place / "evaluation"
    if (saved / "evaluation.json").exists():
        found = Evaluation.load(saved)
    else:
        images = source("mnist").load("test")
        found = evaluate(
            run.load("last"), images, THREAT, PROTOCOL, n=EXAMPLES, folder=saved, with_curves=False, progress=False
        )
    verdicts = found.verdicts
    passes = json.loads((place / "recipe.json").read_text())["trial"]["passes"]
    return {"clean": verdicts.clean_accuracy, "robust": verdicts.robust_accuracy, "passes": passes}


def text(values: list[float]) -> str:
    """Percent: mean and standard deviation over the seeds."""
    return f"{100 * fmean(values):.1f} ± {100 * stdev(values):.1f}"


def page(found: dict[str, dict[str, list[dict[str, object]]]], out: Path) -> str:
    """The page, of nothing but what was measured."""
    lines = [
        "# Training in bfloat16 against float32, MNIST at Linf 0.3",
        "",
        f"`python -m benchmarks.precision_mnist --out {OUT}` at {commits(out, '*/recipe.json')}; "
        f"{machines(out, '*/recipe.json')}. "
        f"WongCNN, batch 128, {SEEDS} seeds; accuracy in percent on the first {EXAMPLES} test images, mean ± standard "
        "deviation over the seeds; robust to PGD-40 and APGD-DLR-50, one start each. The difference is taken seed by "
        "seed. Trainings of about a minute: benchmarks/claims_mnist.md compares the methods.",
        "",
        "| method | epochs | clean, float32 | clean, trial | robust, float32 | robust, trial | robust, difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, ways in found.items():
        columns = [
            [float(str(one[kind])) for one in ways[way]] for kind in ("clean", "robust") for way in ("float32", "trial")
        ]
        gaps = [after - before for before, after in zip(columns[2], columns[3], strict=True)]
        cells = [name, f"{METHODS[name][1]:g}", *map(text, columns), text(gaps)]
        lines.append(f"| {' | '.join(cells)} |")
    chosen = sorted({json.dumps(one["passes"]) for ways in found.values() for one in ways["trial"]})
    lines += ["", "Passes that the trials chose: " + "; ".join(f"`{one}`" for one in chosen) + "."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    found = {
        name: {way: [measure(name, way, seed, options.out) for seed in range(SEEDS)] for way in ("float32", "trial")}
        for name in METHODS
    }
    Path(__file__).with_suffix(".md").write_text(page(found, options.out))


if __name__ == "__main__":
    main()
