"""Connections as the loop sees them: accepting, handshakes, frames in and out, and the end."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import socket
import ssl
from collections.abc import Callable

from syfr.directories import split_address
from syfr.errors import CredentialsError, InputTypeError, PortInUseError, SyfrError
from syfr.link import Connection, Frame, Limits
from syfr.party.reactor import Reactor
from syfr.trust.identity import Identity

log = logging.getLogger("syfr.party")

HANDSHAKE_SECONDS = 10.0
BACKLOG = 128


class Endpoint:
    """One connection in the loop.

    Args:
        limits: the limits of a frame, from who the other end is.
        opened: called when the handshake is over.
        received: called for every frame; a SyfrError it raises ends the connection. Who takes a connection over sets
            another.
        ended: called once, with the reason, when the connection is over; not after :meth:`close`.
    """

    def __init__(
        self,
        reactor: Reactor,
        connection: Connection,
        limits: Callable[[Identity], Limits],
        opened: Callable[[Endpoint], None],
        received: Callable[[Endpoint, Frame], None],
        ended: Callable[[Endpoint, Exception], None],
    ) -> None:
        self.connection = connection
        self.received = received
        self._reactor = reactor
        self._limits, self._opened, self._ended = limits, opened, ended
        self._writing = False
        self._over = False
        self._deadline = reactor.after(HANDSHAKE_SECONDS, self._handshake_too_slow)
        reactor.watch(self, read=True, write=True)
        self._writing = True

    @property
    def over(self) -> bool:
        """Whether the connection has ended."""
        return self._over

    @property
    def identity(self) -> Identity:
        """Who the other end is."""
        if self.connection.identity is None:
            raise SyfrError("The handshake of this connection is not over.")
        return self.connection.identity

    def fileno(self) -> int:
        """The descriptor."""
        return self.connection.fileno()

    def send(self, frame: Frame) -> None:
        """Send a frame now or when the socket takes it; nothing happens when the connection is over."""
        if self._over:
            return
        try:
            self.connection.keep(*frame.pieces())
        except SyfrError as error:
            self._end_soon(error)
            return
        if not self._reactor.holds(self):
            self.flush()

    def flush(self) -> None:
        """Send what was kept, as far as the socket takes it."""
        if self._over or not self.connection.open:
            return
        try:
            self.connection.flush()
        except SyfrError as error:
            self._end_soon(error)
            return
        self._watch()

    def _end_soon(self, error: SyfrError) -> None:
        # Its number is free for the next connection, which must not find the loop still waiting for this one.
        self._unwatch()
        # Not at once: who sends may be in the midst of what ends with the connection.
        self._reactor.after(0, functools.partial(self.end, error))

    def ready(self, readable: bool, writable: bool) -> None:
        """The loop's call."""
        if self._over:  # by what came before it in the same round
            return
        try:
            if not self.connection.open:
                if not self._handshake():
                    return
            elif writable:
                self.connection.flush()
            if readable:
                for frame in self.connection.read():
                    if self._over:
                        return
                    self.received(self, frame)
        except SyfrError as error:
            self.end(error)
            return
        except Exception as error:  # a fault of ours must not end the worker for everybody else
            log.exception("a frame of %s could not be handled", self.connection.identity)
            self.end(error)
            return
        self._watch()

    def _handshake(self) -> bool:
        if not self.connection.handshake(HANDSHAKE):
            self._watch()
            return False
        self.connection.limits = self._limits(self.identity)
        self._deadline.cancel()
        self._opened(self)
        return True

    def _watch(self) -> None:
        wanted = self.connection.wants_write
        if not self.connection.closed and wanted != self._writing:
            self._writing = wanted
            self._reactor.watch(self, read=True, write=wanted)

    def _unwatch(self) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._reactor.watch(self, read=False, write=False)

    def _handshake_too_slow(self) -> None:
        self.end(SyfrError("The TLS handshake took too long."))

    def end(self, reason: Exception) -> None:
        """End the connection for a reason of ours."""
        if not self._over:
            self.close()
            self._ended(self, reason)

    def close(self) -> None:
        """Close without telling anyone."""
        if not self._over:
            self._over = True
            self._deadline.cancel()
            self._unwatch()
            self.connection.close()


HANDSHAKE = Limits()


class Listener:
    """Accepts connections on one address."""

    def __init__(self, reactor: Reactor, address: str, accepted: Callable[[socket.socket], None]) -> None:
        host, port = split_address(address)
        if port is None:
            raise InputTypeError(f"The address {address!r} has no port. Write it like '{host}:4000'.")
        self._accepted = accepted
        self._socket = _listen(host, port, address)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._reactor = reactor
        reactor.watch(self, read=True, write=False)

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def ready(self, readable: bool, writable: bool) -> None:
        """The loop's call: accept what waits."""
        try:
            accepted, _ = self._socket.accept()
        except OSError:  # it has gone again, or there is no descriptor left
            return
        self._accepted(accepted)

    def close(self) -> None:
        """Stop listening."""
        self._reactor.watch(self, read=False, write=False)
        self._socket.close()


def _listen(host: str, port: int, address: str) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise InputTypeError(
            f"The host of {address} is not known on this machine: {getattr(error, 'strerror', None) or error}. "
            "Correct the address, or say with `listen` where this worker listens, like '0.0.0.0:4000'."
        ) from error
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"The address {address} is taken by another program. Stop it or choose another port."
            ) from error
        raise PortInUseError(
            f"A worker cannot listen at {address}: {error.strerror}. Choose another address."
        ) from error
    return listening


def wrap(sock: socket.socket, context: Callable[[], ssl.SSLContext], server_side: bool) -> Connection | None:
    """The socket as a connection; None when it was closed already, or our bundle is being replaced at this moment."""
    try:
        return Connection(sock, context(), server_side)
    except CredentialsError as error:
        log.warning("sets up no connection now: %s", error)
    except OSError:
        pass
    sock.close()
    return None
