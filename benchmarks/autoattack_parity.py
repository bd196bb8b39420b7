"""Claim: our AutoAttack gives the verdicts of the authors', on three victims and 1,000 images each.

    pip install --no-deps --target <peers> pyautoattack==0.2.0
    HOLDFAST_DATA=<folder with mnist/ and cifar10/> PYTHONPATH=<peers> \\
        python benchmarks/autoattack_parity.py --out runs/parity --data mnist --n 1000

pyautoattack is the authors' code (fra31/auto-attack) as a package; it is no dependency of Holdfast. The script trains
the victims that are not trained yet (a natural, an FGSM-RS and a PGD-trained network), has both packages attack the
same first n test images, one after the other on one thread, and keeps verdicts, seconds and passes in
<out>/<data>-<victim>-<norm>-<eps>-<n>.json; what is there is not measured again. benchmarks/autoattack_parity.md is
written from these files. `--alone` also runs every attack by itself on all examples that are right on clean images.

Seconds are processor seconds of this process, so that other load on the machine disturbs less. A pass is one example
through the model once.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyautoattack import AutoAttack
from torch import nn

from holdfast.attacks import FGSMRS, PGD, Uniform
from holdfast.data import HorizontalFlip, ImageSet, RandomCrop, source
from holdfast.evaluation import Protocol, evaluate, protocol
from holdfast.evaluation.examples import Counted
from holdfast.methods import FGSMRSAT, PGDAT, Method, Natural
from holdfast.models import PreActResNet18, WongCNN
from holdfast.provenance import versions
from holdfast.recipe import SGD, Adam, OneCycle, Recipe
from holdfast.threat import Linf, ThreatModel, threat
from holdfast.training import Run, train

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
SEED = 0


def recipe(data: str, victim: str, epochs: int) -> Recipe:
    """Victims alike but for the method; short trainings, since parity and not accuracy is the question."""
    inner = FGSMRS(initial=Uniform(clip=data != "mnist"))
    methods: dict[str, Method] = {
        "natural": Natural(),
        "fgsm_rs": FGSMRSAT(inner=inner),
        "pgd_at": PGDAT(inner=PGD(steps=10, step_size=0.25)),
    }
    small = Recipe(
        method=methods[victim],
        threat=Linf(0.3),
        data=source(data),
        model=WongCNN(),
        optimizer=Adam(lr=5e-3),
        schedule=OneCycle(peak=0.4),
        epochs=epochs,
        batch_size=128,
        eps_warmup=0.0 if victim == "natural" else 0.3,
        on_collapse="continue",
    )
    if data == "mnist":
        return small
    return replace(
        small,
        threat=Linf("8/255"),
        model=PreActResNet18(width=16, mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616)),
        optimizer=SGD(lr=0.1),
        augment=(RandomCrop(padding=4), HorizontalFlip()),
        precision="bfloat16",
        channels_last=True,
    )


@dataclass
class Measured:
    """What one package found.

    Attributes:
        robust: verdict of each example.
        seconds: of the processor.
        forward, backward: example-passes.
    """

    robust: list[bool]
    seconds: float
    forward: int
    backward: int


def official(
    model: nn.Module, images: ImageSet, ball: ThreatModel, n: int, batch_size: int, names: Sequence[str]
) -> Measured:
    """The authors' attacks of these names."""
    counted = Counted(model.eval())
    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    suite = AutoAttack(counted, norm=ball.norm, eps=ball.eps, seed=SEED, version="standard", device="cpu")
    suite.attacks_to_run = list(names)
    x, y = images.images[:n].float() / 255.0, images.labels[:n]
    since = time.process_time()
    _, prediction = suite.run_standard_evaluation(x, y, batch_size=batch_size)
    seconds = time.process_time() - since
    return Measured((prediction == y).tolist(), seconds, counted.forward, counted.backward)


def ours(
    model: nn.Module, images: ImageSet, ball: ThreatModel, n: int, batch_size: int, names: Sequence[str]
) -> Measured:
    """Holdfast's."""
    standard = protocol("autoattack", ball)
    chosen = tuple(attack for attack in standard.attacks if attack.name in names)
    since = time.process_time()
    found = evaluate(
        model,
        images,
        ball,
        Protocol("part", "1", chosen),
        n=n,
        seed=SEED,
        batch_size=batch_size,
        with_curves=False,
        gallery=0,
        progress=False,
    )
    seconds = time.process_time() - since
    passes = found.passes.values()
    forward, backward = sum(p.forward for p in passes), sum(p.backward for p in passes)
    return Measured(found.verdicts.robust.tolist(), seconds, forward, backward)


