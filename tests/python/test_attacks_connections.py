"""Many silent connections: those above the limit are closed at once, and a place that becomes free serves again."""

from __future__ import annotations

import socket
from pathlib import Path

from workers import DEADLINE, check_serving, cluster_of

LIMIT = 8


def closed(silent: socket.socket) -> bool:
    """Whether the worker has ended the connection; one that it keeps says nothing."""
    silent.settimeout(1.0)
    try:
        return silent.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_silent_connections_are_bounded(tmp_path: Path) -> None:
    patch = f"from syfr.party import service\nservice.MAX_CONNECTIONS = {LIMIT}"
    with cluster_of(tmp_path, all=patch) as cluster:
        host, port = cluster.hosts["server0"].split(":")
        silent = [socket.create_connection((host, int(port)), timeout=DEADLINE) for _ in range(LIMIT + 6)]
        assert closed(silent[-1])
        assert not closed(silent[0])
        for one in silent:
            one.close()
        check_serving(cluster)
