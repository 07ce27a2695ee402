"""Images a second in batches, with preprocessing done ahead and inside the time. (Many clients: clients.py.)"""

from __future__ import annotations

import os
import time
from typing import Any

import syfr as sy
from syfr.face.client import Client

from bench import models, serving
from bench.stats import Figures, seconds_of

BATCHES = (1, 8, 32, 128)
SECONDS = 3.0
LEAST = 10
STORE_ROWS = 512
"""More rows than the workers keep ready for a session."""


def measure(figures: Figures, model: Any, cluster: sy.TFECluster, batches: tuple[int, ...] = BATCHES) -> None:
    """Each batch size in a session of its own, whose requests have that size."""
    processes = {**serving.pids(cluster), "client": os.getpid()}
    with serving.served(model, cluster):
        for rows in batches:
            x = models.images(model, rows)
            with serving.connected(model, cluster, rows) as client:
                with serving.connected(model, cluster) as other:
                    _ahead(figures, f"{model.name}/{rows}", client, other, x, processes)
                _inside(figures, f"{model.name}/{rows}", client, x, processes)


def _ahead(
    figures: Figures, name: str, client: Client, other: Client, x: models.Images, processes: dict[str, int]
) -> None:
    """Each query begins when the workers have prepared all they want to, and another client has woken them up."""
    workers = serving.Processors([process for role, process in processes.items() if role != "client"])
    seconds: list[float] = []
    client.querying(x).wait()
    began = time.perf_counter()
    while len(seconds) < LEAST or time.perf_counter() < began + SECONDS:
        workers.rest()
        other.querying(x[:1]).wait()
        seconds.append(seconds_of(lambda: client.querying(x).wait()))
    figures.add(f"batch seconds/{name}/ahead", "s", seconds)
    figures.add(f"throughput/{name}/ahead", "images/s", [len(x) / value for value in seconds])


def _inside(figures: Figures, name: str, client: Client, x: models.Images, processes: dict[str, int]) -> None:
    """One query after the other, from when what was prepared at the beginning is used up."""
    used = 0
    while used < STORE_ROWS:
        client.querying(x).wait()
        used += len(x)
    clocks = serving.Processors(list(processes.values()))
    before = clocks.used()
    began = time.perf_counter()
    seconds: list[float] = []
    while len(seconds) < LEAST or time.perf_counter() < began + SECONDS:
        seconds.append(seconds_of(lambda: client.querying(x).wait()))
    after = clocks.used()
    for role, process in processes.items():
        each = (after[process] - before[process]) / (len(x) * len(seconds))
        figures.add(f"processor/{name}/inside/{role}", "s", each)
    figures.add(f"batch seconds/{name}/inside", "s", seconds)
    # A store is used and filled in turn: windows of a fifth of the queries show the spread of the rate, not of one.
    part = max(1, len(seconds) // 5)
    windows = [seconds[start : start + part] for start in range(0, part * 5, part)]
    figures.add(f"throughput/{name}/inside", "images/s", [len(x) * len(w) / sum(w) for w in windows if w])
