import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.errors import CheckpointError
from holdfast.results import History


def line(epoch: int, **values: Any) -> str:
    return json.dumps({"event": "epoch", "epoch": epoch, **values}) + "\n"


def test_epochs_become_columns(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        json.dumps({"event": "start", "device": "cpu"})
        + "\n"
        + line(0, seconds=2.5, loss=1.5, clean_accuracy=0.4)
        + json.dumps({"event": "step", "step": 7, "loss": 9.0})
        + "\n"
        + line(1, seconds=5, loss=1.0, note="back to epoch 0")
    )
    history = History.read(path)
    assert history.epoch.tolist() == [0, 1]
    assert history["seconds"].tolist() == [2.5, 5.0]
    assert history["loss"].tolist() == [1.5, 1.0]
    np.testing.assert_array_equal(history["clean_accuracy"], [0.4, np.nan])
    np.testing.assert_array_equal(history["robust_accuracy"], [np.nan, np.nan])
    assert "note" not in history.columns


def test_stages_are_summed_over_epochs(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(0, loss=2.0) + line(1, search_seconds=1.5, data_seconds=0.25) + line(2, search_seconds=2.0))
    assert History.read(path).stages == {"data": 0.25, "search": 3.5}
    assert list(History.read(path).stages) == ["data", "search"], "in the order of a step"


def test_an_epoch_run_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(0, loss=3.0) + line(1, loss=2.0) + line(1, loss=2.5) + line(2, loss=1.0))
    assert History.read(path)["loss"].tolist() == [3.0, 2.5, 1.0]


def test_a_line_cut_short_is_dropped_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(0, loss=3.0) + line(1, loss=2.0)[:-1])
    assert History.read(path).epoch.tolist() == [0]
    path.write_text(line(0, loss=3.0) + '{"event": "ep\n' + line(1, loss=2.0))
    with pytest.raises(CheckpointError, match="line 2"):
        History.read(path)
    with pytest.raises(CheckpointError, match="No such file"):
        History.read(tmp_path / "none.jsonl")


def test_an_empty_log_is_an_empty_history(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    assert len(History.read(tmp_path / "metrics.jsonl")) == 0
