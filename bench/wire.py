"""What a byte and a hop cost through TLS: two processes, each with one end of a link.Connection."""

from __future__ import annotations

import contextlib
import multiprocessing
import select
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from syfr.link import Connection, Frame, Limits
from syfr.trust.credentials import Bundle, create_credentials

from bench.stats import Figures, seconds_of

SIZES = (64, 1 << 12, 1 << 14, 28_000, 1 << 16, 1 << 18)
FITTED = slice(0, 5)
"""The sizes that the cost of a byte is worked out from: up to 64 kB, like the frames of a query."""

RUNS = 100
HOSTS = {"server0": "localhost:4000", "server1": "localhost:4001", "server2": "localhost:4002"}
LIMITS = Limits()


def measure(figures: Figures) -> None:
    """Half a round trip for frames of several sizes, and from its slope the cost of a byte, both ends together."""
    with _echoing() as connection:
        hops = []
        for size in SIZES:
            payload = np.zeros(size, np.uint8)
            _round_trip(connection, payload)
            seconds = [seconds_of(lambda: _round_trip(connection, payload)) / 2 for _ in range(RUNS)]  # noqa: B023
            hops.append(figures.add(f"kernel/TLS hop of {size} B", "s", seconds).median)
    slope, _ = np.polyfit(SIZES[FITTED], hops[FITTED], 1)
    figures.add("kernel/TLS byte", "s", float(slope))


def _round_trip(connection: Connection, payload: NDArray[np.uint8]) -> None:
    _send(connection, Frame("echo", None, [payload]))
    _receive(connection)


def _send(connection: Connection, frame: Frame) -> None:
    connection.send(frame)
    while connection.wants_write:
        select.select([connection], [connection], [])
        connection.flush()


def _receive(connection: Connection) -> Frame:
    while True:
        frames = connection.read()
        if frames:
            return frames[0]
        select.select([connection], [], [])


@contextlib.contextmanager
def _echoing() -> Iterator[Connection]:
    """A connection to another process that sends back what it gets."""
    with tempfile.TemporaryDirectory() as directory:
        credentials = create_credentials(Path(directory) / "credentials", HOSTS)
        listener = socket.create_server(("127.0.0.1", 0))
        context = multiprocessing.get_context("spawn")
        port = listener.getsockname()[1]
        process = context.Process(target=_echo, args=(str(credentials.directory / "server0"), port), daemon=True)
        process.start()
        sock, _ = listener.accept()
        listener.close()
        connection = Connection(sock, credentials.bundle("server1").server_context(), server_side=True)
        try:
            _shake_hands(connection)
            yield connection
        finally:
            connection.close()
            process.join(10)
            process.kill()


def _echo(bundle: str, port: int) -> None:
    sock = socket.create_connection(("127.0.0.1", port))
    connection = Connection(sock, Bundle.load(Path(bundle)).client_context(), server_side=False)
    _shake_hands(connection)
    with contextlib.suppress(Exception):  # the other end closes when it has measured
        while True:
            _send(connection, _receive(connection))


def _shake_hands(connection: Connection) -> None:
    end = time.monotonic() + 20
    while not connection.handshake(LIMITS):
        if time.monotonic() > end:
            raise TimeoutError("The other process does not answer.")
        select.select([connection], [connection] if connection.wants_write else [], [], 1)
