"""How the process keeps its memory.

glibc gives large blocks back to the system as soon as they are freed, and the next step of a training or an attack
faults the same pages in again, one by one: about 2,000 faults a gradient pass of 250 digits. Kept, they cost nothing: a
float32 gradient pass of the small CNN takes 57 in place of 74 microseconds an image, a bfloat16 one 40 in place of 56
(one core of an AMD EPYC).
"""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc refuses more on 64 bits
_TOUCHED = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_memory() -> bool:
    """Have malloc keep freed blocks for the next step, where it is glibc's and the user has not set it otherwise.

    It holds for the whole process, whose memory then stays at its peak; for the command line, not for a library.

    Returns:
        Whether it was set.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _TOUCHED):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = {_MMAP_THRESHOLD: _LARGEST_MMAP_THRESHOLD, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 16 << 20}
    return all(mallopt(option, value) for option, value in settings.items())
