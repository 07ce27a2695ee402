"""A TCP connection in the making, without waiting for name servers or for hosts that do not answer."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
import time
from typing import Any

from syfr.directories import split_address
from syfr.face.tasks import Steps, Wait
from syfr.party.dialler import LOOK_UP_TURN

SocketAddress = tuple[socket.AddressFamily, Any]


class Dialling:
    """A socket that is being connected, as something to wait for."""

    wants_write = True

    def __init__(self, family: socket.AddressFamily) -> None:
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setblocking(False)

    def fileno(self) -> int:
        """The descriptor."""
        return self.sock.fileno()

    def connected(self) -> bool:
        """Whether the connection stands; raises OSError when it was refused."""
        with contextlib.suppress(OSError):
            self.sock.getpeername()
            return True
        failed = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
        return False


def dial(address: str, deadline: float) -> Steps[socket.socket]:
    """A connected socket for "host:port"; raises OSError, also when the deadline passes."""
    host, port = split_address(address)
    places = yield from _look_up(host, port or 0, deadline)
    failure = OSError("the name has no address")
    for left, place in zip(range(len(places), 0, -1), places, strict=True):
        share = time.monotonic() + (deadline - time.monotonic()) / left
        try:
            return (yield from _connect(place, share))
        except OSError as error:
            failure = error
    raise failure


def _connect(place: SocketAddress, deadline: float) -> Steps[socket.socket]:
    family, where = place
    dialling = Dialling(family)
    try:
        with contextlib.suppress(BlockingIOError):
            dialling.sock.connect(where)
        while not dialling.connected():
            if time.monotonic() >= deadline:
                raise TimeoutError("no answer")
            yield Wait([dialling], deadline)
    except BaseException:
        dialling.sock.close()
        raise
    return dialling.sock


def _look_up(host: str, port: int, deadline: float) -> Steps[list[SocketAddress]]:
    """The addresses of a host. Names are looked up in a thread, because a name server may take long to be silent."""
    if host == "localhost" or _is_number(host):
        return _addresses(host, port)
    found: list[list[SocketAddress] | OSError] = []

    def look_up() -> None:
        try:
            found.append(_addresses(host, port))
        except OSError as error:
            found.append(error)

    threading.Thread(target=look_up, name="syfr-name", daemon=True).start()
    while not found:
        if time.monotonic() >= deadline:
            raise TimeoutError("the name was not found in time")
        yield Wait(until=min(deadline, time.monotonic() + LOOK_UP_TURN))
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def _addresses(host: str, port: int) -> list[SocketAddress]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, where) for family, _, _, _, where in infos]


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
