"""What every Python test of syfr shares: where the checkout is, and its path for child processes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout's top directory."""
    return ROOT


@pytest.fixture
def bench(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of the measurements, by its name: what they measure is tested too."""
    monkeypatch.syspath_prepend(str(root))
    return lambda name: importlib.import_module(f"bench.{name}")


@pytest.fixture(scope="session")
def child_env() -> dict[str, str]:
    """The environment for a Python child process that is to import the syfr of this checkout."""
    search = [str(ROOT / "inst" / "python")]
    if os.environ.get("PYTHONPATH"):
        search.append(os.environ["PYTHONPATH"])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(search)}
