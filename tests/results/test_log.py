import json
import os
from errno import ENOSPC
from pathlib import Path

import pytest

from holdfast.errors import CheckpointError, HoldfastError, InvalidInput
from holdfast.results import VerdictLog, Verdicts

IDENTITY = {"weights": "9f86d0", "eps": 0.3}
ATTACKS = ("fgsm", "apgd-ce")
NAN = float("nan")


def fill(log: VerdictLog) -> None:
    """Record the verdicts of the hand-made table, in the order of an evaluation."""
    log.record_clean([3, 5, 8, 9], [0, 0, 1, 2], [1, 0, 1, 2])
    log.record("fgsm", [5, 8, 9], [-1, 0, -1], [0.1, 0.25, NAN], [1, 1, 1])
    log.record("apgd-ce", [5], [2], [0.3], [17])
    log.record("apgd-ce", [9], [-1], [NAN], [100])


def test_a_log_becomes_the_table(verdicts: Verdicts, tmp_path: Path) -> None:
    with VerdictLog(tmp_path / "log.jsonl", IDENTITY, ATTACKS) as log:
        fill(log)
        assert log.verdicts() == verdicts
    with VerdictLog(tmp_path / "log.jsonl", IDENTITY, ATTACKS) as again:
        assert again.verdicts() == verdicts


def test_the_log_knows_who_waits(tmp_path: Path) -> None:
    with VerdictLog(tmp_path / "log.jsonl", IDENTITY, ATTACKS) as log:
        log.record_clean([3, 5, 8, 9], [0, 0, 1, 2], [1, 0, 1, 2])
        assert log.waiting("fgsm") == [5, 8, 9]
        log.record("fgsm", [8], [0], [0.25], [1])
        assert (log.waiting("fgsm"), log.waiting("apgd-ce")) == ([5, 9], [5, 9])
        assert (log.broken(8), log.broken(8, before="fgsm"), log.broken(5)) == (True, False, False)
        with pytest.raises(InvalidInput, match="2 examples still wait for fgsm, example 5 first"):
            log.verdicts()


def test_a_log_killed_anywhere_goes_on_to_the_same_table(verdicts: Verdicts, tmp_path: Path) -> None:
    """Cut the file at every byte, open it, record what is missing: the verdicts are those of the whole run."""
    path = tmp_path / "log.jsonl"
    with VerdictLog(path, IDENTITY, ATTACKS) as log:
        fill(log)
    whole = path.read_bytes()
    known = {(attack, example): v for attack, of in log.attacked.items() for example, v in of.items()}
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with VerdictLog(path, IDENTITY, ATTACKS) as log:
            for example, (label, prediction) in {3: (0, 1), 5: (0, 0), 8: (1, 1), 9: (2, 2)}.items():
                if example not in log.predictions:
                    log.record_clean([example], [label], [prediction])
            for attack in ATTACKS:
                for example in log.waiting(attack):
                    found, distance, steps = known[attack, example]
                    log.record(attack, [example], [found], [distance], [steps])
            assert log.verdicts() == verdicts
        assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_what_was_recorded_is_on_the_disk_at_once(tmp_path: Path) -> None:
    with VerdictLog(tmp_path / "log.jsonl", IDENTITY, ATTACKS) as log:
        log.record_clean([3], [0], [0])
        assert (tmp_path / "log.jsonl").read_text().count("\n") == 2


def test_another_evaluation_is_refused(tmp_path: Path) -> None:
    VerdictLog(tmp_path / "log.jsonl", IDENTITY, ATTACKS).close()
    with pytest.raises(CheckpointError, match=r"eps was 0\.3, is 0\.1"):
        VerdictLog(tmp_path / "log.jsonl", {**IDENTITY, "eps": 0.1}, ATTACKS)
    with pytest.raises(CheckpointError, match="attacks was"):
        VerdictLog(tmp_path / "log.jsonl", IDENTITY, ("fgsm",))


@pytest.mark.parametrize("content", [b"PK\x03\x04", b'{"event": "epoch"}\n', b"[1]\n", b"text\n"])
def test_a_foreign_file_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a log of verdicts"):
        VerdictLog(path, IDENTITY, ATTACKS)
    assert path.read_bytes() == content


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with VerdictLog(path, IDENTITY, ATTACKS) as log:
        fill(log)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b'{"example": 5, "attack"\n', *lines[3:]]))
    with pytest.raises(CheckpointError, match="line 4"):
        VerdictLog(path, IDENTITY, ATTACKS)


def test_nothing_is_recorded_twice_or_out_of_place(tmp_path: Path) -> None:
    with VerdictLog(tmp_path / "log.jsonl", IDENTITY, ATTACKS) as log:
        fill(log)
        size = (tmp_path / "log.jsonl").stat().st_size
        with pytest.raises(InvalidInput, match="already"):
            log.record("fgsm", [5], [-1], [NAN], [1])
        with pytest.raises(InvalidInput, match="already"):
            log.record_clean([3], [0], [1])
        with pytest.raises(InvalidInput, match="square"):
            log.record("square", [5], [-1], [NAN], [1])
        with pytest.raises(InvalidInput, match="no clean prediction"):
            log.record("fgsm", [77], [-1], [NAN], [1])
        assert (tmp_path / "log.jsonl").stat().st_size == size


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    with VerdictLog(path, IDENTITY, ATTACKS) as log:
        log.record_clean([3], [0], [0])
        before = path.read_bytes()

        def full(_: int) -> None:
            raise OSError(ENOSPC, os.strerror(ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(HoldfastError, match="No space left on device; make room"):
            log.record("fgsm", [3], [-1], [NAN], [1])
    assert path.read_bytes() == before
