"""`holdfast diagnose`: look at what lies under a model's accuracy, and write it down for the report."""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.folders import DIAGNOSTICS
from holdfast.cli.layout import percent, say, table
from holdfast.cli.measuring import add_options, label

if TYPE_CHECKING:
    from holdfast.cli.subject import Subject
    from holdfast.results import Diagnostics, Shifts

_EPILOG = """\
diagnostics:
  linearity    how far the loss is from its tangent within eps (LLR's gamma)
  surface      loss and prediction on a plane through four images, drawn by `holdfast report`
  alignment    cosine of the loss gradient at an image with that at other points of its ball
  features     how far the adversary moves the features, layer by layer, and how compact the classes are
  invariance   accuracy under rotation, light, colour, blur and noise
  corruptions  accuracy under common corruptions, five severities

examples:
  holdfast diagnose runs/mine                                 all of them, on 100 test images
  holdfast diagnose runs/mine --which linearity,surface --n 500 --eps 8/255
  holdfast diagnose my_model.py:net --data cifar10 --eps 8/255
  holdfast report runs/mine                                   shows what was found

None of these numbers is a robust accuracy: docs/diagnostics.md says how to read each.
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "diagnose",
        help="look at a model's loss surface, gradients, features and shifts",
        description="Measure what explains an accuracy under attack: how linear the loss is, where its gradients "
        "point, what happens layer by layer, and what harmless changes of the images cost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="the folder of a run, or what else `holdfast evaluate` takes")
    parser.add_argument("--which", metavar="NAMES", help="some of the diagnostics, with commas (default: all)")
    parser.add_argument("--n", "-n", type=int, default=100, help="the first N test images (default: 100)")
    add_options(parser)
    parser.add_argument("--batch-size", type=int, default=256, help="images in a batch (default: 256)")
    parser.add_argument("--corrupted", type=Path, metavar="FOLDER", help="the published CIFAR-10-C, in place of ours")
    parser.add_argument("--out", type=Path, help="folder of the result (default: below the run, diagnostics/...)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Diagnose, save, print."""
    from holdfast.cli.choose import device
    from holdfast.cli.subject import find
    from holdfast.diagnostics import ALL, diagnose

    subject = find(options)
    found = diagnose(
        subject.model,
        subject.images,
        subject.threat,
        which=_asked(options) if options.which else ALL,
        n=options.n,
        seed=options.seed,
        device=device(options.device),
        batch_size=options.batch_size,
        corrupted=options.corrupted,
        name=subject.name,
        run=subject.run,
        command=shlex.join(options.command_line),
    )
    out = options.out or _folder(options, subject)
    found.save(out)
    if options.json:
        say(json.dumps(found.to_json(), indent=2))
    else:
        say(_summary(found))
        say(f"\nresult    {out}\nnext      holdfast report {subject.run or out} --out report.html")
    return 0


def _asked(options: argparse.Namespace) -> list[str]:
    return [name.strip() for name in options.which.split(",")]


def _folder(options: argparse.Namespace, subject: "Subject") -> Path:
    """Below the run, with a name that tells diagnostics of one model apart."""
    parts = [label(options, subject.threat), *(_asked(options) if options.which else ())]
    parts += [options.corrupted.name] if options.corrupted else []
    above = Path(subject.run) / DIAGNOSTICS if subject.run else Path(DIAGNOSTICS) / subject.folder.name
    return above / "-".join(parts)


def _summary(found: "Diagnostics") -> str:
    rows = [*_slopes(found), *_features(found)]
    for name, shifts in (("invariance", found.invariance), ("corruptions", found.corruptions)):
        if shifts is not None:
            rows += _shifts(name, shifts)
    rows += [(name, "not done", reason) for name, reason in found.skipped.items()]
    return "\n".join(
        [
            f"{found.model} on {found.data.name}, {found.threat.norm} {found.threat.eps_text}, seed {found.seed}, "
            f"{found.n} examples, {found.seconds:.0f} s",
            "",
            table(rows, ("diagnostic", "number", "value")),
        ]
    )


def _slopes(found: "Diagnostics") -> list[tuple[str, str, str]]:
    from holdfast.report.text import significant

    rows = []
    if (gap := found.linearity) is not None:
        rows += [
            ("linearity", "gamma, mean", significant(gap.mean)),
            ("linearity", "gamma, 95th percentile", significant(gap.p95)),
        ]
    if (plane := found.surface) is not None:
        kept = (plane.prediction == plane.label[:, None, None]).mean()
        rows.append(("surface", "points still right", f"{percent(kept)} around {len(plane.label)} examples"))
    if (cosine := found.alignment) is not None:
        rows += [
            ("alignment", "cosine, uniform point", significant(cosine.mean_uniform)),
            ("alignment", "cosine, adversary", significant(cosine.mean_adversarial)),
            ("alignment", "vanished gradients", f"{cosine.vanished} of {len(cosine.uniform)}"),
        ]
    return rows


def _features(found: "Diagnostics") -> list[tuple[str, str, str]]:
    from holdfast.report.text import significant

    rows = []
    if (moved := found.divergence) is not None:
        ends = " -> ".join(f"{significant(moved.l2[i])} ({moved.layers[i]})" for i in (0, -1))
        rows.append(("features", "relative L2 distance", ends))
    if (compact := found.compactness) is not None:
        ratios = zip(compact.pairs, compact.ratio, strict=True)
        rows += [("features", f"within / between, {pair}", significant(ratio)) for pair, ratio in ratios]
    return rows


def _shifts(name: str, shifts: "Shifts") -> list[tuple[str, str, str]]:
    worst = min(shifts.shifts, key=lambda shift: shift.correct, default=None)
    rows = [(name, "accuracy, unchanged", percent(shifts.clean_accuracy.value))]
    if worst is not None:
        least = percent(worst.correct / shifts.n)
        rows += [
            (name, "accuracy, mean", percent(shifts.mean)),
            (name, "accuracy, lowest", f"{least} ({worst.kind}, {worst.level})"),
        ]
    return rows
