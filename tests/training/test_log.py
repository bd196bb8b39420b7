"""metrics.jsonl and TensorBoard."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.errors import HoldfastError, MissingExtra
from holdfast.results.history import History
from holdfast.training.log import Log


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_written_is_what_the_report_reads(tmp_path: Path) -> None:
    log = Log(tmp_path / "metrics.jsonl", 0)
    log.write("step", {"epoch": 0, "step": 5, "loss": 2.0})
    log.write("epoch", {"epoch": 0, "step": 5, "loss": 2.0, "robust_accuracy": 0.25})
    assert History.read(tmp_path / "metrics.jsonl")["robust_accuracy"].tolist() == [0.25]
    log.close()


def test_a_run_that_goes_on_drops_what_the_kill_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("w") as file:
        for step in (5, 10, 15):
            file.write(json.dumps({"event": "step", "epoch": 0, "step": step}) + "\n")
        file.write('{"event": "step", "epoch": 0, "st')
    log = Log(path, step=10)
    log.write("step", {"epoch": 0, "step": 15, "again": True})
    log.close()
    assert [line["step"] for line in lines(path)] == [5, 10, 15]
    assert lines(path)[-1]["again"]


def test_the_end_is_dropped_when_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "end", "step": 10, "reason": "finished"}\n')
    Log(path, step=10).close()
    assert lines(path) == []


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    log = Log(tmp_path / "metrics.jsonl", 0)
    log._file.close()
    with Path("/dev/full").open("ab", buffering=0) as log._file, pytest.raises(HoldfastError, match="make room"):
        log.write("step", {"step": 1})


def test_tensorboard_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtra, match=r"holdfast\[tensorboard\]"):
        Log(tmp_path / "metrics.jsonl", 0, tmp_path / "tensorboard")


def test_tensorboard_gets_the_numbers_and_not_their_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []
    made: list[tuple[str, int | None]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int | None) -> None:
            made.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=SummaryWriter))
    log = Log(tmp_path / "metrics.jsonl", 4, tmp_path / "tensorboard")
    log.write("epoch", {"epoch": 0, "step": 5, "robust_accuracy": 0.5})
    log.write("end", {"step": 5, "reason": "finished"})
    log.flush()
    log.close()
    assert made == [(str(tmp_path / "tensorboard"), 5)]
    assert written == [("epoch/robust_accuracy", 0.5, 5)]
