"""The models that the workers of a cluster hold, whoever shared them: listed, and dropped by name or number."""

from __future__ import annotations

import time
from typing import Any

from syfr.errors import NotSharedError
from syfr.face.arguments import text_argument
from syfr.face.cluster import TFECluster
from syfr.face.tasks import Emit, Steps, Task

CALL_SECONDS = 60.0


def listing(cluster: TFECluster) -> Task[list[dict[str, Any]]]:
    """One dictionary for each model: "model" (its number), "name", "workers" that hold it, "serving", "served", ..."""
    return Task(lambda emit: _listed(cluster, emit))


def _listed(cluster: TFECluster, emit: Emit) -> Steps[list[dict[str, Any]]]:
    replies = yield from cluster.ask_all("status", time.monotonic() + CALL_SECONDS, emit=emit)
    found: dict[str, dict[str, Any]] = {}
    for role, reply in replies.items():
        for state in reply.get("models", ()):
            model = found.setdefault(
                state["model"],
                {**{key: state[key] for key in ("model", "name", "requests", "served", "serving")}, "workers": []},
            )
            model["workers"].append(role)
            model["served"] = min(model["served"], state["served"])
            model["serving"] = model["serving"] and state["serving"] and state["ready"]
    for model in found.values():
        model["serving"] = model["serving"] and len(model["workers"]) == len(replies)
    return list(found.values())


def dropping(cluster: TFECluster, which: object) -> Task[dict[str, Any]]:
    """Delete the shares of a model, given by its number, or by its name if no other has it.

    Raises:
        NotSharedError: there is no such model, or several; the message lists what is there.
    """
    wanted = text_argument(which, "model")

    def work(emit: Emit) -> Steps[dict[str, Any]]:
        models = yield from _listed(cluster, emit)
        fitting = [model for model in models if wanted in (model["model"], model["name"])]
        if len(fitting) != 1:
            there = "; ".join(f"'{model['name']}' ({model['model']})" for model in fitting or models) or "none"
            how = f"{len(fitting)} models are" if fitting else "No model is"
            raise NotSharedError(f"{how} called '{wanted}' there. Give the number of one of these: {there}.")
        yield from cluster.ask_all("drop", time.monotonic() + CALL_SECONDS, emit=emit, model=fitting[0]["model"])
        return fitting[0]

    return Task(work)
