"""The evaluations on the page, each under a label of its own, and whether they may be compared."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from holdfast.report.text import count, listing
from holdfast.results import Evaluation, Rate, Spread, paired_difference, spread


@dataclass(frozen=True)
class Model:
    """One evaluation on the page: `label` is unique there, `index` chooses its colour and names its elements."""

    index: int
    label: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Row:
    """A line of the comparison. difference: to the leader on the same examples, with its interval, or None."""

    model: Model
    clean: Rate
    robust: Rate
    difference: tuple[float, float, float] | None
    leads: bool


@dataclass(frozen=True)
class Group:
    """Several evaluations of one model name (seeds): mean and spread of their accuracies."""

    label: str
    clean: Spread
    robust: Spread


def name_models(evaluations: Sequence[Evaluation]) -> tuple[Model, ...]:
    """Give each evaluation a label of its own: the model's name, with the run folder where that is not enough."""
    times = Counter(evaluation.model for evaluation in evaluations)
    labels = [f"{e.model} ({PurePath(e.run).name})" if times[e.model] > 1 and e.run else e.model for e in evaluations]
    again = Counter(labels)
    seen: Counter[str] = Counter()
    models = []
    for index, (label, evaluation) in enumerate(zip(labels, evaluations, strict=True)):
        seen[label] += 1
        unique = f"{label} #{seen[label]}" if again[label] > 1 else label
        models.append(Model(index, unique, evaluation))
    return tuple(models)


def same_examples(one: Evaluation, other: Evaluation) -> bool:
    """Whether the two were asked the same: data, examples, threat model and protocol."""
    return (
        (one.data.fingerprint, one.threat, one.protocol) == (other.data.fingerprint, other.threat, other.protocol)
        and np.array_equal(one.verdicts.example, other.verdicts.example)
        and len(one.verdicts) > 0
    )


def compare(models: Sequence[Model]) -> tuple[Row, ...]:
    """The rows of the comparison; the leader is the model with the highest robust accuracy, the first of equals."""
    if not models:
        return ()
    leader = max(models, key=lambda model: model.evaluation.verdicts.worst_case.value)
    return tuple(
        Row(
            model=model,
            clean=model.evaluation.verdicts.clean,
            robust=model.evaluation.verdicts.worst_case,
            difference=(
                paired_difference(model.evaluation.verdicts.robust, leader.evaluation.verdicts.robust)
                if model is not leader and same_examples(model.evaluation, leader.evaluation)
                else None
            ),
            leads=model is leader,
        )
        for model in models
    )


def groups(models: Iterable[Model]) -> tuple[Group, ...]:
    """Mean and spread of every model name that was evaluated more than once in the same way."""
    of: dict[str, list[Evaluation]] = {}
    for model in models:
        of.setdefault(model.evaluation.model, []).append(model.evaluation)
    return tuple(
        Group(
            name,
            spread([evaluation.verdicts.clean_accuracy for evaluation in members]),
            spread([evaluation.verdicts.robust_accuracy for evaluation in members]),
        )
        for name, members in of.items()
        if len(members) > 1 and all(same_examples(members[0], member) for member in members)
    )


def disagreements(models: Sequence[Model]) -> tuple[str, ...]:
    """In what the models were not asked the same, in words; nothing where their numbers may be compared."""
    asked: dict[str, Callable[[Evaluation], str]] = {
        "data": lambda e: f"{e.data.name}, {e.data.split} split",
        "contents of the data": lambda e: e.data.fingerprint,
        "examples": examples,
        "threat model": lambda e: f"{e.threat.norm}, eps {e.threat.eps_text}",
        "protocol": lambda e: str(e.protocol),
    }
    told = []
    for what, answer in asked.items():
        who: dict[str, list[str]] = {}
        for model in models:
            who.setdefault(answer(model.evaluation), []).append(model.label)
        if len(who) > 1:
            told.append(f"{what}: " + "; ".join(f"{found} ({listing(labels)})" for found, labels in who.items()))
    return tuple(told)


def examples(evaluation: Evaluation) -> str:
    """Which examples were evaluated: "all 360", "the first 1,000 of 10,000", "a selection of 1,000 of 10,000"."""
    n, whole = len(evaluation.verdicts), evaluation.data.n
    if n == whole:
        return f"all {count(n)}"
    first = np.array_equal(np.sort(evaluation.verdicts.example), np.arange(n))
    return f"{'the first' if first else 'a selection of'} {count(n)} of {count(whole)}"
