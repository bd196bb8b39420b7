"""The account of the steps' time, and the trace of some of them."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from holdfast.recipe import Recipe
from holdfast.results.history import STAGES
from holdfast.training import train
from holdfast.training.log import read_events
from holdfast.training.stages import Stages, told

CPU = torch.device("cpu")


def test_a_stage_lasts_until_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    stages = Stages(CPU)
    for stage in ("data", "search", "loss", "search", "validation"):
        stages.begin(stage)
    stages.read()
    assert stages.epoch() == {"data_seconds": 1.0, "search_seconds": 2.0 + 4.0, "loss_seconds": 3.0}
    stages.begin("data")
    stages.read()
    assert stages.epoch() == {}, "what is no stage is not counted"
    assert told(stages.total) == "time of the steps: data 10.0%, search 60.0%, loss 30.0%"


def test_marks_are_in_the_queue_of_the_device_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be torch's current one."""
    marked = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            self.timing = enable_timing

        def record(self, stream: object = None) -> None:
            marked.append(stream)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    Stages(torch.device("cuda:1")).begin("data")
    assert marked == ["the stream of cuda:1"]


def test_the_log_accounts_for_the_time_of_an_epochs_steps(tmp_path: Path, tiny: Callable[..., Recipe]) -> None:
    run = train(tiny(), tmp_path / "run", device="cpu", profile=True, progress=False)
    for event, _ in read_events(run.folder / "metrics.jsonl"):
        if event["event"] == "epoch":
            counted = [event[f"{stage}_seconds"] for stage in STAGES]
            assert min(counted) > 0.0
            assert sum(counted) < event["seconds"] - event["validation_seconds"] + 1e-3
    trace = json.loads((run.folder / "trace.json").read_text())
    names = [event.get("name") for event in trace["traceEvents"]]
    assert set(STAGES) <= set(names)
    assert names.count("search") >= 3
