import json
from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest

from holdfast.errors import CheckpointError, InvalidInput
from holdfast.results import (
    Alignment,
    Compactness,
    Data,
    Diagnostics,
    Divergence,
    Linearity,
    Rate,
    Shift,
    Shifts,
    Surface,
    Threat,
)

NAN = float("nan")


@pytest.fixture
def shifts() -> Shifts:
    rows = [("blur", "blur", 0.5, 3), ("blur", "blur", 1.0, 1), ("noise", "noise", 0.1, 4), ("extra", "frost", 1.0, 0)]
    found = tuple(Shift(group, kind, f"level {value:g}", value, correct) for group, kind, value, correct in rows)
    return Shifts(4, 4, found, "ours", {"hue": "no colour"})


@pytest.fixture
def diagnostics(shifts: Shifts) -> Diagnostics:
    return Diagnostics(
        model="tiny",
        run=None,
        data=Data("digits", "test", 360, "5d41402abc4b2a76", ("zero", "one")),
        threat=Threat("Linf", 0.3, "0.3"),
        n=4,
        seed=7,
        linearity=Linearity(np.array([1.0, 2.0, 3.0, 4.0]), np.zeros(4), "PGD"),
        surface=Surface([2], [1], [-0.3, 0.0, 0.3], np.arange(9.0).reshape(1, 3, 3), np.ones((1, 3, 3)), "PGD"),
        alignment=Alignment([1.0, 0.5, NAN, 0.0], [0.0, 0.0, 1.0, NAN], "PGD"),
        divergence=Divergence(("input", "fc"), [0.1, NAN], [0.2, 0.3], 4, "PGD"),
        compactness=Compactness("fc", ("clean", "adversarial"), [1.0, NAN], [2.0, 1.0], 4),
        invariance=shifts,
        skipped={"corruptions": "no images"},
        seconds=1.5,
        versions={"holdfast": "0.1.0"},
        command="diagnose",
    )


def test_a_folder_gives_the_diagnostics_back(diagnostics: Diagnostics, tmp_path: Path) -> None:
    for saved in (diagnostics, replace(diagnostics, surface=None, seed=8)):
        saved.save(tmp_path)
        loaded = Diagnostics.load(tmp_path)
        assert loaded == saved
        assert [path.name for path in tmp_path.iterdir()] == ["diagnostics.json"]
    assert loaded != diagnostics
    assert loaded.divergence != replace(diagnostics.divergence, l2=[0.2, 0.4])  # type: ignore[type-var]


def test_foreign_truncated_and_newer_files_are_refused(diagnostics: Diagnostics, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no diagnosis"):
        Diagnostics.load(tmp_path)
    diagnostics.save(tmp_path)
    path = tmp_path / "diagnostics.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="truncated"):
        Diagnostics.load(tmp_path)
    record = json.loads(whole)
    for changed, told in [
        ({"schema": "holdfast.evaluation"}, "no diagnosis"),
        ({**record, "version": 2}, "version 2 of the format, this Holdfast reads 1"),
        ({k: v for k, v in record.items() if k != "threat"}, "lacks or misstates a field: 'threat'"),
        ({**record, "linearity": {"gamma": [1.0], "linear": [1.0, 2.0], "attack": "PGD"}}, "contradicts itself"),
        ({**record, "linearity": {"gamma": ["much"], "linear": [1.0], "attack": "PGD"}}, "misstates"),
    ]:
        path.write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match=told):
            Diagnostics.load(tmp_path)


def test_the_derived_numbers(diagnostics: Diagnostics) -> None:
    linearity, alignment = diagnostics.linearity, diagnostics.alignment
    assert linearity is not None
    assert alignment is not None
    assert (linearity.mean, linearity.p95) == (2.5, pytest.approx(3.85))
    assert (alignment.mean_uniform, alignment.mean_adversarial) == (0.5, pytest.approx(1 / 3))
    assert alignment.vanished == 2
    record = json.loads(json.dumps(diagnostics.to_json(), allow_nan=False))
    assert record["linearity"]["mean"] == 2.5
    assert record["compactness"]["ratio"] == [0.5, None]
    assert record["alignment"]["uniform"] == [1.0, 0.5, None, 0.0]
    assert record["surface"]["loss"][0][2] == [6.0, 7.0, 8.0]
    assert record["corruptions"] is None


def test_shifts_average_kinds_and_leave_out_extras(shifts: Shifts) -> None:
    assert shifts.kinds == ("blur", "noise", "frost")
    assert shifts.of("blur") == {"level 0.5": Rate(3, 4), "level 1": Rate(1, 4)}
    assert shifts.mean == (0.5 + 1.0) / 2
    assert shifts.clean_accuracy == Rate(4, 4)
    assert isnan(replace(shifts, shifts=()).mean)
    with pytest.raises(InvalidInput, match="do not fit 3 examples"):
        replace(shifts, n=3)


def test_columns_are_checked_frozen_and_overflow_to_nan() -> None:
    with pytest.raises(InvalidInput, match=r"surface needs S examples .* loss \(1, 3, 2\)"):
        Surface([0], [0], [-1.0, 0.0, 1.0], np.zeros((1, 3, 2)), np.zeros((1, 3, 3)), "")
    with pytest.raises(InvalidInput, match="columns of one length"):
        Alignment([1.0], [1.0, 1.0], "")
    with pytest.raises(InvalidInput, match="every layer"):
        Divergence(("input",), [1.0, 2.0], [1.0], 1, "")
    gamma = np.array([1.0, np.inf])
    found = Linearity(gamma, gamma, "")
    assert (found.mean, found.p95) == (1.0, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        found.gamma[0] = 2.0
    gamma[0] = 5.0
    assert found.gamma[0] == 1.0


@pytest.mark.parametrize(("change", "told"), [({"n": 0}, "0 examples"), ({"seconds": NAN}, "nan seconds")])
def test_contradictions_are_refused(diagnostics: Diagnostics, change: dict[str, float], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        replace(diagnostics, **change)
