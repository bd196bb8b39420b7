from dataclasses import replace
from typing import Any

import numpy as np

from holdfast.report.models import compare, data_name, disagreements, examples, groups, name_models, same_examples
from holdfast.results import Protocol


def test_labels_are_unique(make_evaluation: Any) -> None:
    a, b = make_evaluation("a", gallery=0), make_evaluation("b", gallery=0)
    again = make_evaluation("a", seed=1, gallery=0)
    assert [m.label for m in name_models([a, b])] == ["a", "b"]
    assert [m.label for m in name_models([a, b, again])] == ["a (a-s0)", "b", "a (a-s1)"]
    assert [m.label for m in name_models([a, a])] == ["a #1", "a #2"]
    other = replace(a, protocol=Protocol("quick", "1"), threat=replace(a.threat, eps=0.1, eps_text="0.1"))
    assert [m.label for m in name_models([a, other])] == [f"a ({a.protocol.name})", "a (quick)"]
    wider = replace(other, threat=replace(a.threat, eps=0.2, eps_text="0.2"))
    assert [m.label for m in name_models([other, wider])] == ["a (Linf 0.1)", "a (Linf 0.2)"]
    assert [m.label for m in name_models([replace(a, run=None), b, replace(a, run=None)])] == ["a #1", "b", "a #2"]
    assert [(m.colour, m.dash) for m in name_models([a, b, again])] == [(0, 0), (1, 0), (0, 1)]


def test_the_leader_has_the_highest_robust_accuracy(make_evaluation: Any) -> None:
    named = name_models([make_evaluation(name, robust=r, gallery=0) for name, r in (("a", 0.4), ("b", 0.5))])
    rows = compare(named)
    assert [row.leads for row in rows] == [False, True]
    assert rows[0].difference is not None
    assert rows[0].difference[0] < 0
    assert rows[1].difference is None
    assert compare([]) == ()


def test_other_examples_are_not_compared(make_evaluation: Any) -> None:
    a, b = make_evaluation("a", gallery=0), make_evaluation("b", robust=0.3, gallery=0)
    moved = replace(b, verdicts=replace(b.verdicts, example=b.verdicts.example + 1))
    assert same_examples(a, b)
    assert not same_examples(a, moved)
    assert not same_examples(a, replace(b, protocol=replace(b.protocol, version="2")))
    assert compare(name_models([a, moved]))[1].difference is None
    assert disagreements(name_models([a, moved])) == (
        "examples: the first 1,000 of 10,000 (a); a selection of 1,000 of 10,000 (b)",
    )
    assert disagreements(name_models([a, b])) == ()


def test_selections_of_equal_size_are_told_apart(make_evaluation: Any) -> None:
    a = make_evaluation("a", gallery=0)
    one, two = (
        replace(a, model=name, verdicts=replace(a.verdicts, example=a.verdicts.example + shift))
        for name, shift in (("one", 1), ("two", 2))
    )
    assert disagreements(name_models([one, two])) == ("examples: other selections of the same size",)


def test_which_examples(make_evaluation: Any) -> None:
    a = make_evaluation(gallery=0)
    assert examples(a) == "the first 1,000 of 10,000"
    assert examples(replace(a, data=replace(a.data, n=1000))) == "all 1,000"
    assert examples(replace(a, verdicts=replace(a.verdicts, example=np.arange(1000) * 2))) == (
        "a selection of 1,000 of 10,000"
    )


def test_the_split_is_not_told_twice(make_evaluation: Any) -> None:
    a = make_evaluation(gallery=0)
    assert data_name(a) == "figures"
    assert data_name(replace(a, data=replace(a.data, name="digits/test"))) == "digits"


def test_seeds_form_a_group(make_evaluation: Any) -> None:
    seeds = [make_evaluation("a", robust=r, seed=i, gallery=0) for i, r in enumerate((0.4, 0.5))]
    (group,) = groups(name_models([*seeds, make_evaluation("b", gallery=0)]))
    assert (group.label, group.robust.n, round(group.robust.mean, 6)) == ("a", 2, 0.45)
    other = replace(seeds[1], protocol=replace(seeds[1].protocol, name="quick"))
    assert groups(name_models([seeds[0], other])) == ()
