"""ATLAS taken apart: its components alone and both, its weights, and other components, on images kept back.

    HOLDFAST_DATA=<folder with mnist/> python -m benchmarks.atlas_ablations --out runs/atlas-ablations
    HOLDFAST_DATA=<folder with mnist/> python -m benchmarks.atlas_ablations --out runs/atlas-ablations --page-only

For looking for better components, so it must not look at test images: the last 10,000 training images of MNIST stand
in for them. All rows have the same passes for each training image (a component that costs a pass is paid with
epochs), and are attacked by APGD on cross-entropy, on DLR, and Square with 1,000 queries. Built on
`holdfast.compare`: resumable, and several may run at once on the same folder. --page-only writes the pages from
whatever is finished.
"""

import argparse
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.atlas_candidates import JacobianAtAdversary, MarginPoint, Neighbours, Remembered, ToTheBoundary
from benchmarks.harness import commits, device_of, machines
from benchmarks.pictures import line_chart, sheet

from holdfast.attacks import APGD, DLR, FGSMRS, NFGSM, PGD, Square, Uniform
from holdfast.comparison import Budget, Contender, compare
from holdfast.comparison.gather import gather
from holdfast.comparison.plan import Terms, resume
from holdfast.data import ImageSet, source
from holdfast.evaluation import Protocol
from holdfast.methods import (
    ATLAS,
    FGSMRSAT,
    PGDAT,
    GlobalComponent,
    GradientPenalty,
    LinearisedMargin,
    Method,
    Natural,
    WorstPoint,
)
from holdfast.models import WongCNN
from holdfast.recipe import Adam, OneCycle, Recipe
from holdfast.report.charts import Axis
from holdfast.results import Comparison, Entrant
from holdfast.threat import Linf

KEPT = 10_000
PASSES = 12  # for each training image: 3 epochs of ATLAS
JUDGE = Protocol("ablation", "1", (APGD(), APGD(criterion=DLR()), Square(queries=1000)))
ONE_STEP = FGSMRS(initial=Uniform(clip=False))
RHOS = (1 / 3, 2 / 3, 4 / 3)
BETAS = (0.25, 1.0, 4.0)
# Double back-propagation wants float32.
TWICE = ("precision=float32",)


@dataclass(frozen=True)
class Development:
    """MNIST's training images alone; the last of them in place of the test split."""

    name: str = "mnist-development"

    def load(self, split: str) -> ImageSet:
        """Read a split."""
        images = source("mnist").load("train")
        first = len(images) - KEPT
        return images.subset(range(first) if split == "train" else range(first, len(images)))


def whole(beta: float = 1.0) -> GlobalComponent:
    """The global component whose p(x) is differentiated, in a pass of its own."""
    return GlobalComponent(beta=beta, anchored=False)


def atlas(rho: float = 2 / 3, beta: float = 1.0) -> Method:
    """Both components, the global one whole, with one number changed."""
    return ATLAS(ONE_STEP, WorstPoint(rho=rho), whole(beta))


WHOLE = "both, clean pass differentiated"
COMPONENTS: Mapping[str, Method] = {
    "neither (one-step ADV)": FGSMRSAT(inner=ONE_STEP),
    "local only": ATLAS(ONE_STEP, WorstPoint(), None),
    "global only": ATLAS(ONE_STEP, None, whole()),
    "both (ATLAS)": ATLAS(ONE_STEP, WorstPoint(), GlobalComponent()),
    WHOLE: atlas(),
    "control: PGD-3 ADV": PGDAT(inner=PGD(steps=3, step_size=0.5)),
}
SHORT = ("neither", "local", "global", "both", "both, whole", "PGD-3")  # their names on the picture
BY_RHO = {f"rho {rho:.3g}": atlas(rho=rho) for rho in RHOS if rho != 2 / 3}
BY_BETA = {f"beta {beta:g}": atlas(beta=beta) for beta in BETAS if beta != 1.0}
CANDIDATES: Mapping[str, Method] = {
    "local: second look along the margin": ATLAS(ONE_STEP, MarginPoint(), whole()),
    "along the margin, beta 0.25": ATLAS(ONE_STEP, MarginPoint(), whole(0.25)),
    "along the margin, local only": ATLAS(ONE_STEP, MarginPoint(), None),
    "local: radius of margin over gradient": ATLAS(ONE_STEP, ToTheBoundary(rho=1.0), whole()),
    "local: gradient penalty at x'": ATLAS(ONE_STEP, GradientPenalty(), whole(), together=False),
    "local: linearised margin at x'": ATLAS(ONE_STEP, LinearisedMargin(), whole(), together=False),
    "gradient penalty at x', local only": ATLAS(ONE_STEP, GradientPenalty(), None),
    "linearised margin at x', local only": ATLAS(ONE_STEP, LinearisedMargin(), None),
    "Jacobian projection at x', weight 0.01": JacobianAtAdversary(ONE_STEP, 0.01),
    "Jacobian projection at x', weight 0.1": JacobianAtAdversary(ONE_STEP, 0.1),
    "global: between two neighbours": Neighbours(inner=ONE_STEP),
    "p(x) not differentiated, beta 1": ATLAS(ONE_STEP, WorstPoint(), GlobalComponent(beta=1.0)),
    "adversary: N-FGSM": ATLAS(NFGSM(), WorstPoint(), whole()),
    "adversary: remembered": Remembered(ONE_STEP, WorstPoint(), whole()),
}
ALL = {**COMPONENTS, **CANDIDATES, **BY_RHO, **BY_BETA}


def base() -> Recipe:
    """What all share."""
    return Recipe(
        method=Natural(),
        threat=Linf(0.3),
        data=Development(),
        model=WongCNN(),
        optimizer=Adam(lr=5e-3),
        schedule=OneCycle(peak=0.4),
        epochs=1,
        batch_size=128,
        eps_warmup=0.3,
        precision="bfloat16",
        channels_last=False,
        compile=False,
    )


