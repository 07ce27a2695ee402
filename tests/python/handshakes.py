"""Real TLS handshakes between two threads, and what an attacker brings to them; for the tests."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from syfr.trust import authority as authority_module
from syfr.trust.authority import Authority
from syfr.trust.credentials import (
    SERVERS,
    Identity,
    identity_of,
)
from syfr.trust.identity import now

HOSTS = {"server0": "localhost:4000", "server1": "127.0.0.1:4001", "server2": "[::1]:4002"}
PARTIES = (*SERVERS, "owner", "client")

Outcome = Identity | BaseException
Who = Callable[[ssl.SSLSocket], Identity]


def shift_clock(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Make certificates as of ``days`` from now."""

    def shifted() -> datetime:
        return now() + timedelta(days=days)

    monkeypatch.setattr(authority_module, "now", shifted)


def careless(connection: ssl.SSLSocket) -> Identity:
    """What an attacker asks of the other end: nothing."""
    return Identity("client", "anyone")


def meet(
    server: ssl.SSLContext, client: ssl.SSLContext, at_client: Who | None = None
) -> tuple[Outcome, Outcome]:
    """What the server and the client make of each other: an identity, or the error that ended it."""
    ends = socket.socketpair()
    outcomes: list[Outcome | None] = [None, None]

    def run(side: int, context: ssl.SSLContext, who: Who | None) -> None:
        who = who or (careless if type(context) is ssl.SSLContext else identity_of)
        try:
            ends[side].settimeout(10)
            with context.wrap_socket(ends[side], server_side=side == 0) as connection:
                outcome = who(connection)
                connection.sendall(b"!")
                # A client's TLS 1.3 handshake ends before the server has judged its certificate.
                if connection.recv(1) != b"!":
                    raise ConnectionError("the other end hung up")
                outcomes[side] = outcome
        except Exception as error:
            outcomes[side] = error
        finally:
            ends[side].close()

    sides = [
        threading.Thread(target=run, args=(0, server, None), daemon=True),
        threading.Thread(target=run, args=(1, client, at_client), daemon=True),
    ]
    for side in sides:
        side.start()
    for side in sides:
        side.join(20)
    assert outcomes[0] is not None
    assert outcomes[1] is not None
    return outcomes[0], outcomes[1]


def attacker(bundle: Path | None, protocol: int = ssl.PROTOCOL_TLS_CLIENT) -> ssl.SSLContext:
    """A context with none of our checks: it shows the bundle's certificate and accepts anyone's."""
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["syfr/1"])
    if bundle is not None:
        context.load_cert_chain(bundle / "certificate.pem", bundle / "key.pem")
    return context


def issue(cluster: Path, party: Identity, directory: Path) -> Path:
    """A certificate that the real authority signed, for whatever identity."""
    directory.mkdir(mode=0o700)
    Authority.read(cluster / "authority").issue(party, [], 30).write(directory)
    return directory


class Forged(Identity):
    """An identity that states any URI."""

    def __init__(self, role: str, stated: str) -> None:
        super().__init__(role, role)
        object.__setattr__(self, "stated", stated)

    def uri(self, cluster: str) -> str:
        return str(getattr(self, "stated")).format(cluster=cluster)  # noqa: B009
