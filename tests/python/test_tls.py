"""Connections of one thread share OpenSSL's queue of errors: what one leaves there must not end another."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from handshakes import HOSTS
from syfr.errors import ClosedError, CredentialsError
from syfr.link import Connection, Frame, Limits
from syfr.trust.credentials import create_credentials

SECONDS = 20.0
HARD_CLOSE = struct.pack("ii", 1, 0)
"""For SO_LINGER: the other end is told of a reset, as when a process dies with bytes unread."""

Ends = tuple[Connection, Connection]
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """TLS contexts of a worker and a client."""
    credentials = create_credentials(Path(tmp_path_factory.mktemp("tls")) / "cluster", HOSTS)
    return credentials.bundle("server0").server_context(), credentials.bundle("client").client_context()


@pytest.fixture
def connect(contexts: Contexts) -> Iterator[Callable[[], Ends]]:
    """Makes connections over loopback, both ends of each."""
    with contextlib.ExitStack() as made, socket.create_server(("127.0.0.1", 0)) as listening:

        def connect() -> Ends:
            there = socket.create_connection(listening.getsockname(), SECONDS)
            here, _ = listening.accept()
            ends = Connection(here, contexts[0], server_side=True), Connection(there, contexts[1], server_side=False)
            stop = time.monotonic() + SECONDS
            while not (ends[0].open and ends[1].open):
                assert time.monotonic() < stop, "no handshake"
                for end in (end for end in ends if not end.open):
                    end.handshake(Limits())
            for end in ends:
                made.callback(end.close)
            return ends

        yield connect


def write_until_it_fails(end: Connection) -> None:
    stop = time.monotonic() + SECONDS
    while not end.closed:
        assert time.monotonic() < stop, "the other end has gone"
        with contextlib.suppress(ClosedError):
            end.send(Frame("to nobody"))


def leave_an_error() -> None:
    """Ask for an object that does not exist: every version of Python leaves OpenSSL's error in the queue."""
    with pytest.raises(ValueError, match="unknown object"):
        ssl._ASN1Object.fromname("none of them")  # type: ignore[attr-defined]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_who_vanishes_while_it_is_sent_something_ends_no_other_connection(
    connect: Callable[[], Ends], reset: bool
) -> None:
    (here, there), (sending, gone) = connect(), connect()
    if reset:
        gone._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD_CLOSE)
    gone.close()
    write_until_it_fails(sending)
    assert here.read() == there.read() == []
    there.send(Frame("still here"))
    assert select.select([here], [], [], SECONDS)[0]
    assert [frame.kind for frame in here.read()] == ["still here"]


def test_an_error_of_others_is_not_taken_for_one_of_reading(connect: Callable[[], Ends]) -> None:
    here, _ = connect()
    leave_an_error()
    assert here.read() == []
    assert here.read() == []
    assert here.open


def test_an_error_of_others_is_not_taken_for_one_of_writing(connect: Callable[[], Ends]) -> None:
    here, there = connect()
    sent = Frame("large", None, [np.random.default_rng(1).integers(0, 256, 1 << 24, np.uint8)])
    leave_an_error()
    here.send(sent)
    assert here.wants_write, "the test needs a frame that does not fit the sockets"
    frames: list[Frame] = []
    stop = time.monotonic() + SECONDS
    while not frames and time.monotonic() < stop:
        leave_an_error()
        here.flush()
        frames += there.read()
    assert np.array_equal(frames[0].arrays[0], sent.arrays[0])


def test_the_reason_for_a_refusal_is_told(connect: Callable[[], Ends]) -> None:
    """It comes in an alert and is given once: asked again, TLS says only that this is the end."""
    here, there = connect()
    os.write(there.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody has sealed
    assert select.select([here], [], [], SECONDS)[0]
    with pytest.raises(CredentialsError, match="refused"):
        here.read()
    assert select.select([there], [], [], SECONDS)[0]
    with pytest.raises(CredentialsError, match="bad record mac"):
        there.read()
