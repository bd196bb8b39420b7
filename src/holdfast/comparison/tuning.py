"""The search for a method's hyper-parameters: the same number of trials for each, on held-out training images.

A trial is an ordinary run with the first of the seeds, given the budget of the comparison or a share of it. Its score
is the accuracy of its best weights on the held-out images under APGD on two losses, 20 steps each: a stronger attack
than the one that chooses checkpoints, and the same for all methods. The first trial has the recipe's own numbers; the
others are proposed by Optuna's tree-structured Parzen estimator (extra `tune`) from the trials before, with random
numbers of the trial's own, so that a search that was killed goes on as if it had not been.
The test split is never looked at.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.attacks import APGD, DLR
from holdfast.comparison.plan import Entry, Plan
from holdfast.comparison.runs import recipe_of, train_run
from holdfast.comparison.tunables import tunables
from holdfast.data import open_split
from holdfast.errors import MissingExtra
from holdfast.evaluation import Protocol, evaluate
from holdfast.files import write_atomically
from holdfast.noise import stream_seed
from holdfast.recipe import Recipe
from holdfast.training import Run

TUNING, TRIAL = "tuning", "trial.json"
JUDGE = Protocol("tuning", "1", (APGD(steps=20), APGD(steps=20, criterion=DLR())))

Values = dict[str, str]  # by the path of a field, as --set takes them


def check_extra() -> None:
    """Refuse a search before anything is trained for it.

    Raises:
        MissingExtra: Optuna is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtra("the search for hyper-parameters needs Optuna: pip install 'holdfast[tune]'") from error


def chosen(folder: Path, plan: Plan, entry: Entry) -> Values | None:
    """What the search chose for a method, the first of equals; None while it is not over."""
    if not plan.terms.trials:
        return {}
    trials = _finished(folder, plan, entry)
    if len(trials) < plan.terms.trials:
        return None
    best: Values = max(trials, key=lambda trial: float(trial["score"]))["values"]
    return best


def tune(folder: Path, plan: Plan, entry: Entry, device: str, progress: bool) -> None:
    """Make the trials that are still missing."""
    while len(trials := _finished(folder, plan, entry)) < plan.terms.trials:
        place = _place(folder, entry, len(trials))
        values = _propose(entry.contender.label, recipe_of(plan, entry, plan.seeds[0], {}), trials)
        recipe = recipe_of(plan, entry, plan.seeds[0], values)
        recipe = replace(recipe, epochs=recipe.epochs * plan.terms.trial_share)
        how = train_run(recipe, place / "run", device, progress)
        trial = {"values": values, "score": _score(recipe, place / "run", device, progress), "outcome": how}
        write_atomically(place / TRIAL, (json.dumps(trial, indent=2) + "\n").encode())


def tuning_folder(folder: Path, entry: Entry) -> Path:
    """Where the trials of a method lie."""
    return folder / TUNING / entry.contender.slug


def _place(folder: Path, entry: Entry, number: int) -> Path:
    return tuning_folder(folder, entry) / f"{number:03d}"


def _finished(folder: Path, plan: Plan, entry: Entry) -> list[dict[str, Any]]:
    places = [_place(folder, entry, number) / TRIAL for number in range(plan.terms.trials)]
    return [json.loads(place.read_bytes()) for place in places if place.exists()]


def _score(recipe: Recipe, run: Path, device: str, progress: bool) -> float:
    """Accuracy on the held-out images; a training that diverged before its first epoch's end is worth nothing."""
    opened = Run.open(run)
    if not opened.best:
        return 0.0
    _, held_out = open_split(recipe.data, "train").split_holdout(recipe.holdout, recipe.seed)
    found = evaluate(
        opened.load("best"),
        held_out,
        recipe.threat,
        JUDGE,
        split="held-out",
        device=device,
        folder=run / "evaluations" / "held-out",
        with_curves=False,
        gallery=0,
        progress=progress,
    )
    return found.verdicts.robust_accuracy


def _propose(label: str, recipe: Recipe, trials: list[dict[str, Any]]) -> Values:
    """The values of the next trial; none for the first, which has the recipe's own."""
    if not trials:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranges = tunables(recipe)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        path: optuna.distributions.FloatDistribution(low, high, log=True) for path, (low, _, high) in ranges.items()
    }
    # A function of the method and the trial's number alone, so that a search goes on after a kill as it would have. By
    # the number alone the trials that are drawn at random, which Optuna's first are, would lie at the same place of
    # every method's ranges. Optuna takes 32 bits.
    seed = stream_seed(*label.encode(), len(trials)) % 2**32
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=3)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in trials:
        # What stands in four digits may lie beyond the end that it was rounded at.
        values = {
            path: min(max(float(trial["values"].get(path, own)), low), high)
            for path, (low, own, high) in ranges.items()
        }
        study.add_trial(optuna.trial.create_trial(params=values, distributions=space, value=float(trial["score"])))
    asked = study.ask(space).params
    return {path: f"{min(max(asked[path], low), high):.4g}" for path, (low, _, high) in ranges.items()}
