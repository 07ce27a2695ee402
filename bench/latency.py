"""One query at a time, next to plain Keras in the same run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import syfr as sy

from bench import models, serving
from bench.stats import Figures, seconds_of

ROUNDS = 30
IN_A_ROW = 8
"""Runs of each kind in a round; fewer than make the workers prepare anew."""


def plain_calls(model: Any, x: models.Images) -> dict[str, Callable[[], object]]:
    """The ways to ask Keras for a prediction, from the one in every tutorial to the fastest."""
    import tensorflow as tf

    fixed = tf.constant(x)
    compiled = tf.function(model, reduce_retracing=True)
    return {
        "predict": lambda: model.predict(x, verbose=0),
        "predict_on_batch": lambda: model.predict_on_batch(x),
        "model(x)": lambda: np.asarray(model(fixed, training=False)),
        "tf.function": lambda: np.asarray(compiled(fixed, training=False)),
    }


def measure(figures: Figures, model: Any, cluster: sy.TFECluster, rounds: int = ROUNDS) -> None:
    """Interleaved in rounds, since machines are noisy.

    A round begins when the workers rest. "private" are the queries of a round but the first; the first, which finds
    everybody asleep, is "private, after a pause".
    """
    x = models.images(model, 1)
    name = model.name
    workers = serving.Processors(list(serving.pids(cluster).values()))
    with serving.served(model, cluster), serving.connected(model, cluster) as client:
        calls = {"private": lambda: client.querying(x).wait(), **plain_calls(model, x)}
        for call in calls.values():
            call()
        found: dict[str, list[float]] = {kind: [] for kind in (*calls, "private, after a pause")}
        for _ in range(rounds):
            workers.rest()
            found["private, after a pause"].append(seconds_of(calls["private"]))
            for kind, call in calls.items():
                found[kind].extend(seconds_of(call) for _ in range(IN_A_ROW))
        error = np.abs(client.querying(x).wait() - np.asarray(model(x)))
        figures.add(f"error/{name}", "", float(error.max()))
        figures.add(f"delays/{name}", "", client.last_query["delays"])
    for kind, seconds in found.items():
        figures.add(f"latency/{name}/{kind}", "s", seconds)
    _add_ratios(figures, name, found)


def _add_ratios(figures: Figures, name: str, found: dict[str, list[float]]) -> None:
    """The private query against each plain call, round by round, so that a slow moment counts on both sides."""
    private = np.median(np.reshape(found["private"], (-1, IN_A_ROW)), axis=1)
    for kind, seconds in found.items():
        if not kind.startswith("private"):
            plain = np.median(np.reshape(seconds, (-1, IN_A_ROW)), axis=1)
            figures.add(f"ratio/{name}/{kind}", "", list(private / plain))
