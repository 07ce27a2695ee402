"""How a worker's process keeps memory: what was freed is used again, and not given back to the system at once.

Preprocessing makes and frees arrays of some megabytes all the time. The C library gives each of them back and asks for
it anew, and the system clears every page of it: with glibc a fifth of a worker's time for batches, and for large
networks more than what it computes. Other C libraries keep to their own ways. For large networks a worker keeps more
from when the first of them is asked: for small ones it would hold memory and win nothing.
"""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4
"""Of mallopt(), in malloc.h."""

KEPT_BYTES = 32 << 20
"""Free memory at the end of the heap that is kept, and the largest array that comes from the heap: glibc's own most."""

KEPT_LARGE_BYTES = 512 << 20
"""The same for large networks, whose arrays all come from the heap."""

STEP_BYTES = 16 << 20
"""The heap grows by so much at a time then."""


def keep_memory() -> bool:
    """Keep what is freed, as much as small networks use; whether this C library can."""
    return _set((MMAP_THRESHOLD, KEPT_BYTES), (TRIM_THRESHOLD, KEPT_BYTES))


def keep_more_memory() -> bool:
    """Keep what is freed, as much as large networks use; whether this C library can."""
    return _set((MMAP_MAX, 0), (TRIM_THRESHOLD, KEPT_LARGE_BYTES), (TOP_PAD, STEP_BYTES))


def _set(*options: tuple[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    taken = [mallopt(option, value) == 1 for option, value in options]
    return all(taken)
