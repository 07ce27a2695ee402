"""Connections in the worker's loop: one that ends while a frame is sent must not be in the way of the next."""

from __future__ import annotations

import socket

from syfr.errors import ClosedError
from syfr.link import Connection, Frame, Limits
from syfr.party.endpoint import Endpoint
from syfr.party.reactor import Reactor
from syfr.trust.identity import Identity


class Plain(Connection):
    """A connection without TLS that is open at once and counts looks; it breaks when something is sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.closed, self.identity, self.looks = sock, False, Identity("client", "c"), 0
        self.kept = False
        self.limits = Limits()

    def fileno(self) -> int:
        """The descriptor."""
        return self.sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Never."""
        return False

    def keep(self, data: bytes) -> None:
        """Taken, as if there were room."""
        self.kept = True

    def flush(self) -> None:
        """Breaks if there is something to send."""
        if self.kept:
            self.close()
            raise ClosedError("The connection was closed by the other end.")

    def read(self) -> list[Frame]:
        """A look."""
        self.looks += 1
        self.sock.recv(100)
        return []

    def close(self) -> None:
        """Free the descriptor."""
        self.closed = True
        self.sock.close()


def test_a_connection_that_breaks_while_sending_leaves_its_descriptor_to_the_next() -> None:
    reactor = Reactor(lambda: False)
    ended: list[Endpoint] = []

    def endpoint(sock: socket.socket) -> Endpoint:
        return Endpoint(
            reactor,
            Plain(sock),
            lambda _: Limits(),
            lambda _: None,
            lambda *_: None,
            lambda endpoint, _: ended.append(endpoint),
        )

    here, there = socket.socketpair()
    number = here.fileno()
    first = endpoint(here)
    first.send(Frame("reply"))
    pair = socket.socketpair()
    mine, others = sorted(pair, key=lambda sock: sock.fileno() != number)
    assert mine.fileno() == number, "the test needs the descriptor that has become free"
    second = endpoint(mine)
    others.send(b"x")
    reactor.after(0.05, reactor.stop)
    reactor.run()
    assert ended == [first]
    assert isinstance(second.connection, Plain)
    assert second.connection.looks == 1
    for sock in (there, *pair):
        sock.close()