def finished(out: Path, n: int) -> Comparison:
    """What the folder holds."""
    found = resume(out, Terms(base(), Budget(PASSES, "passes"), JUDGE, n, 0, 1.0, device_of(out)))
    return gather(out, found)


def _points(
    found: Comparison, values: tuple[float, ...], own: float, word: str
) -> dict[float, tuple[float, float, float]]:
    """Robust accuracy in per cent with its interval, by a weight's value."""
    of = {entrant.label: entrant.robust for entrant in found.measured}
    labels = {value: WHOLE if value == own else f"{word} {value:.3g}" for value in values}
    known = {value: estimate for value, label in labels.items() if (estimate := of.get(label)) is not None}
    return {value: (100 * e.mean, 100 * e.low, 100 * e.high) for value, e in known.items()}


def draw(found: Comparison, path: Path) -> None:
    """Robust accuracy by component, by rho and by beta."""
    of = {entrant.label: entrant.robust for entrant in found.measured}
    parts = {
        SHORT[place]: {float(place): (100 * e.mean, 100 * e.low, 100 * e.high)}
        for place, label in enumerate(COMPONENTS)
        if (e := of.get(label)) is not None
    }
    charts = []
    if parts:
        chart = line_chart("components", "", "robust accuracy, %", parts, logarithmic=False)
        charts.append(replace(chart, x=Axis("", -0.5, len(SHORT) - 0.5, names=SHORT)))
    for word, values, own in (("rho", RHOS, 2 / 3), ("beta", BETAS, 1.0)):
        points = _points(found, values, own, word)
        if points:
            charts.append(
                line_chart(
                    word, word, "robust accuracy, %", {"both, clean pass differentiated": points}, logarithmic=False
                )
            )
    # Accuracies that lie close together are seen apart.
    charts = [replace(chart, y=replace(chart.y, low=_floor(chart.series), high=100.0)) for chart in charts]
    sheet(charts, path)


def _floor(series: tuple[object, ...]) -> float:
    lows = [low for one in series for low in one.low]  # type: ignore[attr-defined]
    return max(0.0, 10.0 * (min(lows) // 10.0))


def _line(entrant: Entrant) -> str:
    assert entrant.robust is not None
    assert entrant.clean is not None
    collapsed = sum(cell.outcome == "collapse" for cell in entrant.cells)
    cells = [
        entrant.label,
        f"{100 * entrant.clean.mean:.1f}",
        f"{100 * entrant.robust.mean:.1f}",
        f"[{100 * entrant.robust.low:.1f}, {100 * entrant.robust.high:.1f}]",
        " · ".join(f"{100 * value:.1f}" for value in entrant.robust.values),
        f"{entrant.passes:.3g}",
        f"{entrant.epochs:g}",
        f"{entrant.seconds('cpu_seconds'):.0f}",
        f"{collapsed} collapsed" if collapsed else "",
    ]
    return f"| {' | '.join(cells)} |"


def page(found: Comparison, n: int, out: Path) -> str:
    """The Markdown page."""
    order = {label: place for place, label in enumerate(ALL)}
    rows = sorted(found.measured, key=lambda entrant: order.get(entrant.label, len(order)))
    missing = [label for label in ALL if label not in {entrant.label for entrant in rows}]
    apart = [
        pair
        for pair in found.pairs("robust")
        if pair.differs and "both (ATLAS)" in (pair.first.label, pair.second.label)
    ]
    lines = [
        f"- {p.first.label} over {p.second.label}: {100 * p.found.difference:+.1f} points, p {p.p:.2g}" for p in apart
    ]
    attacks = ", ".join(attack.name for attack in JUDGE.attacks)
    told = f"""MNIST, Linf 0.3, small CNN of Wong et al., Adam one-cycle, batch 128, {PASSES} passes for each training
        image whatever a step costs, bfloat16. {n:,} of the last {KEPT:,} training images, kept back from training,
        stand in for test images, which no row has met; attacked by {attacks}. In brackets the 95 % interval over
        seeds and examples, then each seed.
        {machines(out, "runs/*/recipe.json")}, trained at {commits(out, "runs/*/recipe.json")}."""
    head = "| row | clean | robust | | each seed | passes a step | epochs | processor s | |"
    return "\n".join(
        [
            "# ATLAS taken apart",
            "",
            "    HOLDFAST_DATA=<folder with mnist/> python -m benchmarks.atlas_ablations --out runs/atlas-ablations",
            "",
            textwrap.fill(" ".join(told.split()), 118),
            "",
            "![robust accuracy by component, by rho and by beta](atlas_ablations.svg)",
            "",
            head,
            "|---|---|---|---|---|---|---|---|---|",
            *map(_line, rows),
            "",
            *([f"Not run: {', '.join(missing)}.", ""] if missing else []),
            "Beyond noise, Holm's correction over all pairs, against both components together:",
            "",
            *(lines or ["- nothing"]),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; what is there is not run again")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--device")
    parser.add_argument("--page", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--page-only", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    if not arguments.page_only:
        contenders = [
            Contender(label, method, changes=TWICE if method.differentiates_twice else ())
            for label, method in ALL.items()
        ]
        terms = {"attacks": JUDGE, "n": arguments.n, "device": arguments.device}
        compare(contenders, base(), Budget(PASSES, "passes"), arguments.out, seeds=range(arguments.seeds), **terms)
    found = finished(arguments.out, arguments.n)
    arguments.page.write_text(page(found, arguments.n, arguments.out))
    draw(found, arguments.page.with_suffix(".svg"))


if __name__ == "__main__":
    main()
