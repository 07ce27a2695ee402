"""Compiled kernels: made once for each user, outside the library, and never inside a query."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba.core.event as events
import syfr
from harness import small_models

LIBRARY = Path(syfr.__file__).parent

HITS = """
from syfr.ring import packing
found = [kernel.stats for kernel in (packing._pack48, packing._unpack48)]
print(sum(len(stats.cache_hits) for stats in found), sum(len(stats.cache_misses) for stats in found))
"""


def test_nothing_is_compiled_inside_a_query() -> None:
    cluster = small_models()["mixed"].cluster()
    with events.install_recorder("numba:compile") as recorder:
        for rows in (1, 3):
            cluster.query(small_models()["mixed"].inputs(rows))
    assert recorder.buffer == []


def test_kernels_are_kept_for_the_user_and_not_in_the_library(tmp_path: Path) -> None:
    """A library may be read-only and a service may have no home directory: neither is written to."""
    library, home = tmp_path / "library", tmp_path / "home"
    shutil.copytree(LIBRARY, library / "syfr", ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(library.rglob("*"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG", "R_USER"))}
    environment = {**kept, "PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path / "none")}

    def count() -> str:
        command = [sys.executable, "-c", HITS]
        return subprocess.check_output(command, env={**environment, "SYFR_HOME": str(home)}, text=True).strip()

    assert count() == "0 2"
    assert count() == "2 0"
    assert sorted(library.rglob("*")) == before
    assert not (tmp_path / "none").exists()
    assert list((home / "cache" / "kernels").rglob("*.nbi"))
