"""A worker uses memory that it has freed again, without asking the system for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from syfr.party.heap import keep_memory
kept = {keep} and keep_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""
PAGES = (64 << 20) // 4096


def faults(keep: bool, env: dict[str, str]) -> tuple[bool, int]:
    """Whether memory is kept, and the pages that the system had to give for an array when one was just freed."""
    command = [sys.executable, "-c", FAULTS.format(keep=keep)]
    env = {**env, "NUMPY_MADVISE_HUGEPAGE": "0"}
    said = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    return said[0] == "True", int(said[1])


def test_memory_that_was_freed_is_used_again(child_env: dict[str, str]) -> None:
    kept, few = faults(True, child_env)
    if not kept:
        pytest.skip("this C library has no mallopt()")
    _, many = faults(False, child_env)
    assert few < PAGES // 100 < PAGES // 2 < many