def compare(model: nn.Module, images: ImageSet, ball: ThreatModel, options: argparse.Namespace) -> dict[str, Any]:
    """Both packages on the same images, on the whole suite and, if asked for, on each attack alone."""
    suites = {"autoattack": options.attacks}
    if options.alone:
        suites |= {name: (name,) for name in options.attacks}
    record: dict[str, Any] = {}
    for suite, names in suites.items():
        both: dict[str, Callable[..., Measured]] = {"ours": ours, "official": official}
        record[suite] = {
            package: asdict(run(model, images, ball, options.n, options.batch_size, names))
            for package, run in both.items()
        }
        for package, found in record[suite].items():
            print(f"{suite}, {package}: {100 * np.mean(found['robust']):.1f} %, {found['seconds']:.0f} s", flush=True)
    return record


def agreement(one: dict[str, Any], other: dict[str, Any]) -> float:
    return float(np.mean(np.equal(one["robust"], other["robust"])))


def rows(path: Path) -> list[str]:
    """Table lines of one record."""
    record = json.loads(path.read_text())
    found = []
    for suite, both in record["suites"].items():
        a, b = both["ours"], both["official"]
        robust = [100 * float(np.mean(m["robust"])) for m in (a, b)]
        found.append(
            f"| {record['data']}, {record['victim']} | {record['threat']} | {suite} | {record['n']} "
            f"| {robust[0]:.1f} % | {robust[1]:.1f} % | {100 * agreement(a, b):.1f} % "
            f"| {a['seconds']:.1f} | {b['seconds']:.1f} | {b['seconds'] / a['seconds']:.2f} "
            f"| {a['forward']:,} / {a['backward']:,} | {b['forward']:,} / {b['backward']:,} |"
        )
    return found


def write(out: Path, page: Path) -> None:
    """The Markdown page of all records in `out`."""
    records = sorted(out.glob("*.json"))
    described = {path: json.loads(path.read_text()) for path in records}
    made = next(iter(described.values()))["versions"]
    lines = [
        "# AutoAttack: ours and the authors'",
        "",
        (__doc__ or "").partition("\n")[0],
        "",
        "| victim | threat | attack | n | robust, ours | robust, pyautoattack | same verdict | s, ours "
        "| s, pyautoattack | times faster | passes f / b, ours | passes f / b, pyautoattack |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(line for path in records for line in rows(path)),
        "",
        "`autoattack` is the suite, each attack on what the ones before left; the other lines are attacks alone, on "
        "all examples. Seconds are processor seconds on one thread.",
        "",
        "Commands: " + "; ".join(sorted({f"`{record['command']}`" for record in described.values()})) + ".",
        "",
        "Made with " + ", ".join(f"{name} {value}" for name, value in made.items()) + ".",
    ]
    page.write_text("\n".join(lines) + "\n")


def victim(options: argparse.Namespace, name: str) -> nn.Module:
    folder = options.out / "victims" / f"{options.data}-{name}"
    if not folder.exists() or Run.open(folder).outcome == "unfinished":
        train(recipe(options.data, name, options.epochs), folder, resume=True)
    return Run.open(folder).load("last")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default="mnist", choices=["mnist", "cifar10"])
    parser.add_argument("--victims", nargs="+", default=["natural", "fgsm_rs", "pgd_at"])
    parser.add_argument("--attacks", nargs="+", default=ATTACKS)
    parser.add_argument("--norm", default="Linf")
    parser.add_argument("--eps", default="", help="by default 0.3 for mnist, 8/255 for cifar10")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--page", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    ball = threat(options.norm, options.eps or {"mnist": 0.3, "cifar10": "8/255"}[options.data])
    images = source(options.data).load("test")
    for name in options.victims:
        label = f"{options.data}-{name}-{ball.norm}-{ball.eps_text.replace('/', '_')}-{options.n}"
        path = options.out / f"{label}.json"
        if not path.exists():
            suites = compare(victim(options, name), images, ball, options)
            record = {
                "data": options.data,
                "victim": name,
                "threat": str(ball),
                "n": options.n,
                "suites": suites,
                "command": f"autoattack_parity.py --data {options.data} --norm {ball.norm} --eps {ball.eps_text} "
                f"--n {options.n}" + " --alone" * options.alone,
                "versions": versions("cpu"),
            }
            path.write_text(json.dumps(record))
    write(options.out, options.page)


if __name__ == "__main__":
    main()
