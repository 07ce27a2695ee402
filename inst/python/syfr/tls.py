"""What Python's TLS needs around it: calls that another connection's error must not end, reasons in plain words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

NOT_NOW = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
HUNG_UP = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
HUNG_UP_MESSAGE = "The connection was closed during the TLS handshake."

_ANYBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def surely(call: Callable[[memoryview], int], data: memoryview) -> int:
    """A call that sends or receives over TLS; made again after an error, which may be another connection's.

    OpenSSL has one queue of errors a thread, and Python, which should empty it, leaves the error of a write to an end
    that has vanished there (3.13.5 with OpenSSL 3.5 does; 3.11.2 with 3.0 does not). The next call on any connection
    that finds nothing to do takes it for its own: one client that vanished would end the links between the workers.
    See https://github.com/python/cpython/issues/148594.
    """
    try:
        return call(data)
    except NOT_NOW:
        raise
    except OSError as error:
        forget_errors()
        try:
            count = call(data)
        except NOT_NOW:
            raise
        except OSError:
            forget_errors()
            raise error from None
        if not count:  # after an alert TLS says only that this is the end
            raise
        return count


def forget_errors() -> None:
    """Empty OpenSSL's queue of errors, as Python does whenever it makes a connection."""
    _ANYBODY.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)


def keep_alive(sock: socket.socket) -> None:
    """Notice within a minute that the other host has vanished without a word, or takes nothing any more."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 60_000),  # in milliseconds; for what was sent and is not acknowledged
    ):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def explain(error: ssl.SSLError) -> str:
    """Why a connection was refused, and what it needs."""
    reason = (error.reason or "TLS failed").replace("_", " ").lower()
    return (
        f"The TLS connection was refused ({reason}). "
        "Both ends need certificates of the same cluster that have not expired or been revoked."
    )
