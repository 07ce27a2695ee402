"""What tests with real workers share: describing and running a cluster, and looking whether processes still run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import syfr as sy
from syfr import hosts

START = 100.0


def described(ports: list[int] | None = None, **options: Any) -> sy.TFECluster:
    """A cluster on this machine, by default on free ports."""
    return sy.TFECluster(*(sy.TFEWorker(f"localhost:{port}", **options) for port in ports or hosts.free_ports(3)))


@contextmanager
def running(cluster: sy.TFECluster) -> Iterator[sy.TFECluster]:
    """The cluster, started, and stopped in the end."""
    cluster.starting(START).wait()
    try:
        yield cluster
    finally:
        cluster.stop()


def wait_until(happened: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that happens elsewhere."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def exists(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(cluster: sy.TFECluster) -> list[int]:
    """The processes of the workers."""
    return [report["pid"] for report in cluster.status()]
