"""Freed memory stays with the process."""

import os
import subprocess
import sys

import pytest

from holdfast.allocator import keep_memory

# Whether glibc takes a block of 20 MiB straight from the system, to give it back when it is freed.
MAPPED = """
import ctypes, sys
from holdfast.allocator import keep_memory
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]
libc.mallinfo2.restype = Info
if "keep" in sys.argv:
    assert keep_memory()
before = libc.mallinfo2().hblks
libc.malloc(ctypes.c_size_t(20 << 20))
print(libc.mallinfo2().hblks - before)
"""


def mapped(*arguments: str) -> int:
    command = [sys.executable, "-c", MAPPED, *arguments]
    return int(subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not keep_memory(), reason="the C library is not glibc, or malloc was set by the user")
def test_large_blocks_stay_with_the_process() -> None:
    assert mapped() == 1
    assert mapped("keep") == 0


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_TRIM_THRESHOLD_"])
def test_the_users_own_settings_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_memory()
