"""The instruments of the speed benchmarks: what they compare, and what they write."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as xml

import pytest
import torch
from benchmarks.speed import __main__ as main
from benchmarks.speed import page, processes, subjects, training
from torch import Tensor, nn

from benchmarks import harness, pictures
from holdfast.data.names import ENVIRONMENT

MADE = {"command": "c", "threads": "1", "torch": "2", "python": "3", "device": "a CPU", "commit": "0123456789abcdef"}


def record(**times: list[float]) -> dict[str, Any]:
    return {
        "examples": 12,
        "clock": "cpu",
        "times": {name: {"cpu": taken} for name, taken in times.items()},
        "passes": "p",
    }


def test_contestants_take_turns_and_the_warm_up_is_not_counted() -> None:
    calls: list[str] = []
    entered = [harness.Contestant(name, lambda name=name: calls.append(name) or len(calls)) for name in "ab"]
    times, done = harness.contest(entered, rounds=3, device="cpu", warmup=1)
    assert calls == ["a", "b"] * 4
    assert [len(times[name][clock]) for name in "ab" for clock in ("cpu", "wall")] == [3] * 4
    assert done == {"a": 7, "b": 8}


def test_a_ratio_is_taken_within_each_round() -> None:
    """The machine was ten times slower in the second round."""
    found = harness.ratio(record(slow=[2.0, 20.0, 4.0], fast=[1.0, 10.0, 1.0]), "slow", "fast")
    assert found == harness.Spread(2.0, 2.0, 4.0)
    assert harness.ratio(record(slow=[2.0]), "slow", "absent") is None
    assert harness.throughput(record(one=[2.0, 4.0, 6.0]), "one") == harness.Spread(3.0, 2.0, 6.0)
    assert found.text(1) == "2.0 [2.0, 4.0]"
    assert harness.Spread.of([1.234]).text() == "1.23"


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> subjects.Subject:
    """The small subject on a machine without MNIST."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    subjects.images.cache_clear()
    monkeypatch.setattr(subjects, "TRAINED_ON", 300)
    return replace(subjects.SUBJECTS["mnist"], batch_size=4)


def test_without_real_images_the_digits_stand_in(digits: subjects.Subject) -> None:
    data = subjects.images("mnist", 2000)
    assert data.name == "digits as mnist"
    assert [len(data.load(split)) for split in ("train", "test")] == [2000, 2000]
    assert data.load("train").shape == digits.shape
    assert torch.equal(data.load("test").images[0], data.load("test").images[449])


@pytest.mark.parametrize("method", training.METHODS)
def test_the_floor_is_the_passes_that_the_method_counts(digits: subjects.Subject, method: str) -> None:
    recipe = digits.recipe(method)
    bare = training.Bare(recipe, *training.fresh(recipe, "cpu"))
    passes = 0.0

    def count(_: nn.Module, given: tuple[Tensor, ...], logits: Tensor) -> None:
        nonlocal passes
        passes += len(logits) / digits.batch_size * (1.0 if logits.requires_grad else 1.0 / 3.0)

    bare.model.register_forward_hook(count)
    before = [parameter.clone() for parameter in bare.model.parameters()]
    training.FLOORS[method](bare)
    assert passes == pytest.approx(recipe.method.passes)
    moved = [not torch.equal(old, new) for old, new in zip(before, bare.model.parameters(), strict=True)]
    assert all(moved)


def test_the_timed_step_is_one_of_the_trainer(digits: subjects.Subject, tmp_path: Path) -> None:
    with training.trainer_steps(training.plain(digits.recipe("fgsm_rs")), "cpu", tmp_path) as (step, _):
        for _ in range(3):
            step()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "step"] == [3]


def test_the_page_has_what_was_measured_and_names_who_was_absent(tmp_path: Path) -> None:
    times = record(**{training.FLOOR: [1.0, 2.0], training.OURS: [0.5, 0.8], "MAIR": [1.0, 2.0]})
    made = MADE | {"peers": {"MAIR": "a checkout", "ART": "absent"}, "data": {"mnist": "digits"}}
    growth = {axis: {"mnist": {"1": [2.0, 3.0], "10": [20.0, 21.0]}} for axis in page.growth.AXES}
    found = {
        "training": {"made": made, "found": {"mnist/pgd_at": times}},
        "growth": {"made": made, "found": growth},
    }
    page.write(found, tmp_path / "speed.md")
    text = (tmp_path / "speed.md").read_text()
    assert "| holdfast | 20, 0.45 [0.40, 0.50] |" in text
    assert "| holdfast over MAIR | **2.25 [2.00, 2.50]** |" in text
    assert "`c` at 0123456789ab: a CPU, one thread" in text
    assert "MAIR a checkout (absent and left out: ART)" in text
    assert "mnist is digits" in text
    bars = xml.parse(tmp_path / "speed.svg").getroot()
    assert "2.25" in {element.text for element in bars.iter()}
    lines = xml.parse(tmp_path / "speed_growth.svg").getroot()
    assert sum("line" in element.get("class", "").split() for element in lines.iter()) >= len(page.growth.AXES)


def test_when_its_time_is_over_it_begins_nothing_more_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]

    def part(device: str, short: bool, folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
        for kind in ("idle", "evaluate"):
            now[0] += 50.0
            yield f"mnist/{kind}/2048", 100.0

    monkeypatch.setattr(main, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(main, "PARTS", dict.fromkeys(("memory", "start-up"), part))
    monkeypatch.setattr(sys, "argv", ["speed", "--minutes", "1", "--pages", str(tmp_path)])
    main.main()
    assert "1 minutes are over; left out: start-up" in capsys.readouterr().out
    assert list(json.loads((tmp_path / "speed_cpu.json").read_text())) == ["memory"]
    assert "Nothing more was begun after 1 minutes." in (tmp_path / "speed_cpu.md").read_text()
    now[0] = -1000.0
    monkeypatch.setattr(sys, "argv", ["speed", "--minutes", "1", "--parts", "memory", "--pages", str(tmp_path)])
    main.PARTS["memory"] = lambda *_: iter([("mnist/idle/2048", 100.0)])
    main.main()
    text = (tmp_path / "speed_cpu.md").read_text()
    assert "Nothing more was begun" not in text
    assert "| mnist | idle | 2048 / 8192 | 100 | - |" in text


def test_a_power_is_straight_on_a_line_chart() -> None:
    chart = pictures.line_chart("t", "x", "y", {"one": {x: (x**2, x**2, x**2) for x in (1.0, 2.0, 4.0)}})
    places = [(chart.x.place(x), chart.y.place(y)) for x, y in zip(chart.series[0].x, chart.series[0].y, strict=True)]
    (a, b), (c, d), (e, f) = places
    assert (d - b) / (c - a) == pytest.approx((f - d) / (e - c))


def test_the_peak_of_a_process_is_its_own(tmp_path: Path) -> None:
    """Not that of the one that started it."""
    room = bytearray(b"1") * (800 * 2**20)
    found = processes.task("idle", "--data", "mnist", "--examples", "64")
    assert len(room) > 0
    assert 50 < found["memory_mb"] < 800
