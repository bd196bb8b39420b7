"""Two processes on one folder: each run is made once, and both see all of them."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("meet_me.py")


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "cmp")]
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=240) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], told
    said = [out.splitlines() for out, _ in told]
    work = [[line for line in lines if not line.startswith("found")] for lines in said]
    assert all(any(line.startswith("train") for line in lines) for lines in work), "both took part"
    assert sorted(work[0] + work[1]) == [
        "evaluate fgsm_rs",
        "evaluate natural",
        "train runs/fgsm_rs-s0",
        "train runs/natural-s0",
        "train tuning/fgsm_rs/000/run",
        "train tuning/natural/000/run",
    ]
    assert said[0][-1] == said[1][-1]
    assert said[0][-1].count(".") == 2, "each saw both methods"
