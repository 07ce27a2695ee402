"""Bytes between workers for one query, exactly: by the workers' own counters, and as the operations declare them."""

from __future__ import annotations

from typing import Any

import syfr as sy
from syfr.party.preprocessing import program_cost

from bench import models, serving
from bench.stats import Figures


def measure(figures: Figures, model: Any, cluster: sy.TFECluster, rows: tuple[int, ...] = (1, 32)) -> None:
    """The workers prepare no more rows than are served, so serving a query's rows shows what it costs, and no more."""
    workers = serving.Processors(list(serving.pids(cluster).values()))
    for count in rows:
        x = models.images(model, count)
        before = serving.sent_between_workers(cluster)
        with serving.served(model, cluster, requests=1) as shared:
            shared_at = serving.sent_between_workers(cluster)
            with serving.connected(model, cluster, count) as client:
                workers.rest()
                prepared = serving.sent_between_workers(cluster)
                client.querying(x).wait()
                workers.rest()
                answered = serving.sent_between_workers(cluster)
                figures.add(f"bytes/{model.name}/{count}/client sends", "B", client.last_query["bytes_sent"])
                figures.add(f"bytes/{model.name}/{count}/client receives", "B", client.last_query["bytes_received"])
            declared = program_cost(shared.program)
        _add(figures, f"bytes/{model.name}/{count}/sharing", before, shared_at)
        _add(figures, f"bytes/{model.name}/{count}/preprocessing", shared_at, prepared)
        _add(figures, f"bytes/{model.name}/{count}/online", prepared, answered)
        figures.add(f"bytes/{model.name}/{count}/preprocessing declared", "B", count * declared.preprocessing_bytes)
        figures.add(f"bytes/{model.name}/{count}/online declared", "B", count * declared.online_bytes)
    figures.add(f"delays declared/{model.name}", "", declared.delays)


def _add(figures: Figures, name: str, before: dict[str, int], after: dict[str, int]) -> None:
    figures.add(name, "B", sum(after.values()) - sum(before.values()))
    for way, count in after.items():
        if count > before[way]:
            figures.add(f"{name}/{way}", "B", count - before[way])
