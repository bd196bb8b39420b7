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
    """One evaluation on the page: `label` is unique there, `index` names its elements.

    colour and dash: evaluations of one model name (seeds) share the colour and differ by the dash.
    """

    index: int
    label: str
    evaluation: Evaluation
    colour: int = 0
    dash: int = 0


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
    members: tuple[Model, ...]
    clean: Spread
    robust: Spread


def name_models(evaluations: Sequence[Evaluation]) -> tuple[Model, ...]:
    """Give each evaluation a label of its own: the model's name, and in what it differs from others of that name."""
    names = list(dict.fromkeys(evaluation.model for evaluation in evaluations))
    apart = {name: _telling([_marks(e) for e in evaluations if e.model == name]) for name in names}
    labels = []
    for e in evaluations:
        told = ", ".join(filter(None, (_marks(e)[column] for column in apart[e.model])))
        labels.append(f"{e.model} ({told})" if told else e.model)
    again = Counter(labels)
    seen: Counter[str] = Counter()
    models: list[Model] = []
    for index, (label, evaluation) in enumerate(zip(labels, evaluations, strict=True)):
        seen[label] += 1
        unique = f"{label} #{seen[label]}" if again[label] > 1 else label
        dash = sum(model.evaluation.model == evaluation.model for model in models)
        models.append(Model(index, unique, evaluation, names.index(evaluation.model), dash))
    return tuple(models)


def _marks(evaluation: Evaluation) -> tuple[str, ...]:
    """What may tell evaluations of one model apart."""
    return (
        PurePath(evaluation.run).name if evaluation.run else "",
        evaluation.protocol.name,
        f"{evaluation.threat.norm} {evaluation.threat.eps_text}",
        data_name(evaluation),
        f"{len(evaluation.verdicts):,} examples",
        f"seed {evaluation.seed}",
    )


def _telling(rows: Sequence[tuple[str, ...]]) -> list[int]:
    """The columns that tell rows apart which those before them do not."""
    chosen: list[int] = []
    kinds = 1
    for column in range(len(rows[0])):
        now = len({tuple(row[k] for k in (*chosen, column)) for row in rows})
        if now > kinds:
            chosen, kinds = [*chosen, column], now
    return chosen


def same_examples(one: Evaluation, other: Evaluation) -> bool:
    """Whether the two were asked the same: data, examples, threat model and protocol."""
    return (
        (one.data.fingerprint, one.threat, one.protocol) == (other.data.fingerprint, other.threat, other.protocol)
        and np.array_equal(one.verdicts.example, other.verdicts.example)
        and len(one.verdicts) > 0
    )


def compare(models: Sequence[Model], grouped: Sequence[Group] = ()) -> tuple[Row, ...]:
    """The rows of the comparison. The leader has the highest robust accuracy, the first of equals.

    A member of a group leads only where nobody stands alone: the best of several seeds is no fair opponent. For the
    same reason there are differences to the leader only without groups.
    """
    members = {member.index for group in grouped for member in group.members}
    candidates = [model for model in models if model.index not in members] or models
    leader = max(candidates, key=lambda model: model.evaluation.verdicts.worst_case.value, default=None)
    return tuple(
        Row(
            model=model,
            clean=model.evaluation.verdicts.clean,
            robust=model.evaluation.verdicts.worst_case,
            difference=None if grouped or leader is None else _difference(model, leader),
            leads=model is leader,
        )
        for model in models
    )


def _difference(model: Model, leader: Model) -> tuple[float, float, float] | None:
    if model is leader or not same_examples(model.evaluation, leader.evaluation):
        return None
    return paired_difference(model.evaluation.verdicts.robust, leader.evaluation.verdicts.robust)


def groups(models: Iterable[Model]) -> tuple[Group, ...]:
    """Mean and spread of every model name that was evaluated more than once in the same way."""
    of: dict[str, list[Model]] = {}
    for model in models:
        of.setdefault(model.evaluation.model, []).append(model)
    return tuple(
        Group(
            name,
            tuple(members),
            spread([member.evaluation.verdicts.clean_accuracy for member in members]),
            spread([member.evaluation.verdicts.robust_accuracy for member in members]),
        )
        for name, members in of.items()
        if len(members) > 1 and all(same_examples(members[0].evaluation, one.evaluation) for one in members)
    )


def disagreements(models: Sequence[Model]) -> tuple[str, ...]:
    """In what the models were not asked the same, in words; nothing where their numbers may be compared."""
    asked: dict[str, Callable[[Evaluation], str]] = {
        "data": lambda e: f"{data_name(e)}, {e.data.split} split",
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
        elif what == "examples" and len({model.evaluation.verdicts.example.tobytes() for model in models}) > 1:
            told.append("examples: other selections of the same size")
    return tuple(told)


def examples(evaluation: Evaluation) -> str:
    """Which examples were evaluated: "all 360", "the first 1,000 of 10,000", "a selection of 1,000 of 10,000"."""
    n, whole = len(evaluation.verdicts), evaluation.data.n
    if n == whole:
        return f"all {count(n)}"
    first = np.array_equal(np.sort(evaluation.verdicts.example), np.arange(n))
    return f"{'the first' if first else 'a selection of'} {count(n)} of {count(whole)}"


def leading_group(grouped: Sequence[Group], leader: Row | None) -> Group | None:
    """The group with the highest mean, unless a model that was evaluated once is above it."""
    best = max(grouped, key=lambda group: group.robust.mean, default=None)
    if best is None or leader is None:
        return None
    alone = all(leader.model is not member for group in grouped for member in group.members)
    return None if alone and leader.robust.value > best.robust.mean else best


def data_name(evaluation: Evaluation) -> str:
    """The data set's name without the split, which the page tells apart: "digits/test" -> "digits"."""
    return evaluation.data.name.removesuffix(f"/{evaluation.data.split}")
