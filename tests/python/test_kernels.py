"""Compiled kernels: made once for each user, outside the library, and never inside a query."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba.core.event as events
import pytest
import syfr
from harness import small_models
from syfr.directories import cache_directory, locked
from syfr.errors import DeadlineError
from syfr.party import kernels

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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory for kernels, for whose lock nobody waits long."""
    monkeypatch.setenv("SYFR_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(kernels, "COMPILE_SECONDS", 0.1)
    return cache_directory() / "kernels"


def test_workers_wait_for_the_one_that_compiles_and_not_for_each_other(cache: Path) -> None:
    with locked(cache), pytest.raises(DeadlineError), kernels.loading():
        pass
    with kernels.loading(), pytest.raises(DeadlineError), kernels.loading():
        pass
    with locked(cache), kernels.loading():
        pass


def test_kernels_are_not_taken_for_complete_when_compiling_failed_or_the_code_is_another(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="no kernel"), kernels.loading():
        raise ValueError("no kernel")
    assert not list(cache.glob("complete-*"))
    with kernels.loading():
        pass
    monkeypatch.setattr(sys, "version", "another Python")
    with locked(cache), pytest.raises(DeadlineError), kernels.loading():
        pass


def test_a_worker_loads_nothing_that_no_kernel_uses(child_env: dict[str, str]) -> None:
    script = """
import sys
from syfr.party import kernels
names = [name for name in kernels.UNUSED if name not in sys.modules]
with kernels.loading():
    import syfr.party.service
print([name for name in names if name in sys.modules])
"""
    said = subprocess.check_output([sys.executable, "-c", script], env=child_env, text=True, timeout=120)
    assert said.strip() == "[]"
