"""How the cost of one query grows with the batch and with the multiply-adds of the model."""

from __future__ import annotations

from typing import Any

import syfr as sy

from bench import models, serving
from bench.stats import Figures, seconds_of

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Up to what the workers prepare ahead; of larger ones the rest is prepared inside the time."""

WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
RUNS = 10


def measure(figures: Figures, cluster: sy.TFECluster, batches: tuple[int, ...] = BATCHES) -> None:
    """Each query begins when the workers rest, but for one of another client that wakes them up."""
    workers = serving.Processors(list(serving.pids(cluster).values()))
    for model in (models.conv(), models.dense()):
        with serving.served(model, cluster):
            for rows in batches:
                seconds = _query_seconds(model, cluster, workers, rows)
                figures.add(f"growth/batch/{model.name}/{rows}", "s", seconds)
    for width in WIDTHS:
        model = models.dense(784, width)
        with serving.served(model, cluster):
            seconds = _query_seconds(model, cluster, workers, 1)
            figures.add(f"growth/multiply-adds/{width * (784 + 10)}", "s", seconds)


def _query_seconds(model: Any, cluster: sy.TFECluster, workers: serving.Processors, rows: int) -> list[float]:
    x = models.images(model, rows)
    with serving.connected(model, cluster, rows) as client, serving.connected(model, cluster) as other:
        client.querying(x).wait()
        seconds = []
        for _ in range(RUNS):
            workers.rest()
            other.querying(x[:1]).wait()
            seconds.append(seconds_of(lambda: client.querying(x).wait()))
    return seconds
