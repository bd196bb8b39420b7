"""From a comparison's folder to what the page shows."""

from pathlib import Path

from holdfast.comparison.plan import Entry, Plan
from holdfast.comparison.runs import evaluation_folder, outcome, recipe_of, run_folder
from holdfast.comparison.tuning import chosen
from holdfast.recipe.override import override
from holdfast.recipe.sources import leaves
from holdfast.results import Cell, Comparison, Entrant, Evaluation, History
from holdfast.training.run import METRICS

OWN = ("method", "optimizer.lr", "epochs", "seed")  # fields of a recipe that are, or may be, a method's own


def gather(folder: Path, plan: Plan) -> Comparison:
    """Everything that the folder holds so far."""
    terms = plan.terms
    return Comparison(
        data=terms.base.data.name,
        budget=str(terms.budget),
        device=terms.device,
        shared=tuple(
            (path, text)
            for path, text in leaves(override(terms.base, plan.passes))
            if text and not _is_own(path, terms.trials)
        ),
        attacks=str(terms.attacks),
        entrants=tuple(_entrant(folder, plan, entry) for entry in plan.entries.values()),
        natural_seconds=plan.natural_seconds,
    )


def _is_own(path: str, trials: int) -> bool:
    own = OWN if trials else tuple(name for name in OWN if name != "optimizer.lr")
    return any(path == name or path.startswith(f"{name}.") for name in own)


def _entrant(folder: Path, plan: Plan, entry: Entry) -> Entrant:
    contender = entry.contender
    tuned = chosen(folder, plan, entry)
    recipe = recipe_of(plan, entry, plan.seeds[0], tuned or {})
    return Entrant(
        label=contender.label,
        choices=tuple((path, text) for path, text in leaves(recipe) if path.partition(".")[0] == "method"),
        source=contender.source,
        share=contender.share,
        changes=contender.changes,
        passes=recipe.method.passes,
        ratio=entry.ratio,
        epochs=entry.epochs,
        cells=tuple(_cell(folder, plan, entry, seed) for seed in plan.seeds),
        tuned=tuple((tuned or {}).items()),
        trials=plan.terms.trials,
    )


def _cell(folder: Path, plan: Plan, entry: Entry, seed: int) -> Cell:
    run = run_folder(folder, entry, seed)
    place = evaluation_folder(run, plan.terms)
    log = run / METRICS
    return Cell(
        seed,
        outcome(run),
        str(run),
        Evaluation.load(place) if (place / "evaluation.json").is_file() else None,
        History.read(log) if log.is_file() else None,
    )
