"""How long workers take to be ready, and how much memory they hold."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

import syfr as sy

from bench import serving
from bench.stats import Figures, seconds_of

STARTS = 5


def measure(figures: Figures, starts: int = STARTS, first_ever: bool = True) -> None:
    """From start() to three workers that are linked with each other, certificates made on the way."""
    figures.add("start/kernels cached", "s", [_start(figures) for _ in range(starts)])
    if first_ever:
        with tempfile.TemporaryDirectory() as home, _environment("SYFR_HOME", home):
            figures.add("start/first time ever", "s", _start(figures, look=False))


def _start(figures: Figures, look: bool = True) -> float:
    cluster = sy.local_cluster()
    try:
        seconds = seconds_of(lambda: cluster.starting(serving.TIMEOUT).wait())
        if look:
            memory(figures, cluster, "after start")
        return seconds
    finally:
        cluster.stopping().wait()


def memory(figures: Figures, cluster: sy.TFECluster, when: str) -> None:
    """Memory of each worker now, and the most it has had."""
    for role, process in serving.pids(cluster).items():
        for which, size in serving.memory(process).items():
            figures.add(f"memory/{when}/{role}/{which}", "B", size)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
