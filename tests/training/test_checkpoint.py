"""Checkpoints: whole or refused, two of them kept."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from holdfast.errors import CheckpointError, HoldfastError
from holdfast.training.checkpoint import Checkpoint, Checkpoints

STATE = {
    "learner": {"optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}},
    "best": {},
}


def filled(folder: Path, steps: range = range(1, 4)) -> Checkpoints:
    checkpoints = Checkpoints(folder, "run")
    for step in steps:
        checkpoints.save(Checkpoint(step, b"weights of %d" % step, {**STATE, "step": step}))
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


def test_comes_back_as_it_was_and_two_are_kept(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path)
    found = checkpoints.load(pytest.fail)
    assert found is not None
    assert (found.step, found.weights, found.state["step"]) == (3, b"weights of 3", 3)
    assert torch.equal(found.state["learner"]["optimizer"]["state"][0]["step"], torch.tensor(3.0))
    assert names(tmp_path) == ["000000002", "000000003"]


def test_a_run_killed_before_its_first_checkpoint_has_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "absent", "run").load(pytest.fail) is None


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "record.json"])
@pytest.mark.parametrize("damage", ["cut", "foreign", "missing"])
def test_a_damaged_one_is_refused_and_the_one_before_it_used(tmp_path: Path, name: str, damage: str) -> None:
    checkpoints = filled(tmp_path)
    path = tmp_path / "000000003" / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9] if damage == "cut" else b'{"schema": "something else"}')
    notes: list[str] = []
    found = checkpoints.load(notes.append)
    assert found is not None
    assert found.step == 2
    if (name, damage) != ("record.json", "missing"):  # without record it was never finished, which is no fault
        assert len(notes) == 1
        assert "000000003" in notes[0]
        assert "going on from the one before it, at step 2" in notes[0]


def test_all_damaged_is_an_error_that_names_each(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path)
    for place in tmp_path.iterdir():
        (place / "state.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"000000003 is damaged.*000000002 is damaged.*new run"):
        checkpoints.load(pytest.fail)


def test_another_runs_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(CheckpointError, match="belongs to another run"):
        Checkpoints(tmp_path, "other").load(pytest.fail)


def test_pickled_objects_are_not_run(tmp_path: Path) -> None:
    """A state file with true hashes that holds an object which would run code when unpickled."""
    checkpoints = filled(tmp_path, range(1, 2))

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    checkpoints.save(Checkpoint(1, b"", {"attack": Attack()}))
    with pytest.raises(CheckpointError, match="is foreign"):
        checkpoints.load(pytest.fail)
    assert not (tmp_path / "ran").exists()


def test_sweeps_away_what_was_never_finished_or_refused(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path)
    (tmp_path / "000000009").mkdir()
    (tmp_path / "000000009" / ".model.safetensors.1.part").write_bytes(b"half")
    checkpoints.sweep(2)
    assert names(tmp_path) == ["000000002"]


@pytest.mark.parametrize("survives", range(8))
def test_a_full_disk_leaves_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    checkpoints = filled(tmp_path, range(1, 2))
    real, calls = os.fsync, iter(range(100))

    def full(descriptor: int) -> None:
        if next(calls) >= survives:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    # A save makes six files and folders durable.
    if survives < 6:
        with pytest.raises(HoldfastError, match=r"No space left on device.*make room"):
            checkpoints.save(Checkpoint(2, b"weights of 2", STATE))
    else:
        checkpoints.save(Checkpoint(2, b"weights of 2", STATE))
    expected = 1 if survives < 6 else 2
    found = Checkpoints(tmp_path, "run").load(pytest.fail)
    assert found is not None
    assert found.step == expected
    assert json.loads((tmp_path / f"{expected:09d}" / "record.json").read_text())["step"] == expected
