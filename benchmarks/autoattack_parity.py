"""Claim: our AutoAttack, and each of its attacks alone, gives the verdicts of the authors' code.

    pip install --no-deps --target <peers> pyautoattack==0.2.0
    HOLDFAST_DATA=<folder with mnist/ and cifar10/> PYTHONPATH=<peers> \\
        python benchmarks/autoattack_parity.py --out runs/parity --data mnist --n 1000 --alone

pyautoattack is the authors' code (fra31/auto-attack) as a package; it is no dependency of Holdfast. The script trains
the victims that are not trained yet (a natural, an FGSM-RS and a PGD-trained network) or loads one that somebody else
has trained (PATH.py:FUNCTION, as for `holdfast evaluate`), and has both packages attack the same first n test images.
What one package found with one attack is one file in <out>; what is there is not measured again, so after a change of
ours remove the files of ours (*-ours.json) and run the same command: it compares with the verdicts kept from theirs.
benchmarks/autoattack_parity.md is written from all files in <out>.

Ours searches in float32 here; benchmarks/precision_autoattack.md compares that with the cheaper passes that `evaluate`
takes where they are faster. A pass is one example through the model once. Seconds are processor seconds on one thread,
and are shown where both packages ran in the same process. `--seed` repeats with other random numbers, for the spread
that chance gives.
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import combinations, groupby, product
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
from holdfast.models import Architecture, PreActResNet18, WongCNN
from holdfast.models.foreign import loader
from holdfast.provenance import fingerprint, versions
from holdfast.recipe import SGD, Adam, OneCycle, Recipe
from holdfast.threat import Linf, ThreatModel, threat
from holdfast.training import Run, train

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
EPS = {"mnist": "0.3", "cifar10": "8/255"}
MODELS: dict[str, Architecture] = {
    "wong_cnn": WongCNN(),
    "preact_resnet18_16": PreActResNet18(width=16, mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616)),
}
SESSION = datetime.now(UTC).isoformat(timespec="microseconds")


def recipe(data: str, model: str, victim: str, epochs: int) -> Recipe:
    """Victims alike but for the method; short trainings, since parity and not accuracy is the question."""
    inner = FGSMRS(initial=Uniform(clip=data != "mnist"))
    methods: dict[str, Method] = {
        "natural": Natural(),
        "fgsm_rs": FGSMRSAT(inner=inner),
        "pgd_at": PGDAT(inner=PGD(steps=10, step_size=0.25)),
    }
    small = Recipe(
        method=methods[victim],
        threat=Linf(EPS[data]),
        data=source(data),
        model=MODELS[model],
        optimizer=Adam(lr=5e-3),
        schedule=OneCycle(peak=0.4),
        epochs=epochs,
        batch_size=128,
        eps_warmup=0.0 if victim == "natural" else 0.3,
        on_collapse="continue",
    )
    if data == "cifar10":
        small = replace(small, augment=(RandomCrop(padding=4), HorizontalFlip()))
    if model == "wong_cnn":
        return small
    return replace(small, optimizer=SGD(lr=0.1), precision="bfloat16", channels_last=True)


@dataclass(frozen=True)
class Case:
    """One measurement: who is attacked, with what, on what.

    Attributes:
        subject: the victim's name.
        attack: one of `ATTACKS`, or "autoattack" for all, each on what the ones before left.
    """

    subject: str
    threat: str
    n: int
    attack: str
    seed: int

    def path(self, folder: Path, package: str) -> Path:
        ball = self.threat.replace("/", "_").replace("(", "-").rstrip(")")
        return folder / f"{self.subject}-{ball}-{self.n}-{self.attack}-{self.seed}-{package}.json"

    @property
    def names(self) -> tuple[str, ...]:
        return ATTACKS if self.attack == "autoattack" else (self.attack,)


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


def official(model: nn.Module, images: ImageSet, ball: ThreatModel, case: Case, batch_size: int) -> Measured:
    """The authors' attacks."""
    counted = Counted(model.eval())
    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    suite = AutoAttack(counted, norm=ball.norm, eps=ball.eps, seed=case.seed, version="standard", device="cpu")
    suite.attacks_to_run = list(case.names)
    x, y = images.images[: case.n].float() / 255.0, images.labels[: case.n]
    since = time.process_time()
    _, prediction = suite.run_standard_evaluation(x, y, batch_size=batch_size)
    seconds = time.process_time() - since
    return Measured((prediction == y).tolist(), seconds, counted.forward, counted.backward)


def ours(model: nn.Module, images: ImageSet, ball: ThreatModel, case: Case, batch_size: int) -> Measured:
    """Holdfast's."""
    chosen = tuple(attack for attack in protocol("autoattack", ball).attacks if attack.name in case.names)
    since = time.process_time()
    found = evaluate(
        model,
        images,
        ball,
        Protocol("part", "1", chosen),
        n=case.n,
        seed=case.seed,
        batch_size=batch_size,
        precision="float32",
        with_curves=False,
        gallery=0,
        progress=False,
    )
    seconds = time.process_time() - since
    passes = found.passes.values()
    forward, backward = sum(p.forward for p in passes), sum(p.backward for p in passes)
    return Measured(found.verdicts.robust.tolist(), seconds, forward, backward)


PACKAGES = {"ours": ours, "official": official}


def measure(model: nn.Module, images: ImageSet, ball: ThreatModel, cases: Sequence[Case], options: Any) -> None:
    """Measure what is not kept yet, and keep it."""
    weights = fingerprint(model)[:16]
    for case, package in product(cases, options.packages):
        path = case.path(options.out, package)
        if path.exists():
            continue
        found = PACKAGES[package](model, images, ball, case, options.batch_size)
        told = {"package": package, "weights": weights, "session": SESSION, "versions": versions("cpu")}
        path.write_text(json.dumps({**asdict(case), **told, **asdict(found)}))
        print(f"{path.stem}: {100 * np.mean(found.robust):.1f} %, {found.seconds:.0f} s", flush=True)


