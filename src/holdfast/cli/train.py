"""`holdfast train`: from a method, a file or a run's folder to a trained model."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.layout import percent, say
from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from holdfast.recipe import Recipe
    from holdfast.training import Run

_EPILOG = """\
examples:
  holdfast train atlas --data mnist                          the recipe of the pair
  holdfast train pgd_at --data cifar10 --eps 8/255 --epochs 30 --set optimizer.lr=0.1
  holdfast train trades --data ./photos --recipe cifar10     your images, the recipe of others
  holdfast train atlas --data digits --set method.local_component=none
  holdfast train trades+awp --data cifar10 --set method.gamma=0.01 --set method.method.beta=3
  holdfast train my_method.py:my_recipe --out runs/mine      a function of yours that returns a Recipe
  holdfast train --resume runs/mine                          after a crash, a kill or Ctrl-C
  torchrun --nproc-per-node 2 -m holdfast train atlas --data cifar10

DATA is digits, mnist, cifar10, cifar100, a folder with train*.parquet and test*.parquet or with train/<class>/*.png, an
OWNER/NAME of the Hugging Face hub, or PATH.py:FUNCTION. MODEL is wong_cnn, madry_cnn, trades_cnn, mlp, preact_resnet18,
wide_resnet28_10, timm:NAME or PATH.py:FUNCTION. `holdfast recipes show DATA METHOD` lists the fields that --set takes.
"""
_FLAGS = ("model", "eps", "norm", "epochs", "batch_size", "seed", "precision", "on_collapse")
_FIELDS = {"eps": "threat.eps", "norm": "threat"}


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a classifier by a recipe",
        description="Train a classifier. The recipe of the method and the data decides everything that you do not.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("method", nargs="?", metavar="METHOD", help="as `holdfast methods` lists them, or PATH.py:NAME")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="go on with the run in this folder, bit for bit (in several processes: to rounding)",
    )
    common = parser.add_argument_group("the recipe and what to change in it")
    common.add_argument("--data", help="the images (see below)")
    common.add_argument("--recipe", metavar="DATA", help="take the recipe of another data set, e.g. mnist")
    common.add_argument("--model", help="the network (see below)")
    common.add_argument("--eps", help="radius of the threat model, e.g. 8/255 or 0.3; images lie in [0, 1]")
    common.add_argument("--norm", help="Linf, L2 or L1; needs --eps, because no radius suits two norms")
    common.add_argument("--epochs", help="passes over the training images, e.g. 30 or 2.5; schedules stretch with it")
    common.add_argument(
        "--budget", help="in place of --epochs what this buys: 90s, 5min, 2h or passes:20 (docs/comparing.md)"
    )
    common.add_argument("--batch-size", help="images in one optimizer step, over all processes")
    common.add_argument("--seed", help="of weights, order, augmentation and attacks")
    common.add_argument("--precision", help="of the passes: auto (the fastest by a trial), float32 or bfloat16")
    common.add_argument("--on-collapse", help="on catastrophic overfitting: stop, or continue")
    common.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="any other field, e.g. method.beta=3; repeat"
    )
    where = parser.add_argument_group("where")
    where.add_argument("--out", type=Path, metavar="RUN", help="new folder (default: runs/DATA-METHOD-sSEED)")
    where.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: an accelerator if there is one)")
    where.add_argument("--tensorboard", action="store_true", help="also write TensorBoard's files")
    where.add_argument("--profile", action="store_true", help="write a trace of some steps (trace.json)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, or go on training."""
    if options.resume is not None:
        recipe, out = _resumed(options), options.resume
    else:
        recipe, out = _chosen(options)
    return _train(recipe, out, options)


def _resumed(options: argparse.Namespace) -> "Recipe":
    from holdfast.training import load_recipe

    given = [name for name in ("method", "data", "recipe", "budget", *_FLAGS, "set", "out") if getattr(options, name)]
    if given:
        names = ", ".join("METHOD" if name == "method" else f"--{name.replace('_', '-')}" for name in given)
        raise InvalidInput(
            f"--resume goes on with {options.resume} as it was begun, so {names} cannot be changed; leave it out, or "
            "start a new run"
        )
    return load_recipe(options.resume)


def _chosen(options: argparse.Namespace) -> "tuple[Recipe, Path]":
    """The recipe with the changes of the flags, and where its run goes."""
    from holdfast.cli.choose import begin
    from holdfast.recipe.codec import differences
    from holdfast.recipe.override import override

    if options.method is None:
        raise InvalidInput("say what to train, e.g. holdfast train atlas --data digits, or --resume RUN")
    base, name, why = begin(options.method, options.data, options.recipe)
    if options.norm is not None and options.eps is None:
        raise InvalidInput(f"--norm {options.norm} needs --eps, because {base.threat} says nothing about other norms")
    flags = [f"{_FIELDS.get(flag, flag)}={getattr(options, flag)}" for flag in _FLAGS if getattr(options, flag)]
    recipe = _within(override(base, [*flags, *options.set]), options)
    out = options.out or Path("runs") / f"{recipe.data.name}-{name}-s{recipe.seed}"
    say(f"recipe   {why}")
    for number, line in enumerate(differences(base, recipe)):
        say(f"{'' if number else 'changed':<9}{line}")
    return recipe, out


def _within(recipe: "Recipe", options: argparse.Namespace) -> "Recipe":
    """The recipe with the length that --budget buys."""
    from dataclasses import replace

    from holdfast.cli.choose import device
    from holdfast.recipe.sources import changed
    from holdfast.training.budget import Budget, fit

    if options.budget is None:
        return recipe
    if options.epochs:
        raise InvalidInput(f"--budget {options.budget} decides the epochs; leave --epochs {options.epochs} out")
    budget = Budget.parse(options.budget)
    fitted = fit(recipe, budget, device(options.device))
    sources = changed(fitted.sources, "epochs", f"{recipe.epochs:g}")
    return replace(fitted, sources=sources | {"epochs": f"what a budget of {budget} buys; {sources['epochs']}"})


def _train(recipe: "Recipe", out: Path, options: argparse.Namespace) -> int:
    from holdfast.cli.choose import device
    from holdfast.training import train

    say(f"run      {out}")
    try:
        done = train(
            recipe,
            out,
            device=device(options.device),
            resume=options.resume is not None,
            tensorboard=options.tensorboard,
            profile=options.profile,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"go on with: holdfast train --resume {out}") from None
    _summarise(done)
    return 0 if done.outcome == "finished" else 1


def _summarise(done: "Run") -> None:
    if done.best:
        clean, robust = (percent(done.best[name]) for name in ("clean_accuracy", "robust_accuracy"))
        say(f"best     epoch {done.best['epoch'] + 1}: clean {clean}, robust {robust} of the held-out training images")
    if done.outcome != "finished":
        say(f"outcome  {done.outcome}")
    say(f"next     holdfast evaluate {done.folder} --attacks quick")
