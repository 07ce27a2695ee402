"""A cluster of three real workers with shared models, as a user makes one, and what can be seen of it from outside."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import syfr as sy
from numpy.typing import NDArray
from syfr.face.client import Client
from syfr.face.owner import SharedModel, sharing

Input = NDArray[np.floating[Any]]

TIMEOUT = 120.0

QUIET_SECONDS = 0.03
"""Workers that use no processor for so long have prepared what they want to have ready."""


@contextlib.contextmanager
def running() -> Iterator[sy.TFECluster]:
    """Three managed workers on free ports, gone afterwards."""
    cluster = sy.local_cluster()
    cluster.starting(TIMEOUT).wait()
    try:
        yield cluster
    finally:
        cluster.stopping().wait()


@contextlib.contextmanager
def served(model: Any, cluster: sy.TFECluster, requests: int | None = None) -> Iterator[SharedModel]:
    """A model shared and served, and dropped afterwards."""
    shared = sharing(model, cluster, name=model.name).wait(TIMEOUT)
    try:
        shared.open_serving(requests).wait(TIMEOUT)
        yield shared
    finally:
        shared.dropping().wait(TIMEOUT)


@contextlib.contextmanager
def connected(model: Any, cluster: sy.TFECluster, rows: int = 1) -> Iterator[Client]:
    """A client whose requests have so many rows."""
    client = Client(cluster)
    inputs, outputs = ((rows, *shape[1:]) for shape in (model.input_shape, model.output_shape))
    client.connecting(inputs, outputs, model.name, TIMEOUT).wait()
    try:
        yield client
    finally:
        client.disconnect()


def pids(cluster: sy.TFECluster) -> dict[str, int]:
    """The processes of the workers, by role."""
    return {state["worker"]: int(state["pid"]) for state in cluster.status()}


class Processors:
    """How much processor time the workers have used, so that one can wait until they rest."""

    def __init__(self, processes: Sequence[int]) -> None:
        self._processes = list(processes)

    def used(self) -> dict[int, float]:
        """Seconds of each process so far."""
        return {process: _processor_seconds(process) for process in self._processes}

    def rest(self, timeout: float = TIMEOUT) -> None:
        """Wait until no worker has used any for a while: what can be prepared ahead is then ready."""
        end = time.monotonic() + timeout
        before = self.used()
        while time.monotonic() < end:
            time.sleep(QUIET_SECONDS)
            now = self.used()
            if all(now[process] - before[process] < QUIET_SECONDS / 50 for process in now):
                return
            before = now
        raise TimeoutError("The workers do not come to rest.")


def _processor_seconds(process: int) -> float:
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def memory(process: int) -> dict[str, int]:
    """Bytes of memory that a process has now, and the most it has had."""
    found = {}
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[{"VmRSS": "now", "VmHWM": "most"}[name]] = int(value.split()[0]) * 1024
    return found


def sent_between_workers(cluster: sy.TFECluster) -> dict[str, int]:
    """Bytes of frames that each worker has sent each peer, by "server0 to server1"."""
    return {
        f"{state['worker']} to {peer}": int(count)
        for state in cluster.status()
        for peer, count in state["sent"].items()
    }
