"""Workers that are far apart: every connection, between workers and with the client, passes a relay that delays it.

A relay on loopback adds the time of the way, and that alone: no TCP slow start after a pause (on a real way the first
14 kB or so take one round trip, the next 28 kB another), no loss, no limit of the rate.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import syfr as sy
from syfr.hosts import free_ports
from syfr.trust.credentials import create_credentials
from syfr.trust.identity import SERVERS

from bench import models, serving
from bench.machine import ROOT
from bench.stats import Figures, repeated

WAYS = (0.001, 0.005, 0.02)
"""Seconds one way."""

RUNS = 12


def measure(figures: Figures, model: Any, runs: int = RUNS) -> None:
    """One query at a time over ways of several lengths, and a model of fewer layers over the longest."""
    for seconds in WAYS:
        with far_apart(seconds) as cluster:
            for measured in (model, models.dense()) if seconds == WAYS[-1] else (model,):
                _measure(figures, measured, cluster, seconds, runs)


def _measure(figures: Figures, model: Any, cluster: sy.TFECluster, way: float, runs: int) -> None:
    name = f"wide/{model.name}/{way * 1e3:.0f} ms one way"
    x = models.images(model, 1)
    workers = serving.Processors(list(serving.pids(cluster).values()))
    with serving.served(model, cluster), serving.connected(model, cluster) as client:
        workers.rest()
        figures.add(f"{name}/query", "s", repeated(lambda: client.querying(x).wait(), runs))
        delays = client.last_query["delays"]
    figures.add(f"{name}/delays", "", delays)
    figures.add(f"{name}/the ways alone, client's included", "s", (delays + 2) * way)


@contextlib.contextmanager
def far_apart(seconds: float) -> Iterator[sy.TFECluster]:
    """Three workers started by hand, each of which knows the others by the addresses of relays."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        ports = free_ports(6)
        own, relayed = dict(zip(SERVERS, ports[:3], strict=True)), dict(zip(SERVERS, ports[3:], strict=True))
        stack.enter_context(_relays(seconds, [(relayed[role], own[role]) for role in SERVERS]))
        credentials = create_credentials(Path(directory) / "credentials", _addresses(relayed))
        for role in SERVERS:
            config = Path(directory) / f"{role}.json"
            config.write_text(json.dumps(_addresses({**relayed, role: own[role]})))
            options = ["--config", str(config), "--credentials", str(credentials.directory / role), "--managed"]
            stack.enter_context(_process("syfr.player", [*options, role]))
        workers = (sy.TFEWorker(address, auto_managed=False) for address in _addresses(relayed).values())
        cluster = sy.TFECluster(*workers, credentials=credentials.directory)
        cluster.starting(serving.TIMEOUT).wait()
        yield cluster


def _addresses(ports: dict[str, int]) -> dict[str, str]:
    return {role: f"localhost:{port}" for role, port in ports.items()}


@contextlib.contextmanager
def _relays(seconds: float, ways: list[tuple[int, int]]) -> Iterator[None]:
    with _process("bench.relay", [], json.dumps({"seconds": seconds, "ways": ways})):
        yield


@contextlib.contextmanager
def _process(module: str, words: list[str], first_line: str | None = None) -> Iterator[None]:
    """A process that says a line when it is ready, and ends when its standard input does."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("A process without pipes.")
        if first_line is not None:
            process.stdin.write(first_line + "\n")
            process.stdin.flush()
        said = process.stdout.readline()
        if "ready" not in said:
            raise RuntimeError(f"{module} did not start: {said}")
        yield
    finally:
        process.kill()
        process.communicate()
