"""The gallery: a few examples with their adversaries, chosen so that every outcome, attack and class has its share."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from holdfast.report.images import is_image, magnification, perturbation, picture
from holdfast.report.models import Model
from holdfast.results import Evaluation, Gallery, Outcome

CARDS = 60  # of one model, by default
WEIGHT = 6_000_000  # characters of pictures of one model: large images mean fewer cards
CHANGES = 5  # features listed for inputs that are no images


@dataclass(frozen=True)
class Change:
    """A feature of a table's row, before and after the attack."""

    feature: int
    before: float
    after: float


@dataclass(frozen=True)
class Card:
    """One example under one attack. Pictures are data URIs.

    Inputs that are no images have `changes` in their place; unchanged ones have no x_adv and no delta.
    """

    model: Model
    example: int
    attack: str
    outcome: Outcome
    label: str
    prediction: str
    prediction_adv: str
    distance: float | None
    x: str = ""
    x_adv: str = ""
    delta: str = ""
    factor: float = 1.0
    changes: tuple[Change, ...] = ()


def cards(models: Sequence[Model], limit: int = CARDS) -> tuple[Card, ...]:
    """At most `limit` cards of each model, the models taking turns."""
    of_models = [_cards_of(model, limit) for model in models]
    return tuple(card for turn in zip_longest(*of_models) for card in turn if card is not None)


def _cards_of(model: Model, limit: int) -> list[Card]:
    gallery = model.evaluation.gallery
    if gallery is None:
        return []
    row_of = {example: row for row, example in enumerate(model.evaluation.verdicts.example.tolist())}
    rows = [row_of[example] for example in gallery.example.tolist()]
    shown: list[Card] = []
    weight = 0
    for position in _mixed(model.evaluation, gallery, rows):
        card = _card(model, gallery, position, rows[position])
        weight += len(card.x) + len(card.x_adv) + len(card.delta)
        if len(shown) == limit or (weight > WEIGHT and shown):
            break
        shown.append(card)
    return shown


def _mixed(evaluation: Evaluation, gallery: Gallery, rows: Sequence[int]) -> list[int]:
    """Positions in the gallery, taking turns over (outcome, attack) and within each over the classes."""
    kinds: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for position, (row, attack) in enumerate(zip(rows, gallery.attack, strict=True)):
        kinds[_outcome(evaluation, row, attack), attack].append(position)
    turns = []
    for of_kind in kinds.values():
        seen: defaultdict[int, int] = defaultdict(int)
        ranked = []
        for position in of_kind:
            label = int(evaluation.verdicts.label[rows[position]])
            ranked.append((seen[label], position))
            seen[label] += 1
        turns.append([position for _, position in sorted(ranked)])
    longest = max(map(len, turns), default=0)
    return [turn[i] for i in range(longest) for turn in turns if i < len(turn)]


def _outcome(evaluation: Evaluation, row: int, attack: str) -> Outcome:
    """What the card's attack did; without an attack, what became of the example altogether."""
    verdicts = evaluation.verdicts
    if attack:
        return Outcome(str(verdicts.outcome[row, verdicts.attacks.index(attack)]))
    if not verdicts.correct[row]:
        return Outcome.MISCLASSIFIED
    return Outcome.SURVIVED if verdicts.robust[row] else Outcome.BROKEN


def _card(model: Model, gallery: Gallery, position: int, row: int) -> Card:
    evaluation, attack = model.evaluation, gallery.attack[position]
    verdicts, classes, threat = evaluation.verdicts, evaluation.data.classes, evaluation.threat
    outcome = _outcome(evaluation, row, attack)
    prediction_adv, distance = int(verdicts.prediction[row]), None
    if attack and outcome == Outcome.BROKEN:
        column = verdicts.attacks.index(attack)
        prediction_adv = int(verdicts.adversarial_prediction[row, column])
        distance = float(verdicts.distance[row, column])
    card = Card(
        model=model,
        example=int(gallery.example[position]),
        attack=attack,
        outcome=outcome,
        label=classes[int(verdicts.label[row])],
        prediction=classes[int(verdicts.prediction[row])],
        prediction_adv=classes[prediction_adv],
        distance=distance,
    )
    return _with_input(card, gallery.x[position], gallery.x_adv[position], threat.low, threat.high)


def _with_input(card: Card, x: NDArray[np.float32], x_adv: NDArray[np.float32], low: float, high: float) -> Card:
    difference = x_adv - x
    if not is_image(x.shape):
        flat = difference.ravel()
        largest = [int(i) for i in np.argsort(-np.abs(flat), kind="stable")[:CHANGES] if flat[i]]
        changes = tuple(Change(i, float(x.ravel()[i]), float(x_adv.ravel()[i])) for i in largest)
        return replace(card, changes=changes)
    if not difference.any():
        return replace(card, x=picture(x, low, high))
    factor = magnification(difference, low, high)
    return replace(
        card,
        x=picture(x, low, high),
        x_adv=picture(x_adv, low, high),
        delta=perturbation(difference, factor, low, high),
        factor=factor,
    )