def victims(options: argparse.Namespace, images: ImageSet) -> Iterator[tuple[str, nn.Module]]:
    """Name and network of each victim, trained here if it is one of ours and not trained yet."""
    for name in options.victims:
        if found := loader(name):
            yield f"{options.data}-{found[0]}", found[1](images.shape, len(images.classes))
            continue
        label = f"{options.data}-{options.model}-{name}"
        folder = options.out / "victims" / label
        if not folder.exists() or Run.open(folder).outcome == "unfinished":
            train(recipe(options.data, options.model, name, options.epochs), folder, resume=True, progress=False)
        yield label, Run.open(folder).load("last")


Record = dict[str, Any]


def same(pairs: Sequence[tuple[Record, Record]]) -> str:
    """Share of the examples on which both of a pair say the same, the mean over pairs."""
    if not pairs:
        return "—"
    return f"{100 * np.mean([np.equal(one['robust'], other['robust']).mean() for one, other in pairs]):.1f} %"


def row(records: Sequence[Record]) -> str | None:
    """Table line of what both packages found with one attack, over the seeds; None where one of them is missing."""
    mine, theirs = ([r for r in records if r["package"] == package] for package in PACKAGES)
    if not (mine and theirs):
        return None
    if len({r["weights"] for r in records}) > 1:
        raise SystemExit(f"records of {records[0]['subject']} are of different weights; remove the older ones")
    a, b = mine[0], theirs[0]
    robust = [" ".join(f"{100 * np.mean(r['robust']):.1f}" for r in found) for found in (mine, theirs)]
    together = a["session"] == b["session"]
    seconds = [f"{r['seconds']:.0f}" if together else "—" for r in (a, b)]
    passes = [f"{r['forward']:,} / {r['backward']:,}" for r in (a, b)]
    columns = (
        a["subject"],
        a["threat"],
        a["attack"],
        str(a["n"]),
        *robust,
        same(list(product(mine, theirs))),
        same(list(combinations(theirs, 2))),
        *seconds,
        *passes,
    )
    return "| " + " | ".join(columns) + " |"


def write(out: Path, page: Path) -> None:
    """The Markdown page of all records in `out`."""
    records = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    order = ["autoattack", *ATTACKS]
    records.sort(key=lambda r: (r["subject"], r["threat"], r["n"], order.index(r["attack"]), r["seed"]))
    groups = groupby(records, key=lambda r: (r["subject"], r["threat"], r["n"], r["attack"]))
    lines = [row(list(group)) for _, group in groups]
    made = {json.dumps(r["versions"]): r["versions"] for r in records}
    page.write_text(PAGE.format(rows="\n".join(filter(None, lines)), made=_made(list(made.values()))))


def _made(all_versions: Sequence[dict[str, str]]) -> str:
    """Versions, each with all its values."""
    names = dict.fromkeys(name for one in all_versions for name in one)
    values = {name: sorted({one[name] for one in all_versions if name in one}) for name in names}
    return ", ".join(f"{name} {' and '.join(found)}" for name, found in values.items())


PAGE = """# AutoAttack: ours and the authors'

Claim: our AutoAttack, and each of its attacks alone, gives the verdicts of the authors' code.

| victim | threat | attack | n | robust %, ours | robust %, pyautoattack | same verdict | pyautoattack, other seed \
| s, ours | s, pyautoattack | passes f / b, ours | passes f / b, pyautoattack |
|---|---|---|---|---|---|---|---|---|---|---|---|
{rows}

`autoattack` is the suite, each attack on what the ones before left; the other lines are attacks alone, on all examples.
Several robust accuracies in a cell are those of seeds 0, 1, …; "same verdict" is the mean over pairs of ours and \
theirs, and the column after it says how often pyautoattack agrees with itself under another seed.
Seconds are processor seconds on one thread, where both ran in one process; they and the passes are of seed 0.
Ours searched in float32; precision_autoattack.md compares that with cheaper passes. \
Victims named convex_adversarial are published networks (github.com/locuslab/convex_adversarial at 2cd8149, files in \
benchmarks/convex_adversarial.py); the others were trained by the script.

Commands: `python benchmarks/autoattack_parity.py --out runs/parity` with `--data`, `--model`, `--victims`, `--norm`, \
`--eps`, `--n` and `--seed` as in the table, and `--alone`.

Made with {made}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default="mnist", choices=sorted(EPS))
    parser.add_argument("--model", default="wong_cnn", choices=sorted(MODELS))
    parser.add_argument("--victims", nargs="*", default=["natural", "fgsm_rs", "pgd_at"])
    parser.add_argument("--packages", nargs="+", default=list(PACKAGES), choices=list(PACKAGES))
    parser.add_argument("--norm", default="Linf")
    parser.add_argument("--eps", default="", help="by default 0.3 for mnist, 8/255 for cifar10")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--alone", nargs="*", choices=ATTACKS, help="also these attacks by themselves; all if none named"
    )
    parser.add_argument("--no-suite", action="store_true", help="leave out the suite")
    parser.add_argument("--page", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    ball = threat(options.norm, options.eps or EPS[options.data])
    images = source(options.data).load("test")
    alone = () if options.alone is None else options.alone or ATTACKS
    attacks = [*([] if options.no_suite else ["autoattack"]), *alone]
    for label, model in victims(options, images):
        cases = [Case(label, str(ball), options.n, attack, options.seed) for attack in attacks]
        measure(model, images, ball, cases, options)
    write(options.out, options.page)


if __name__ == "__main__":
    main()
