"""How a worker's process keeps memory: what was freed is used again, and not given back to the system at once.

Preprocessing of a large network makes and frees arrays of many megabytes all the time. The C library gives each of
them back and asks for it anew, and the system clears every page of it: with glibc that takes longer than what a worker
computes. Other C libraries keep to their own ways. A worker begins with it when the first such network is asked: for
small ones it would hold more memory and win nothing.
"""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""Of mallopt(), in malloc.h."""

KEPT_BYTES = 512 << 20
"""Free memory at the end of the heap that is kept."""

STEP_BYTES = 16 << 20
"""The heap grows by so much at a time."""


def keep_memory() -> bool:
    """Keep what is freed; whether this C library can."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    options = ((MMAP_MAX, 0), (TRIM_THRESHOLD, KEPT_BYTES), (TOP_PAD, STEP_BYTES))
    taken = [mallopt(option, value) == 1 for option, value in options]
    return all(taken)
