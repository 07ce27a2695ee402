"""Counters of a worker for Prometheus, when asked for: sizes, counts and states, never a value.

They are read from the worker at the moment of a look; the loop does nothing for them.
"""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from syfr.errors import InputTypeError, PortInUseError
from syfr.party.counts import BOUNDS

LOOPBACK = "127.0.0.1"
LOOKS = 5

Status = Callable[[], Mapping[str, Any]]


class WorkerMetrics:
    """Collects what the worker's ``status`` tells the owner too."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def _look(self) -> Mapping[str, Any]:
        """The look comes from another thread; one that meets a change of the worker's tables is taken again."""
        for _ in range(LOOKS):
            try:
                return self._status()
            except RuntimeError:
                continue
        return self._status()

    def collect(self) -> Iterator[Any]:
        """The families of one look."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        status = self._look()
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"syfr_{name}", text, value=status[name])
        yield from _queries(status["queries"])
        links = GaugeMetricFamily("syfr_link_up", "Whether the link to another worker stands.", labels=["peer"])
        traffic = CounterMetricFamily(
            "syfr_link_bytes", "Bytes over the links to the other workers.", labels=["peer", "direction"]
        )
        for direction in ("sent", "received"):
            for peer, count in status[direction].items():
                traffic.add_metric([peer, direction], count)
        for peer in status["sent"]:
            links.add_metric([peer], float(peer not in status["waiting_for"]))
        yield links
        yield traffic
        served = CounterMetricFamily(
            "syfr_served_requests", "Requests answered since serving was opened.", labels=["model"]
        )
        serving = GaugeMetricFamily("syfr_serving", "Whether a model is open for requests.", labels=["model"])
        for model in status["models"]:
            served.add_metric([model["model"]], model["served"])
            serving.add_metric([model["model"]], float(model["serving"]))
        yield served
        yield serving


GAUGES = {
    "sessions": "Open sessions of clients.",
    "connections": "Connections that were accepted and stand.",
    "under_way": "Queries that have begun and not ended.",
}


def _queries(counted: Mapping[str, Any]) -> Iterator[Any]:
    """How long answers took at this worker, and why queries failed."""
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    sums = itertools.accumulate(counted["buckets"])
    buckets = list(zip([*map(str, BOUNDS), "+Inf"], map(float, sums), strict=True))
    yield HistogramMetricFamily(
        "syfr_query_seconds", "Time from a query's arrival to its answer.", buckets, counted["seconds"]
    )
    failed = CounterMetricFamily("syfr_failed_queries", "Queries that were refused or failed.", labels=["reason"])
    for code, count in counted["failed"].items():
        failed.add_metric([code], count)
    yield failed
    yield CounterMetricFamily(
        "syfr_queries_together", "Queries that were answered in a pass, with those of others.", counted["together"]
    )


def publish(address: str, status: Status) -> int:
    """Serve the counters at ``[host:]port``, on loopback unless a host is named; returns the port.

    Raises:
        InputTypeError: prometheus_client is not installed, or the address has no port, or one of no known host.
        PortInUseError: the address is taken.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        raise InputTypeError(
            "Metrics need the package prometheus_client. Install it, or start the worker without --metrics."
        ) from error
    host, _, port = address.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise InputTypeError(
            f"The address for metrics is '{address}'. Give a port up to 65535, or a host and a port: host:port."
        )
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(status))
    try:
        server, _ = start_http_server(int(port), addr=host or LOOPBACK, registry=registry)
    except (socket.gaierror, UnicodeError) as error:
        raise InputTypeError(
            f"The host of {address}, for metrics, is not known on this machine. Give a port alone, or another host."
        ) from error
    except OSError as error:
        raise PortInUseError(
            f"Metrics cannot be served at {address}: {error.strerror}. Choose another port."
        ) from error
    return int(server.server_port)
