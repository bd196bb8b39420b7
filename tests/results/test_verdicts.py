from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from holdfast.errors import CheckpointError, InvalidInput
from holdfast.results import Outcome, Rate, Verdicts, merge


def test_accuracies_of_the_hand_made_table(verdicts: Verdicts) -> None:
    assert (verdicts.clean_accuracy, verdicts.robust_accuracy) == (0.75, 0.25)
    assert verdicts.cumulated() == (Rate(2, 4), Rate(1, 4))
    assert verdicts.broken_by.tolist() == [-1, 1, 0, -1]
    assert verdicts.robust.tolist() == [False, False, False, True]


def test_an_attack_alone_is_known_only_where_nothing_was_spared(verdicts: Verdicts) -> None:
    assert verdicts.alone("fgsm") == Rate(2, 4)
    assert verdicts.alone("apgd-ce") is None
    with pytest.raises(InvalidInput, match="square"):
        verdicts.alone("square")


def test_classes(verdicts: Verdicts) -> None:
    assert verdicts.per_class(4) == (
        (Rate(1, 2), Rate(0, 2)),
        (Rate(1, 1), Rate(0, 1)),
        (Rate(1, 1), Rate(1, 1)),
        (Rate(0, 0), Rate(0, 0)),
    )
    assert verdicts.confusion(3).tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 1]]
    with pytest.raises(InvalidInput, match="class 2"):
        verdicts.confusion(2)


def test_an_example_broken_twice_counts_for_the_first_attack(verdicts: Verdicts) -> None:
    outcome, found, distance = (
        np.array(c) for c in (verdicts.outcome, verdicts.adversarial_prediction, verdicts.distance)
    )
    outcome[2, 1], found[2, 1], distance[2, 1] = Outcome.BROKEN, 2, 0.1
    both = replace(verdicts, outcome=outcome, adversarial_prediction=found, distance=distance)
    assert both.broken_by[2] == 0
    assert both.final_prediction()[2] == 0
    assert both.alone("apgd-ce") == Rate(1, 4)


def test_columns_cannot_be_changed(verdicts: Verdicts) -> None:
    with pytest.raises(ValueError, match="read-only"):
        verdicts.label[0] = 1


@pytest.mark.parametrize(
    ("column", "where", "value", "told"),
    [
        ("example", 1, 3, "example 3 appears twice"),
        ("label", 0, -1, "example 3 has a label or a prediction below 0"),
        ("prediction", 0, 0, "example 3 is misclassified under some"),
        ("outcome", (0, 1), Outcome.SURVIVED, "example 3 is misclassified under some"),
        ("outcome", (3, 1), Outcome.SPARED, "example 9 is spared"),
        ("outcome", (3, 1), "gone", "unknown outcome 'gone'"),
        ("adversarial_prediction", (2, 0), -1, "example 8 is broken without"),
        ("adversarial_prediction", (3, 0), 0, "example 9 is broken without"),
        ("adversarial_prediction", (2, 0), 1, "example 8 is broken by an adversary of its own class"),
        ("distance", (2, 0), np.nan, "example 8 is broken without"),
        ("distance", (3, 0), 0.1, "example 9 is broken without"),
    ],
)
def test_contradictions_are_refused(verdicts: Verdicts, column: str, where: Any, value: Any, told: str) -> None:
    values = np.array(getattr(verdicts, column))
    values[where] = value
    with pytest.raises(InvalidInput, match=told):
        replace(verdicts, **{column: values})


def test_shapes_are_checked(verdicts: Verdicts) -> None:
    with pytest.raises(InvalidInput, match=r"'steps'.*\(4,\), expected \(4, 2\)"):
        replace(verdicts, steps=verdicts.steps[:, 0])
    with pytest.raises(InvalidInput, match="names of their own"):
        replace(verdicts, attacks=("fgsm", "fgsm"))


def test_parquet_gives_the_verdicts_back(verdicts: Verdicts, tmp_path: Path) -> None:
    verdicts.save(tmp_path / "verdicts.parquet")
    again = Verdicts.load(tmp_path / "verdicts.parquet")
    assert again == verdicts
    assert again != replace(verdicts, steps=verdicts.steps + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["verdicts.parquet"]


def test_parquet_is_long_and_plain(verdicts: Verdicts, tmp_path: Path) -> None:
    verdicts.save(tmp_path / "verdicts.parquet")
    rows = pq.read_table(tmp_path / "verdicts.parquet").to_pylist()
    assert len(rows) == 8
    assert rows[3] == {
        "example": 5,
        "label": 0,
        "prediction": 0,
        "attack": "apgd-ce",
        "outcome": "broken",
        "adversarial_prediction": 2,
        "distance": 0.3,
        "steps": 17,
    }


def test_parquet_without_examples(verdicts: Verdicts, tmp_path: Path) -> None:
    empty = Verdicts(verdicts.attacks, *(column[:0] for column in verdicts._columns()))
    empty.save(tmp_path / "verdicts.parquet")
    assert Verdicts.load(tmp_path / "verdicts.parquet") == empty
    assert empty.worst_case == Rate(0, 0)
    assert empty.confusion(1).tolist() == [[0]]


def test_a_truncated_table_is_refused(verdicts: Verdicts, tmp_path: Path) -> None:
    path = tmp_path / "verdicts.parquet"
    verdicts.save(path)
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="truncated"):
            Verdicts.load(path)


def test_foreign_and_altered_tables_are_refused(verdicts: Verdicts, tmp_path: Path) -> None:
    path = tmp_path / "verdicts.parquet"
    with pytest.raises(CheckpointError, match="cannot read"):
        Verdicts.load(path)
    verdicts.save(path)
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0, 2, 3, 4, 5, 6, 7]), path)
    with pytest.raises(CheckpointError, match="altered"):
        Verdicts.load(path)
    pq.write_table(table.drop(["steps"]), path)
    with pytest.raises(CheckpointError, match="columns"):
        Verdicts.load(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(CheckpointError, match="schema"):
        Verdicts.load(path)


def test_merge_orders_disjoint_shards(verdicts: Verdicts) -> None:
    late = Verdicts(verdicts.attacks, *(column[2:] for column in verdicts._columns()))
    early = Verdicts(verdicts.attacks, *(column[:2] for column in verdicts._columns()))
    assert merge([late, early]) == verdicts


def test_merge_refuses_overlap_and_other_attacks(verdicts: Verdicts) -> None:
    with pytest.raises(InvalidInput, match="example 3 was evaluated by two shards; 4 examples"):
        merge([verdicts, verdicts])
    with pytest.raises(InvalidInput, match="different attacks"):
        merge([verdicts, replace(verdicts, attacks=("fgsm", "square"))])
    with pytest.raises(InvalidInput, match="no verdicts"):
        merge([])
