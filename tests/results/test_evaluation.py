import json
import os
from dataclasses import replace
from errno import ENOSPC
from pathlib import Path

import numpy as np
import pytest

from holdfast.errors import CheckpointError, HoldfastError, InvalidInput
from holdfast.results import Curve, Evaluation, Finding, Gallery, Passes, Rate, Severity, interval


def test_a_folder_gives_the_evaluation_back(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.save(tmp_path)
    assert Evaluation.load(tmp_path) == evaluation
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "evaluation.json",
        "gallery.npz",
        "verdicts.parquet",
    ]


def test_saving_over_an_older_one_leaves_nothing_of_it(
    evaluation: Evaluation, other: Evaluation, tmp_path: Path
) -> None:
    evaluation.save(tmp_path)
    other.save(tmp_path)
    assert Evaluation.load(tmp_path) == other
    assert not (tmp_path / "gallery.npz").exists()


@pytest.mark.parametrize("name", ["evaluation.json", "verdicts.parquet", "gallery.npz"])
def test_truncated_missing_and_altered_files_are_refused(evaluation: Evaluation, tmp_path: Path, name: str) -> None:
    evaluation.save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for size in (0, len(whole) // 2, len(whole) - 2):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="truncated"):
            Evaluation.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        Evaluation.load(tmp_path)


def test_a_kill_between_the_files_is_noticed(evaluation: Evaluation, other: Evaluation, tmp_path: Path) -> None:
    evaluation.save(tmp_path)
    replace(other, verdicts=replace(other.verdicts, steps=other.verdicts.steps + 1)).save(tmp_path / "new")
    (tmp_path / "new" / "verdicts.parquet").rename(tmp_path / "verdicts.parquet")
    with pytest.raises(CheckpointError, match="interrupted"):
        Evaluation.load(tmp_path)


def test_foreign_and_newer_records_are_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.save(tmp_path)
    path = tmp_path / "evaluation.json"
    record = json.loads(path.read_text())
    for changed, told in [
        ([], "no evaluation of"),
        ({"schema": "mlflow"}, "no evaluation of"),
        ({**record, "version": 2}, "version 2 of the format, this Holdfast reads 1"),
        ({k: v for k, v in record.items() if k != "threat"}, "threat"),
        ({**record, "threat": {"norm": "Linf"}}, "eps"),
        ({**record, "attacks": {"fgsm": "FGSM()"}}, "contradicts itself"),
        ({**record, "findings": [{**record["findings"][0], "severity": "loud"}]}, "loud"),
    ]:
        path.write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match=told):
            Evaluation.load(tmp_path)


def test_a_full_disk_keeps_the_old_evaluation(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation.save(tmp_path)

    def full(_: int) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(HoldfastError, match=r"verdicts\.parquet: No space left on device"):
            evaluation.save(tmp_path)
    assert Evaluation.load(tmp_path) == evaluation
    assert not list(tmp_path.glob(".*"))


def test_json_holds_the_derived_numbers(evaluation: Evaluation) -> None:
    record = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    low, high = interval(1, 4)
    assert record["robust_accuracy"] == {"value": 0.25, "low": low, "high": high, "count": 1, "n": 4}
    assert record["clean_accuracy"]["value"] == 0.75
    assert record["per_attack"]["fgsm"]["alone"]["count"] == 2
    assert record["per_attack"]["apgd-ce"] == {"cumulated": record["robust_accuracy"], "alone": None}
    assert record["per_class"]["zero"]["robust"]["n"] == 2
    assert record["confusion"] == [[0, 1, 1], [1, 0, 0], [0, 0, 1]]
    assert record["protocol"] == {"name": "quick", "version": "1"}
    assert record["n"] == 4


def test_parts_that_do_not_belong_together_are_refused(evaluation: Evaluation) -> None:
    gallery = evaluation.gallery
    assert gallery is not None
    for changes, told in [
        ({"attacks": {"apgd-ce": "", "fgsm": ""}}, "parameters"),
        ({"passes": {"square": Passes(1, 0)}}, "square"),
        ({"seconds": float("nan")}, "seconds"),
        ({"data": replace(evaluation.data, n=3)}, "4 verdicts on a split of 3"),
        ({"data": replace(evaluation.data, classes=("zero", "one"))}, "class 2"),
        ({"gallery": replace(gallery, example=np.array([5, 6]))}, "example 6"),
        ({"gallery": replace(gallery, attack=("square", ""))}, "square"),
    ]:
        with pytest.raises(InvalidInput, match=told):
            replace(evaluation, **changes)


def test_a_gallery_must_fit(evaluation: Evaluation) -> None:
    x = np.zeros((2, 3), dtype=np.float32)
    with pytest.raises(InvalidInput, match="do not fit"):
        Gallery(np.array([1]), x, x, ("", ""))
    with pytest.raises(InvalidInput, match="not finite"):
        Gallery(np.array([1, 2]), x, x + np.inf, ("", ""))


def test_curves() -> None:
    curve = Curve("steps", "steps", (1, 10, 100), (8, 5, 4), 10)
    assert curve.accuracy == (0.8, 0.5, 0.4)
    assert curve.rates[0] == Rate(8, 10)
    with pytest.raises(InvalidInput, match="growing"):
        replace(curve, x=(1, 1, 2))
    with pytest.raises(InvalidInput, match="2 positions and 3 counts"):
        replace(curve, x=(1, 2))
    with pytest.raises(InvalidInput, match="correct of 7"):
        replace(curve, n=7)


def test_a_severity_is_one_of_three() -> None:
    assert Finding("a", "alarm", "b", "c", "d").severity is Severity.ALARM  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="loud"):
        Finding("a", "loud", "b", "c", "d")  # type: ignore[arg-type]
