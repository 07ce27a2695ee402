"""The links to the other two workers: dialled until they are there, with fresh keys each time a link is set up.

A worker dials the peers with lower numbers. On a new link each end sends 32 random bytes; the pair's key is derived
from both halves. A link that breaks takes its keys with it, so no mask can be made again after a reconnect.

A host that vanishes, or a network that is cut, says nothing: each end sends a ping every few seconds, and gives up a
link over which nothing at all has come for some of them.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from syfr.errors import ClosedError, NotReadyError, ProtocolError
from syfr.link import Connection, Frame, Limits
from syfr.party.dialler import Dialler
from syfr.party.endpoint import Endpoint, wrap
from syfr.party.reactor import Reactor
from syfr.protocol.roles import SERVERS, Role
from syfr.ring.streams import derive_key
from syfr.trust.identity import Bundle, Identity

log = logging.getLogger("syfr.party")

HALF_BYTES = 32
PINGS = 10
"""Round trips measured on a new link; the shortest counts, so that a busy processor is not taken for a long way."""

FIRST_RETRY, LAST_RETRY = 0.02, 2.0
LONGER = 1.25
"""Each wait before dialling again is so many times as long as the last: a link is set up at most a quarter later than
it could have been, counted from the first try."""

BEAT_SECONDS = 4.0
SILENT_BEATS = 4
"""A link is given up after so many beats without a byte. Beats are counted, not seconds: a worker that was stopped
itself has not listened meanwhile."""

MAX_SESSIONS = 1 << 19
"""Session numbers that are remembered for a link's keys; then it is set up anew."""

BY_LABEL = {role.label: role for role in SERVERS}

PEER_LIMITS = Limits(header=1 << 20, body=(1 << 32) - 1, unsent=1 << 32)


def peer_limits(_: Identity) -> Limits:
    """What a peer may send: preprocessing comes in large frames."""
    return PEER_LIMITS


