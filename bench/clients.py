"""Many clients with one image each: the processes they run in, and what they get done together.

As a program, one such process: it reads what to do as a line of JSON, says when it is connected, and asks again and
again until the time is over.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import syfr as sy
from syfr.face.client import Client

from bench import serving
from bench.machine import ROOT
from bench.stats import Figures

CLIENTS, PROCESSES = 16, 4
SECONDS, WARM_SECONDS = 4.0, 3.0
"""Counted time, and time before it in which what was prepared at the beginning is used up."""


def measure(figures: Figures, model: Any, cluster: sy.TFECluster) -> None:
    """Sixteen clients in four processes."""
    task = {
        "addresses": list(cluster.addresses.values()),
        "directory": str(cluster.directory),
        "shapes": [[1, *model.input_shape[1:]], [1, *model.output_shape[1:]]],
        "model": model.name,
        "clients": CLIENTS // PROCESSES,
    }
    with serving.served(model, cluster):
        reports = _run(task)
    figures.add(f"clients/{model.name}/throughput", "images/s", sum(len(r) for r in reports) / SECONDS)
    figures.add(f"clients/{model.name}/latency", "s", [seconds for report in reports for seconds in report])


def _run(task: dict[str, Any]) -> list[list[float]]:
    words = [sys.executable, "-m", "bench.clients"]
    processes = [
        subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            _tell(process, task)
        for process in processes:
            _hear(process)
        begin = time.monotonic() + WARM_SECONDS
        for process in processes:
            _tell(process, {"begin": begin, "end": begin + SECONDS})
        return [_hear(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _tell(process: subprocess.Popen[str], what: object) -> None:
    if process.stdin is not None:
        process.stdin.write(json.dumps(what) + "\n")
        process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> Any:
    line = "" if process.stdout is None else process.stdout.readline()
    if not line:
        raise RuntimeError("A process of clients has ended; what it says stands above.")
    return json.loads(line)


# ---- one process ----


def main() -> None:
    """A thread for each client."""
    task = json.loads(sys.stdin.readline())
    workers = [sy.TFEWorker(address) for address in task["addresses"]]
    cluster = sy.TFECluster(*workers, credentials=Path(task["directory"]))
    clients = [Client(cluster) for _ in range(task["clients"])]
    inputs, outputs = task["shapes"]
    for client in clients:
        client.connecting(inputs, outputs, task["model"]).wait()
    print(json.dumps("ready"), flush=True)
    times = json.loads(sys.stdin.readline())
    x = np.random.default_rng(0).random(inputs)
    found: list[list[float]] = [[] for _ in clients]
    threads = [
        threading.Thread(target=_ask, args=(client, x, times["begin"], times["end"], seconds))
        for client, seconds in zip(clients, found, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([value for seconds in found for value in seconds]), flush=True)


def _ask(client: Client, x: serving.Input, begin: float, end: float, seconds: list[float]) -> None:
    """The seconds of each query that was answered between ``begin`` and ``end``."""
    now = time.monotonic()
    while now < end:
        began = now
        client.querying(x).wait()
        now = time.monotonic()
        if begin <= now < end:
            seconds.append(now - began)


if __name__ == "__main__":
    main()
