"""Dialling another worker from the loop: the name looked up in a thread, every address of it tried, none for long."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable
from typing import Any

from syfr.directories import split_address
from syfr.party.reactor import Reactor, Timer

CONNECT_SECONDS = 5.0
"""A host that says nothing for so long is tried again: the network may be back long before TCP would try."""

LOOK_UP_TURN = 0.01
"""Seconds between two looks whether a name has been looked up."""

UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0))

Place = tuple[Any, ...]


class Dialler:
    """A TCP connection in the making; gives the connected socket, or says that there is none."""

    def __init__(
        self,
        reactor: Reactor,
        address: str,
        connected: Callable[[socket.socket], None],
        failed: Callable[[], None],
    ) -> None:
        self._reactor, self._connected, self._failed = reactor, connected, failed
        self._places: list[Place] | None = None
        self._socket: socket.socket | None = None
        self._deadline: Timer | None = None
        threading.Thread(target=self._look_up, args=split_address(address), name="syfr-name", daemon=True).start()
        self._await_name()

    def _look_up(self, host: str, port: int | None) -> None:
        try:
            self._places = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)
        except OSError:
            self._places = []

    def _await_name(self) -> None:
        if self._places is None:
            self._reactor.after(LOOK_UP_TURN, self._await_name)
        else:
            self._try_next()

    def _try_next(self) -> None:
        while self._places:
            family, kind, protocol, _, where = self._places.pop(0)
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:  # this host has no IPv6, say
                continue
            sock.setblocking(False)
            if sock.connect_ex(where) not in UNDER_WAY:  # there is no way to that network
                sock.close()
                continue
            self._socket = sock
            self._deadline = self._reactor.after(CONNECT_SECONDS, self._too_slow)
            self._reactor.watch(self, read=False, write=True)
            return
        self._failed()

    def fileno(self) -> int:
        """The descriptor."""
        return -1 if self._socket is None else self._socket.fileno()

    def ready(self, readable: bool, writable: bool) -> None:
        """The loop's call: connected, or refused."""
        sock = self._taken()
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            self._try_next()
        else:
            self._connected(sock)

    def _too_slow(self) -> None:
        self._taken().close()
        self._try_next()

    def _taken(self) -> socket.socket:
        """The socket, which the loop no longer watches."""
        self._reactor.watch(self, read=False, write=False)
        sock, self._socket = self._socket, None
        if self._deadline is not None:
            self._deadline.cancel()
        if sock is None:
            raise OSError("Nothing is being dialled.")
        return sock
