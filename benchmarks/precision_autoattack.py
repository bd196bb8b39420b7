"""Claim: AutoAttack by cheaper passes gives the verdicts of a full float32 run.

    HOLDFAST_DATA=<folder with mnist/> python benchmarks/precision_autoattack.py --out runs/precision \\
        --victims runs/claims-mnist/runs/one-step-ADV-s0 runs/claims-mnist/runs/PGD-3-ADV-s0 --n 1000

Each victim, a folder of a training run (those are of `python -m benchmarks.claims mnist`), is measured with
`precision="float32"` and with `precision="bfloat16"`, on the same first n test images, one after the other on one
thread; records are kept in <out>/<data>-<victim>-<n>-<precision>.json, and what is there is not measured again.
benchmarks/precision_autoattack.md is written from them. Seconds are those of the processor.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from holdfast.data import source
from holdfast.evaluation import evaluate, protocol
from holdfast.provenance import versions
from holdfast.threat import threat
from holdfast.training import Run

PRECISIONS = ("float32", "bfloat16")
EPS = {"mnist": "0.3", "cifar10": "8/255"}
AGREES, HIGHER = 0.998, 0.001  # shares of the examples: what the claim asks at least, and allows at most


def measure(folder: Path, data: str, n: int, precision: str) -> dict[str, Any]:
    """One evaluation of the protocol `autoattack`."""
    ball = threat("Linf", EPS[data])
    since = time.process_time()
    found = evaluate(
        Run.open(folder).load("last"),
        source(data).load("test"),
        ball,
        protocol("autoattack", ball),
        n=n,
        batch_size=250,
        precision=precision,  # type: ignore[arg-type]  # one of PRECISIONS
        with_curves=False,
        gallery=0,
        progress=False,
    )
    return {
        "victim": f"{data}, {folder.name}",
        "threat": str(ball),
        "n": n,
        "robust": found.verdicts.robust.tolist(),
        "passes": found.precision,
        "cpu_seconds": time.process_time() - since,
        "model_share": {name: round(cost.model_share, 3) for name, cost in found.passes.items()},
        "command": f"benchmarks/precision_autoattack.py --victims .../{folder.name} --data {data} --n {n} --out ...",
        "versions": versions("cpu"),
    }


def write(out: Path, page: Path) -> None:
    """The page of all pairs of records in `out`."""
    lines = [
        "# AutoAttack by cheaper passes",
        "",
        (__doc__ or "").partition("\n")[0],
        "",
        "| victim | threat | n | robust, float32 | robust, cheaper | same verdict | only float32 broke "
        "| only cheaper broke | CPU s, float32 | CPU s, cheaper | times faster | passes |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    records, holds = {}, []
    for path in sorted(out.glob("*-float32.json")):
        full = json.loads(path.read_text())
        cheap = json.loads(path.with_name(path.name.replace("-float32", "-bfloat16")).read_text())
        one, other = (np.array(record["robust"]) for record in (full, cheap))
        records[path] = cheap
        more = int(other.sum()) - int(one.sum())  # in examples, which floats do not blur
        holds.append((one == other).mean() >= AGREES and more <= round(HIGHER * len(one)))
        lines.append(
            f"| {full['victim']} | {full['threat']} | {full['n']} | {100 * one.mean():.2f} % "
            f"| {100 * other.mean():.2f} % "
            f"| {100 * (one == other).mean():.2f} % | {int((~one & other).sum())} | {int((one & ~other).sum())} "
            f"| {full['cpu_seconds']:.0f} | {cheap['cpu_seconds']:.0f} "
            f"| {full['cpu_seconds'] / cheap['cpu_seconds']:.2f} | {cheap['passes']} |"
        )
    described = list(records.values())
    made = {
        name: sorted({str(record["versions"].get(name, "none")) for record in described})
        for name in described[0]["versions"]
    }
    lines += [
        "",
        f"The claim holds for {sum(holds)} of {len(holds)} victims: at least {100 * AGREES:.1f} % of the verdicts the "
        f"same, and robust accuracy not more than {100 * HIGHER:.1f} points higher.",
        "",
        "Victims are runs of `python -m benchmarks.claims`, whose pages are claims_mnist.md and claims_cifar10.md.",
        "",
        "One run each. Commands: " + "; ".join(sorted({f"`{record['command']}`" for record in described})) + ".",
        "",
        "Made with " + ", ".join(f"{name} {' and '.join(values)}" for name, values in made.items()) + ".",
    ]
    page.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--victims", type=Path, nargs="+", required=True)
    parser.add_argument("--data", default="mnist", choices=sorted(EPS))
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--page", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for folder in options.victims:
        for precision in PRECISIONS:
            path = options.out / f"{options.data}-{folder.name}-{options.n}-{precision}.json"
            if not path.exists():
                path.write_text(json.dumps(measure(folder, options.data, options.n, precision)))
    write(options.out, options.page)


if __name__ == "__main__":
    main()
