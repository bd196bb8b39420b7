"""The runs of a comparison: ordinary folders, trained and evaluated alike."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from holdfast.comparison.plan import RUNS, Entry, Plan, Terms
from holdfast.data import Split
from holdfast.errors import TrainingDiverged
from holdfast.evaluation import evaluate
from holdfast.recipe import Recipe
from holdfast.recipe.override import override
from holdfast.training import Run, train
from holdfast.training.log import read_events
from holdfast.training.run import METRICS

ENDED = ("finished", "collapse", "diverged")


def run_folder(folder: Path, entry: Entry, seed: int) -> Path:
    """Where a run lies."""
    return folder / RUNS / f"{entry.contender.slug}-s{seed}"


def evaluation_folder(run: Path, terms: Terms) -> Path:
    """Where the evaluation of a run lies."""
    threat = terms.base.threat
    n = f"-n{terms.n}" if terms.n else ""
    return run / "evaluations" / f"{terms.attacks.name}-{threat.norm}-{threat.eps_text.replace('/', '-')}{n}"


def outcome(run: Path) -> str:
    """How a training ended: "finished", "collapse", "diverged", or "unfinished"."""
    path = run / METRICS
    ends = [event["reason"] for event, _ in read_events(path) if event["event"] == "end"] if path.exists() else []
    return str(ends[-1]) if ends else "unfinished"


def recipe_of(plan: Plan, entry: Entry, seed: int, tuned: Mapping[str, str]) -> Recipe:
    """The recipe of a run: the common one with the method, what the budget buys, and what was tuned."""
    contender = entry.contender
    share = f"{contender.share:g} x " if contender.share != 1.0 else ""
    recipe = plan.recipe(contender)
    told = {**recipe.sources, "epochs": f"what a budget of {share}{plan.terms.budget} buys"}
    recipe = replace(recipe, epochs=entry.epochs, seed=seed, sources=told)
    return override(recipe, [f"{path}={text}" for path, text in tuned.items()])


def train_run(recipe: Recipe, folder: Path, device: str, progress: bool) -> str:
    """Train, go on with, or leave alone what has ended; how it ended."""
    if outcome(folder) not in ENDED:
        with suppress(TrainingDiverged):  # the log says so, and the page counts it
            train(recipe, folder, device=device, resume=True, progress=progress)
    return outcome(folder)


def evaluate_run(run: Path, terms: Terms, images: Split, label: str, device: str, progress: bool) -> None:
    """Attack the best weights of a run, if it has any and that was not done yet."""
    place = evaluation_folder(run, terms)
    if (place / "evaluation.json").exists():
        return
    opened = Run.open(run)
    if not opened.best:
        return
    evaluate(
        opened.load("best"),
        images,
        terms.base.threat,
        terms.attacks,
        name=label,
        run=str(run),
        n=terms.n,
        device=device,
        folder=place,
        gallery=0,
        precision=terms.search_precision,
        recorded_clean=opened.best["clean_accuracy"],
        progress=progress,
    )
