from base64 import b64decode
from collections import Counter
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from holdfast.report import gallery, models
from holdfast.report.images import is_image, magnification, perturbation, picture
from holdfast.results import Outcome


def pixels(uri: str) -> Any:
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(BytesIO(b64decode(uri.partition(",")[2]))))


def test_what_is_an_image() -> None:
    assert all(map(is_image, [(8, 8), (1, 28, 28), (3, 32, 32)]))
    assert not any(map(is_image, [(12,), (2, 8, 8), (4, 8, 8), (1, 1, 8, 8)]))


def test_a_picture_shows_the_values() -> None:
    x = np.array([[[0.0, 0.5], [1.0, 0.25]]], dtype=np.float32)
    assert pixels(picture(x, 0, 1)).tolist() == [[0, 128], [255, 64]]
    assert pixels(picture(x[0], 0, 1)).tolist() == [[0, 128], [255, 64]]
    colour = np.stack([x[0], 1 - x[0], x[0] * 0])
    assert pixels(picture(colour, 0, 1))[0, 1].tolist() == [128, 128, 0]
    assert pixels(picture(x * 2 - 1, -1, 1)).tolist() == [[0, 128], [255, 64]]


@pytest.mark.parametrize(
    ("largest", "factor"), [(8 / 255, 15.0), (0.1, 5.0), (0.3, 1.6), (0.5, 1.0), (1.0, 0.5), (0.0007, 710.0)]
)
def test_magnification_never_clips(largest: float, factor: float) -> None:
    difference = np.array([[[largest, -largest / 2]]], dtype=np.float32)
    assert magnification(difference, 0, 1) == pytest.approx(factor)
    assert largest * magnification(difference, 0, 1) <= 0.5 + 1e-6


def test_a_perturbation_keeps_its_sign() -> None:
    grey = perturbation(np.array([[[0.1, -0.1, 0.0]]], dtype=np.float32), 5.0, 0, 1)
    red, blue, white = pixels(grey)[0].tolist()
    assert white == [255, 255, 255]
    assert red == [178, 24, 43]
    assert blue == [33, 102, 172]
    colour = np.zeros((3, 1, 2), dtype=np.float32)
    colour[:, 0, 0] = (0.1, -0.1, 0.0)
    assert pixels(perturbation(colour, 5.0, 0, 1))[0].tolist() == [[255, 0, 128], [128, 128, 128]]


def test_cards_tell_what_the_verdicts_say(make_evaluation: Any) -> None:
    evaluation = make_evaluation()
    verdicts, names = evaluation.verdicts, evaluation.data.classes
    cards = gallery.cards(models.name_models([evaluation]))
    assert len(cards) == 60
    assert len({(card.example, card.attack) for card in cards}) == 60
    for card in cards:
        row = verdicts.example.tolist().index(card.example)
        assert card.label == names[verdicts.label[row]]
        assert card.prediction == names[verdicts.prediction[row]]
        assert card.prediction_adv == names[verdicts.final_prediction()[row]]
        if card.outcome == Outcome.BROKEN:
            assert card.attack == verdicts.attacks[verdicts.broken_by[row]]
            assert card.distance == verdicts.distance[row, verdicts.broken_by[row]]
        else:
            assert card.distance is None
            assert card.outcome == (Outcome.SURVIVED if verdicts.correct[row] else Outcome.MISCLASSIFIED)
        assert bool(card.x_adv) == bool(card.delta) == (card.outcome != Outcome.MISCLASSIFIED)


def test_few_cards_still_show_every_outcome_and_many_classes(make_evaluation: Any) -> None:
    cards = gallery.cards(models.name_models([make_evaluation()]), limit=12)
    kinds = Counter((card.outcome, card.attack) for card in cards)
    assert {"broken", "survived", "misclassified"} == {str(outcome) for outcome, _ in kinds}
    assert {"apgd-ce", "apgd-t"} <= {attack for _, attack in kinds}
    assert len({card.label for card in cards}) >= 6


def test_models_take_turns(make_evaluation: Any) -> None:
    named = models.name_models([make_evaluation("a", gallery=4), make_evaluation("b", gallery=2)])
    assert [card.model.label for card in gallery.cards(named)] == ["a", "b", "a", "b", "a", "a"]


def test_heavy_pictures_make_fewer_cards(make_evaluation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    named = models.name_models([make_evaluation(gallery=20)])
    whole = gallery.cards(named)
    weight = sum(len(card.x) + len(card.x_adv) + len(card.delta) for card in whole)
    monkeypatch.setattr(gallery, "WEIGHT", weight // 2)
    assert 5 < len(gallery.cards(named)) < len(whole) == 20
    monkeypatch.setattr(gallery, "WEIGHT", 1)
    assert len(gallery.cards(named)) == 1


def test_rows_of_tables_list_their_largest_changes(make_evaluation: Any) -> None:
    evaluation = make_evaluation(shape=(12,))
    cards = gallery.cards(models.name_models([evaluation]))
    card = next(card for card in cards if card.outcome == Outcome.BROKEN)
    assert not card.x
    position = evaluation.gallery.example.tolist().index(card.example)
    difference = evaluation.gallery.x_adv[position] - evaluation.gallery.x[position]
    assert len(card.changes) == 5
    assert [abs(c.after - c.before) for c in card.changes] == sorted(np.abs(difference), reverse=True)[:5]
    assert all(c.after - c.before == difference[c.feature] for c in card.changes)