class PeerLinks:
    """The two links of one worker.

    Args:
        received: called with the peer and a frame, once the link is up.
        changed: called with the peer when its link came up or was lost (see :meth:`up`).
    """

    def __init__(
        self,
        reactor: Reactor,
        role: Role,
        addresses: Mapping[Role, str],
        bundle: Bundle,
        received: Callable[[Role, Frame], None],
        changed: Callable[[Role], None],
    ) -> None:
        self._reactor, self._role, self._addresses, self._bundle = reactor, role, addresses, bundle
        self._deliver, self._changed = received, changed
        self._links: dict[Role, Endpoint] = {}
        self._halves: dict[Role, bytes] = {}
        self._retry = dict.fromkeys(role.peers, FIRST_RETRY)
        self.keys: dict[Role, bytes] = {}
        self.round_trips: dict[Role, float] = {}
        self._pings: dict[Role, tuple[int, float]] = {}
        self._reasons: dict[Role, str] = {}
        self._used: dict[Role, set[bytes]] = {peer: set() for peer in role.peers}
        self.traffic: dict[str, dict[str, int]] = {peer.label: {"sent": 0, "received": 0} for peer in role.peers}

    def start(self) -> None:
        """Begin to dial."""
        for peer in self._role.peers:
            if peer < self._role:
                self._dial(peer)

    def up(self, peer: Role) -> bool:
        """Whether the link to ``peer`` is ready for use."""
        return peer in self.keys

    @property
    def missing(self) -> list[Role]:
        """Peers without a link."""
        return [peer for peer in self._role.peers if not self.up(peer)]

    def why_lost(self, peer: Role) -> str:
        """What ended the last link to ``peer``."""
        return self._reasons.get(peer, "the connection was closed")

    def require(self) -> None:
        """Raise NotReadyError unless both links are up."""
        for peer in self.missing:
            why = f"; the last one was lost: {self._reasons[peer]}" if peer in self._reasons else ""
            raise NotReadyError(
                f"{self._role.label} has no link to {peer.label} yet{why}. Try again when both are running."
            )

    def session_keys(self, number: bytes) -> Mapping[Role, bytes]:
        """The pairs' keys for a new session; raises ProtocolError when its number has served with one of them.

        The keys of a session follow from its number, so a number that came again would make the same masks again.
        """
        if any(number in used for used in self._used.values()):
            raise ProtocolError("A session needs a number that was not used before.")
        for peer, used in self._used.items():
            if len(used) >= MAX_SESSIONS:
                self._renew(peer)
        self.require()
        for used in self._used.values():
            used.add(number)
        return self.keys

    def _renew(self, peer: Role) -> None:
        """Have a link with new keys in place of the old one."""
        endpoint = self._links[peer]
        endpoint.close()
        self.lost(endpoint, ClosedError("it gets new keys"))
        if peer < self._role:
            self._again(peer)

    def send(self, peer: Role, kind: str, meta: Any, arrays: Any = ()) -> None:
        """Send a frame to a peer; raises ClosedError when its link is down."""
        if peer not in self.keys:
            raise ClosedError(f"The link between {self._role.label} and {peer.label} is down. Try again later.")
        self._links[peer].send(Frame(kind, meta, arrays))

    def _dial(self, peer: Role) -> None:
        def opened(endpoint: Endpoint) -> None:
            if endpoint.identity.role == peer.label:
                self._adopt(endpoint, peer)
            else:
                endpoint.close()
                self._again(peer)

        def ended(endpoint: Endpoint, reason: Exception) -> None:
            self.lost(endpoint, reason)
            self._again(peer)

        def connected(sock: socket.socket) -> None:
            connection = wrap(sock, self._bundle.client_context, server_side=False)
            if connection is None:
                self._again(peer)
            else:
                received = functools.partial(self._received, peer)
                Endpoint(self._reactor, connection, peer_limits, opened, received, ended)

        Dialler(self._reactor, self._addresses[peer], connected, lambda: self._again(peer))

    def _again(self, peer: Role) -> None:
        wait = self._retry[peer]
        self._retry[peer] = min(LAST_RETRY, LONGER * wait)
        self._reactor.after(wait, lambda: self._dial(peer))

    def adopt(self, endpoint: Endpoint) -> None:
        """Take over the connection of a worker that has dialled, in place of an older one."""
        peer = self._peer(endpoint)
        if peer < self._role:
            raise ProtocolError(f"{peer.label} is dialled by {self._role.label}, and does not dial it.")
        self._adopt(endpoint, peer)

    def _adopt(self, endpoint: Endpoint, peer: Role) -> None:
        old = self._links.get(peer)
        if old is not None:
            old.close()
            self._reasons[peer] = "it has connected anew"
            self._forget(peer, old.connection)
        self._links[peer] = endpoint
        endpoint.received = functools.partial(self._received, peer)
        self._halves[peer] = os.urandom(HALF_BYTES)
        endpoint.send(Frame("link", {"half": self._halves[peer]}))
        self._beat(peer, endpoint, -1, 0)

    def _peer(self, endpoint: Endpoint) -> Role:
        peer = BY_LABEL.get(endpoint.identity.role)
        if peer is None or peer is self._role:
            raise ProtocolError(f"{endpoint.identity} is no peer of {self._role.label}.")
        return peer

    def _received(self, peer: Role, endpoint: Endpoint, frame: Frame) -> None:
        """A frame of an adopted connection: first the other end's half of the key, then what the worker handles."""
        if self._links.get(peer) is not endpoint:
            return
        if peer in self.keys:
            if frame.kind in ("ping", "pong"):
                self._measure(peer, frame.kind)
            else:
                self._deliver(peer, frame)
            return
        half = frame.meta.get("half") if isinstance(frame.meta, dict) else None
        if frame.kind != "link" or not isinstance(half, bytes) or len(half) != HALF_BYTES:
            raise ProtocolError(f"{peer.label} did not begin its link as it must.")
        mine = self._halves.pop(peer)
        first, second = (mine, half) if self._role < peer else (half, mine)
        self.keys[peer] = derive_key(first + second, b"pair")
        self._retry[peer] = FIRST_RETRY
        self.round_trips[peer] = math.inf
        self._ping(peer, PINGS)
        self._reasons.pop(peer, None)
        log.info("linked with %s", peer.label)
        self._changed(peer)

    def _ping(self, peer: Role, left: int) -> None:
        self._pings[peer] = left, time.monotonic()
        self.send(peer, "ping", None)

    def _measure(self, peer: Role, kind: str) -> None:
        if kind == "ping":
            self.send(peer, "pong", None)
            return
        left, began = self._pings.get(peer, (0, 0.0))
        if left > 0:
            self.round_trips[peer] = min(self.round_trips[peer], time.monotonic() - began)
            self._ping(peer, left - 1) if left > 1 else self._pings.pop(peer)

    def _beat(self, peer: Role, endpoint: Endpoint, heard: int, silent: int) -> None:
        """Ask for a sign of life, and look whether anything came since the last time."""
        if self._links.get(peer) is not endpoint:
            return
        now = endpoint.connection.received
        silent = silent + 1 if now == heard else 0
        if silent >= SILENT_BEATS:
            endpoint.end(ClosedError(f"nothing was heard of it for {SILENT_BEATS * BEAT_SECONDS:g} s"))
            return
        if self.up(peer) and heard >= 0:
            self.send(peer, "ping", None)
        self._reactor.after(BEAT_SECONDS, lambda: self._beat(peer, endpoint, now, silent))

    def lost(self, endpoint: Endpoint, reason: Exception) -> None:
        """An adopted connection has ended: its keys are forgotten. The end that dialled dials again."""
        for peer, link in list(self._links.items()):
            if link is endpoint:
                self._reasons[peer] = str(reason).rstrip(".")
                log.warning("lost the link to %s: %s", peer.label, reason)
                del self._links[peer]
                self._forget(peer, endpoint.connection)

    def _forget(self, peer: Role, connection: Connection) -> None:
        self._halves.pop(peer, None)
        counted = self.traffic[peer.label]
        counted["sent"] += connection.sent
        counted["received"] += connection.received
        self._used[peer].clear()
        if self.keys.pop(peer, None) is not None:
            self._changed(peer)

    def counted(self) -> dict[str, dict[str, int]]:
        """Bytes sent to and received from each peer since the worker started."""
        total = {name: dict(counts) for name, counts in self.traffic.items()}
        for peer, link in self._links.items():
            total[peer.label]["sent"] += link.connection.sent
            total[peer.label]["received"] += link.connection.received
        return total

    def close(self) -> None:
        """Close both links."""
        for link in self._links.values():
            link.close()
