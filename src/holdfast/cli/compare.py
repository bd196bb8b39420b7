"""`holdfast compare`: train methods to the same budget, evaluate all alike, write a page."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.layout import percent, say, table
from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from holdfast.comparison import Contender
    from holdfast.recipe import Recipe
    from holdfast.results import Comparison, Entrant

_EPILOG = """\
examples:
  holdfast compare atlas fgsm_rs pgd_at trades --data mnist --budget 5min --seeds 0,1,2 --out cmp/
  holdfast compare atlas pgd_at --data digits --budget passes:100 --out cmp/ --tune 10
  holdfast compare pgd3=pgd_at,method.inner.steps=3 --data digits --budget passes:100 --out cmp/    another one joins
  holdfast compare mine.py:Mine atlas --data cifar10 --model preact_resnet18 --budget 2h --out cmp/

A METHOD is a name of `holdfast methods` with the numbers of its own recipe for DATA, or PATH.py:NAME. NAME=METHOD gives
it a label; ,FIELD=VALUE changes the method or, for it alone, the common recipe; ,budget=2 gives it twice the budget.
All share one recipe: that of --base, in which only the method is exchanged. docs/comparing.md says what that means.

What was killed goes on when the same command is given again. Methods and seeds may be added later; data, recipe, budget
and attacks may not be changed; --tune may be raised until the first final run begins. Several processes may work on one
folder: start the same command again beside the first.
"""
_FLAGS = ("model", "eps", "norm", "batch_size", "precision")
_FIELDS = {"eps": "threat.eps", "norm": "threat"}
PAGE = "comparison.html"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="train methods to the same budget and compare them",
        description="Train each method to the same budget with each seed, evaluate all alike, and write a page: "
        "accuracies with intervals over seeds, their course, cost, and what differs beyond noise.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("methods", nargs="+", metavar="METHOD", help="[LABEL=]METHOD[,FIELD=VALUE...] (see below)")
    parser.add_argument("--data", required=True, help="the images; as for `holdfast train`")
    parser.add_argument("--budget", required=True, help="of each training: 90s, 5min, 2h, passes:20 or epochs:5")
    parser.add_argument("--seeds", default="0,1,2", type=_seeds, help="of the trainings (default: 0,1,2)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of the page")
    measured = parser.add_argument_group("the evaluation")
    measured.add_argument("--attacks", default="quick", metavar="PROTOCOL", help="as for `holdfast evaluate`")
    measured.add_argument("--n", "-n", type=int, help="the first N test images (default: all)")
    measured.add_argument(
        "--search-precision", default="auto", help="of the attacks; --precision of `holdfast evaluate`"
    )
    common = parser.add_argument_group("the recipe that all share")
    common.add_argument(
        "--base", default="atlas", metavar="METHOD", help="whose recipe, or PATH.py:NAME (default: atlas)"
    )
    common.add_argument("--recipe", metavar="DATA", help="take the recipes of another data set, e.g. mnist")
    common.add_argument("--model", help="the network; as for `holdfast train`")
    common.add_argument("--eps", help="radius of the threat model, e.g. 8/255")
    common.add_argument("--norm", help="Linf, L2 or L1; needs --eps")
    common.add_argument("--batch-size", help="images in one optimizer step")
    common.add_argument("--precision", help="of the trainings' passes: float32, bfloat16 or auto")
    common.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="any other field; repeat")
    tuned = parser.add_argument_group("hyper-parameters")
    tuned.add_argument(
        "--tune", type=int, default=0, metavar="N", help="search each method's own in N trials, on held-out images"
    )
    tuned.add_argument(
        "--tune-share", type=float, default=1.0, metavar="X", help="of the budget for a trial (default: 1)"
    )
    parser.add_argument("--device", help="cpu, cuda, ... (default: an accelerator if there is one)")
    parser.set_defaults(run=run)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds; write 0,1,2") from None


def run(options: argparse.Namespace) -> int:
    """Compare, write the page, and print what stands on it."""
    from holdfast.cli.choose import device
    from holdfast.comparison import compare
    from holdfast.report import write_comparison

    base = _base(options)
    contenders = [_contender(text, options, base) for text in options.methods]
    try:
        found = compare(
            contenders,
            base,
            options.budget,
            options.out,
            seeds=options.seeds,
            attacks=options.attacks,
            n=options.n,
            trials=options.tune,
            trial_share=options.tune_share,
            search_precision=options.search_precision,
            device=device(options.device),
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from here") from None
    page = write_comparison(found, options.out / PAGE)
    say(_summary(found))
    say(f"\npage     {page.resolve()}")
    return 0


def _base(options: argparse.Namespace) -> "Recipe":
    """The recipe that all share."""
    from holdfast.cli.choose import begin
    from holdfast.recipe.codec import differences
    from holdfast.recipe.override import override

    found, _, why = begin(options.base, options.data, options.recipe)
    if options.norm is not None and options.eps is None:
        raise InvalidInput(f"--norm {options.norm} needs --eps, because {found.threat} says nothing about other norms")
    flags = [f"{_FIELDS.get(flag, flag)}={getattr(options, flag)}" for flag in _FLAGS if getattr(options, flag)]
    recipe = override(found, [*flags, *options.set])
    say(f"recipe   {why}")
    for number, line in enumerate(differences(found, recipe)):
        say(f"{'' if number else 'changed':<9}{line}")
    return recipe


def _contender(text: str, options: argparse.Namespace, base: "Recipe") -> "Contender":
    """Read [LABEL=]METHOD[,FIELD=VALUE...]."""
    from dataclasses import replace

    from holdfast.cli.choose import method
    from holdfast.comparison import Contender
    from holdfast.recipe.override import override

    name, *fields = text.split(",")
    label, named, what = name.rpartition("=")
    found, source = method(what, options.data, options.recipe)
    shares = [field.partition("=")[2] for field in fields if field.startswith("budget=")]
    own = [field for field in fields if field.startswith("method.")]
    changes = tuple(field for field in fields if field not in own and not field.startswith("budget="))
    changed = override(replace(base, method=found), own).method
    source = f"{source}; changed: {', '.join(own)}" if own else source
    try:
        share = float(shares[-1]) if shares else 1.0
    except ValueError:
        raise InvalidInput(f"budget={shares[-1]} of {text} is no number; write budget=2 for twice the budget") from None
    return Contender(label if named else text, changed, share, changes, source)


def _summary(found: "Comparison") -> str:
    rows = [_row(entrant, found) for entrant in found.measured]
    rows += [(e.label, "-", "-", *_cost(e, found)) for e in found.entrants if not e.evaluations]
    headers = ("method", "clean", f"robust ({found.attacks})", "epochs", "seconds", "runs")
    lines = [f"{found.data}, {found.budget} of training for each run", "", table(rows, headers), ""]
    pairs = [pair for pair in found.pairs("robust") if pair.differs]
    lines += [f"{p.first.label} is more robust than {p.second.label} (p = {p.p:.2g}, corrected)" for p in pairs]
    return "\n".join(
        [*lines, "no other difference in robust accuracy is beyond noise" if len(rows) > 1 else ""]
    ).rstrip()


def _row(entrant: "Entrant", found: "Comparison") -> tuple[str, ...]:
    assert entrant.clean is not None
    assert entrant.robust is not None
    told = (f"{percent(e.mean)} ({percent(e.low)} to {percent(e.high)})" for e in (entrant.clean, entrant.robust))
    return (entrant.label, *told, *_cost(entrant, found))


def _cost(entrant: "Entrant", found: "Comparison") -> tuple[str, str, str]:
    ends = [cell.outcome for cell in entrant.cells]
    other = [f"{ends.count(word)} {word}" for word in dict.fromkeys(ends) if word != "finished"]
    seconds = f"{entrant.seconds(found.clock):.1f}"
    return f"{entrant.epochs:g}", seconds, ", ".join([f"{ends.count('finished')} finished", *other])
