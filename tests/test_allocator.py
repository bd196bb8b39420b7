"""Freed memory stays with the process."""

import os
import subprocess
import sys

import pytest

from holdfast.allocator import keep_memory

FAULTS = """
import resource, sys
import torch
from holdfast.allocator import keep_memory
if "keep" in sys.argv:
    assert keep_memory()
def work():
    blocks = [torch.ones(1 << 20) for _ in range(4)]  # 4 MiB each
    return sum(float(block[0]) for block in blocks)
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FAULTS, *arguments]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not keep_memory(), reason="the C library is not glibc, or malloc was set by the user")
def test_steps_fault_no_pages_in_again() -> None:
    assert faults("keep") < 0.1 * faults()


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_TRIM_THRESHOLD_"])
def test_the_users_own_settings_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_memory()
