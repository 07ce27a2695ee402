"""A worker uses memory that it has freed again, without asking the system for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from syfr.party import heap
kept = {keep}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones({size}, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def faults(keep: str, size: int, env: dict[str, str]) -> tuple[bool, int]:
    """Whether memory is kept, and the pages that the system had to give for an array when one was just freed."""
    command = [sys.executable, "-c", FAULTS.format(keep=keep, size=size)]
    env = {**env, "NUMPY_MADVISE_HUGEPAGE": "0"}
    said = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    return said[0] == "True", int(said[1])


@pytest.mark.parametrize(("keep", "megabytes"), [("heap.keep_memory()", 12), ("heap.keep_more_memory()", 64)])
def test_memory_that_was_freed_is_used_again(keep: str, megabytes: int, child_env: dict[str, str]) -> None:
    size, pages = megabytes << 20, (megabytes << 20) // 4096
    kept, few = faults(keep, size, child_env)
    if not kept:
        pytest.skip("this C library has no mallopt()")
    _, many = faults("None", size, child_env)
    assert few < pages // 100 < pages // 2 < many
