"""Run the claims and write the page.

    HOLDFAST_DATA=<folder with mnist/> python -m benchmarks.claims mnist --out runs/claims-mnist
    HOLDFAST_DATA=<folder with mnist/> python -m benchmarks.claims mnist --out runs/claims-mnist --page-only

Goes on where it was stopped; several may run at once on the same folder. --page-only writes the page from whatever is
finished.
"""

import argparse
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from benchmarks.claims.claim import QUARTER, Setting
from benchmarks.claims.page import accuracies, page
from benchmarks.harness import device_of
from benchmarks.pictures import bars

from holdfast.comparison import Budget, compare
from holdfast.comparison.gather import gather
from holdfast.comparison.plan import Terms, resume
from holdfast.diagnostics.invariance import invariance_tests
from holdfast.evaluation import evaluate, protocol
from holdfast.files import write_atomically
from holdfast.report import write_comparison
from holdfast.results import Comparison
from holdfast.training import Run

SHIFTED = 1000  # test images of the invariance tests


def run(setting: Setting, out: Path, device: str | None) -> None:
    """Whatever is missing: first the main methods with all seeds, then the others."""
    options = {
        "attacks": "autoattack",
        "n": setting.n,
        "trials": setting.trials,
        "trial_share": setting.trial_share,
        "device": device,
    }
    for contenders, seeds in ((setting.main, setting.seeds), ((*setting.main, *setting.others), setting.seeds)):
        found = compare(contenders, setting.base(), setting.budget, out, seeds=seeds, **options)  # type: ignore[arg-type]
    shift(setting, found)
    weaken(setting, found)


def weaken(setting: Setting, found: Comparison) -> None:
    """The attacks at a quarter of eps that are missing."""
    images, threat = setting.base().data.load("test"), setting.base().threat
    threat = replace(threat, eps=threat.eps / 4)
    for entrant in found.measured:
        for cell in entrant.cells if entrant.label in setting.quarter else ():
            place = Path(cell.run) / QUARTER
            if cell.evaluation is None or place.exists():
                continue
            model = Run.open(cell.run).load("best")
            told = evaluate(model, images, threat, protocol("quick", threat), n=setting.n, with_curves=False, gallery=0)
            write_atomically(place, (json.dumps(told.verdicts.robust.tolist()) + "\n").encode())


def shift(setting: Setting, found: Comparison) -> None:
    """Invariance tests of every network that has none yet."""
    images = setting.base().data.load("test").subset(range(SHIFTED))
    for entrant in found.measured:
        for cell in entrant.cells:
            place = Path(cell.run) / "invariance.json"
            if cell.evaluation is None or place.exists():
                continue
            shifts = invariance_tests(Run.open(cell.run).load("best"), images)
            kinds = {kind: [rate.value for rate in shifts.of(kind).values()] for kind in shifts.kinds}
            told = {"mean": shifts.mean, "kinds": {kind: sum(v) / len(v) for kind, v in kinds.items()}}
            write_atomically(place, (json.dumps(told, indent=2) + "\n").encode())


def finished(setting: Setting, out: Path) -> Comparison:
    """What the folder holds."""
    base = setting.base()
    attacks = protocol("autoattack", base.threat)
    budget, device = Budget.parse(setting.budget), device_of(out)
    terms = Terms(base, budget, attacks, setting.n, setting.trials, setting.trial_share, device)
    return gather(out, resume(out, terms))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=["mnist", "mnist_fresh", "cifar10"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; what is there is not run again")
    parser.add_argument("--device")
    parser.add_argument("--page", type=Path, help="the page (default: benchmarks/claims_SETTING.md)")
    parser.add_argument("--page-only", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    setting: Setting = import_module(f"benchmarks.claims.{arguments.setting}").SETTING
    if not arguments.page_only:
        run(setting, arguments.out, arguments.device)
    found = finished(setting, arguments.out)
    place = arguments.page or Path(__file__).parents[1] / f"claims_{arguments.setting}.md"
    folder = setting.base().data.name
    name = arguments.setting
    command = f"HOLDFAST_DATA=<folder with {folder}/> python -m benchmarks.claims {name} --out runs/claims-{name}"
    place.write_text(page(setting, found, arguments.out, command, place.with_suffix(".svg").name))
    bars(accuracies(found), "% of test images", place.with_suffix(".svg"))
    write_comparison(found, arguments.out / "comparison.html")


if __name__ == "__main__":
    main()
