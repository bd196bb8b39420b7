"""`compare`: train methods to the same budget, evaluate all alike, and say what differs beyond noise."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from holdfast.comparison.contender import Contender
from holdfast.comparison.gather import gather
from holdfast.comparison.locks import held
from holdfast.comparison.plan import Entry, Plan, Terms, check_trials, resume
from holdfast.comparison.runs import ENDED, evaluate_run, evaluation_folder, outcome, recipe_of, run_folder, train_run
from holdfast.comparison.tuning import check_extra, chosen, tune, tuning_folder
from holdfast.data import Split, open_split
from holdfast.data.imageset import counted
from holdfast.errors import InvalidInput
from holdfast.evaluation import Protocol, protocol
from holdfast.evaluation.precision import EvaluationPrecision
from holdfast.methods import Method
from holdfast.recipe import Recipe
from holdfast.results import Comparison
from holdfast.training.budget import Budget

PATIENCE = 1.0  # seconds between two looks at what other processes hold


def compare(
    contenders: Mapping[str, Method] | Sequence[Contender],
    base: Recipe,
    budget: Budget | str,
    out: str | Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    attacks: Protocol | str = "quick",
    n: int | None = None,
    trials: int = 0,
    trial_share: float = 1.0,
    search_precision: EvaluationPrecision = "auto",
    device: str | None = None,
    progress: bool = True,
) -> Comparison:
    """Compare methods on equal terms, in a folder of ordinary runs.

    What was killed goes on when the same is asked for again; more methods and seeds may be asked for, and join those in
    the folder. Several processes may be started on one folder: each takes what no other one works on.

    Args:
        contenders: the methods by label.
        base: the recipe that each is put into: data, model, optimizer, schedule, batch size, threat model. Its own
            method, seed and number of epochs play no part.
        budget: of each training, e.g. "5min" of optimizer steps, "passes:20" or "epochs:5". Time is turned into epochs
            by a few measured steps, once, before the first run; schedules stretch to fit.
        out: the folder.
        seeds: with which each method is trained.
        attacks: of the evaluation, a `Protocol` or its name.
        n: examples of the test split, all by default.
        trials: of a search for each method's own hyper-parameters on held-out images; 0 for none. May be raised while
            no final run has begun.
        trial_share: of the budget that a trial has.
        search_precision: of the attacks' passes, see `evaluate`.
        device: None for an accelerator where there is one.
        progress: tell a person on stderr how it goes.

    Returns:
        What the folder holds then: all of its methods and seeds.

    Raises:
        InvalidInput: the folder compares on other terms, a label stands for another method in it, the test split has
            not `n` examples, or a method cannot be trained: each takes one step before anything is begun.
        MissingExtra: more than one trial without Optuna.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InvalidInput(
            "a comparison's runs are shared out one by one, so torchrun has no place; start the same command several "
            "times, each with a --device of its own"
        )
    if trials > 1:
        check_extra()
    folder = Path(out)
    place = str(torch.device("cuda" if torch.cuda.is_available() else "cpu") if device is None else device)
    made = contenders if not isinstance(contenders, Mapping) else [Contender(k, m) for k, m in contenders.items()]
    length = Budget.parse(budget) if isinstance(budget, str) else budget
    judged = protocol(attacks, base.threat) if isinstance(attacks, str) else attacks
    terms = Terms(base, length, judged, n, trials, trial_share, torch.device(place).type, search_precision)
    with held(folder, wait=True):
        begun = resume(folder, terms)
        images = _Test(base)
        if n is not None:
            counted(n, len(images()), images().name)  # not only when the first training is over
        plan = begun.grown(made, seeds, place, _say if progress else None)
        plan.save(folder)
    _work(folder, plan, images, place, progress)
    return gather(folder, plan)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


@dataclass(frozen=True)
class Job:
    """A run to be made."""

    entry: Entry
    seed: int


def _work(folder: Path, plan: Plan, images: "_Test", device: str, progress: bool) -> None:
    """Train and evaluate what is missing; wait for what other processes do."""
    pending = [Job(entry, seed) for seed in plan.seeds for entry in plan.entries.values()]
    total = len(pending)
    while pending:
        left = [job for job in pending if not _do(job, folder, plan, images, device, progress)]
        if len(left) == len(pending):
            time.sleep(PATIENCE)
        pending = left
        if progress and pending:
            _say(f"{total - len(pending)} of {total} runs are done; others work on the rest")


def _do(job: Job, folder: Path, plan: Plan, images: "_Test", device: str, progress: bool) -> bool:
    """Bring a run to its end; False if another process works on it, or on what it needs."""
    entry = job.entry
    run = run_folder(folder, entry, job.seed)
    if outcome(run) in ENDED and (evaluation_folder(run, plan.terms) / "evaluation.json").exists():
        return True
    tuned = chosen(folder, plan, entry)
    if tuned is None:
        with held(tuning_folder(folder, entry)) as free:
            if not free:
                return False
            tune(folder, plan, entry, device, progress)
        tuned = chosen(folder, plan, entry)
        assert tuned is not None
    if not run.exists():
        # Where there is a run's folder, trials are not raised any more.
        with held(folder, wait=True):
            check_trials(folder, plan)
            run.mkdir(parents=True, exist_ok=True)
    with held(run) as free:
        if not free:
            return False
        recipe = recipe_of(plan, entry, job.seed, tuned)
        if progress:
            _say(f"\n{entry.contender.label}, seed {job.seed}: {entry.epochs:g} epochs, {run}")
        train_run(recipe, run, device, progress)
        evaluate_run(run, plan.terms, images(), entry.contender.label, device, progress)
    return True


class _Test:
    """The test split, opened when it is first needed."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._images: Split | None = None

    def __call__(self) -> Split:
        if self._images is None:
            self._images = open_split(self._recipe.data, "test")
        return self._images
