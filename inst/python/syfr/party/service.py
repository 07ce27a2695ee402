"""One worker: who may ask it for what, and what it answers.

The certificate of a connection says who is asking; the tables at the end say what each may ask. Nothing else exists:
no call returns a share of a weight or of anybody's value.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from syfr.errors import NotConnectedError, NotReadyError, ProtocolError, RefusedError, SyfrError
from syfr.link import Frame, Limits
from syfr.party.computations import read_computation
from syfr.party.endpoint import Endpoint, Listener, wrap
from syfr.party.fields import LARGEST, Fields, counts, fields_of, seconds, whole
from syfr.party.leaving import Leaving
from syfr.party.models import ModelStore
from syfr.party.peers import BY_LABEL, PEER_LIMITS, PeerLinks
from syfr.party.reactor import Reactor
from syfr.party.sessions import Sessions
from syfr.party.shares import Shares
from syfr.party.state import StateDirectory
from syfr.party.tensors import Tensors
from syfr.protocol.roles import DEALER, Role
from syfr.trust.identity import Bundle, Identity
from syfr.version import __version__

log = logging.getLogger("syfr.party")

OWNER_LIMITS = Limits(header=1 << 22, body=(1 << 32) - 1)
MAX_CONNECTIONS = 512
"""Accepted connections at a time, so that there are descriptors left for the links to the other workers."""

MAX_OF_CLIENT = 256
"""Connections of one client, so that none of them takes the place of all others."""

CLIENT_LIMITS = Limits(header=1 << 12, body=1 << 28, unsent=1 << 28)


def _wakeful(role: Role) -> bool:
    """Whether a worker's loop stays awake between messages.

    server0 and server1 do. While they compute the dealer has nothing to do, and they need the processors if there are
    only two: kept awake it would take as much from them as it gains.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return role is not DEALER or usable > len(DEALER.peers)


class Worker:
    """A worker of one role.

    Args:
        addresses: of all three workers.
        bundle: this worker's certificate and key.
        listen: where it listens, if not at its address: behind a forwarded port, say.
        managed: whether a session started it and will end it.
        state: where shares are kept beyond the worker's end; None to keep none.
    """

    def __init__(
        self,
        role: Role,
        addresses: Mapping[Role, str],
        bundle: Bundle,
        managed: bool = False,
        state: StateDirectory | None = None,
        listen: str | None = None,
    ) -> None:
        self.role = role
        self.managed = managed
        self._bundle = bundle
        self._started = time.time()
        self.reactor = Reactor(lambda: self._sessions.idle(), lambda: self._sessions.crowded, _wakeful(role))
        self.links = PeerLinks(self.reactor, role, addresses, bundle, self._from_peer, self._link_changed)
        self._models = ModelStore(role, state)
        self._shares = Shares(self._models, role, self.links, self.reactor)
        self._sessions = Sessions(role, self.links, self.reactor)
        self._tensors = Tensors(role)
        self._leaving = Leaving(role, self.links, self.reactor, self._busy, self.stop)
        self._peer_frames: dict[str, Callable[[Role, Fields, Frame], None]] = {
            "share": self._shares.peer_digests,
            "opened": self._sessions.opened,
            "dealt": self._sessions.dealt,
            "more": self._sessions.more,
            "used": self._sessions.used,
            "failed": self._sessions.failed,
            "began": self._sessions.began,
            "ended": self._sessions.ended,
            "waiting": self._sessions.waiting,
            "pass": self._sessions.begin_pass,
            "spoilt": self._sessions.spoilt,
            "gone": self._sessions.gone,
            "leaving": self._peer_leaves,
            "finished": self._leaving.peer_finished,
        }
        self._endpoints: set[Endpoint] = set()
        self.listener = Listener(self.reactor, listen or addresses[role], self._accepted)
        self._models.restore()  # once the address is ours: then so is the state directory

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        self.links.start()
        self.reactor.run()

    def stop(self) -> None:
        """End the loop; connections close with the process."""
        self.reactor.stop()

    def leave(self) -> None:
        """Finish what runs, refuse what is new, and end; at once when told again."""
        if self._leaving.begun:
            self.stop()
            return
        self.listener.close()
        self._leaving.begin()
        self._sessions.refuse(self._leaving.refusal)

    def _peer_leaves(self, peer: Role, *_: object) -> None:
        self._leaving.peer_leaves(peer)
        self._sessions.refuse(self._leaving.refusal)

    def _busy(self) -> bool:
        unsent = any(endpoint.connection.wants_write for endpoint in self._endpoints if not endpoint.over)
        return self._sessions.running > 0 or unsent

    # ---- connections ----

    def _accepted(self, sock: socket.socket) -> None:
        self._endpoints = {endpoint for endpoint in self._endpoints if not endpoint.over}
        if len(self._endpoints) >= MAX_CONNECTIONS:
            sock.close()
            return
        connection = wrap(sock, self._bundle.server_context, server_side=True)
        if connection is not None:
            endpoint = Endpoint(self.reactor, connection, _limits, self._opened, self._received, self._ended)
            self._endpoints.add(endpoint)

    def _opened(self, endpoint: Endpoint) -> None:
        identity = endpoint.identity
        if _is_worker(identity):
            self.links.adopt(endpoint)
        elif identity.role == "client":
            open_now = [one for one in self._endpoints if not one.over and one.connection.identity == identity]
            if len(open_now) > MAX_OF_CLIENT:
                log.warning("%s has more than %d connections; one is closed", identity, MAX_OF_CLIENT)
                raise RefusedError(f"{identity} has {MAX_OF_CLIENT} connections already.")

    def _received(self, endpoint: Endpoint, frame: Frame) -> None:
        if frame.kind == "query" and endpoint.identity.role == "client":
            self._sessions.ask(endpoint, frame, fields_of(frame.meta))
        elif frame.kind == "request":
            self._request(endpoint, frame)
        else:
            raise ProtocolError(f"{endpoint.identity} sent a frame of the unknown kind '{frame.kind[:40]}'.")

    def _ended(self, endpoint: Endpoint, reason: Exception) -> None:
        self.links.lost(endpoint, reason)
        self._sessions.client_gone(endpoint)
        self._shares.owner_gone(endpoint)
        self._tensors.gone(endpoint)

    def _request(self, endpoint: Endpoint, frame: Frame) -> None:
        fields = fields_of(frame.meta)
        number = whole(fields.get("id"), "id")
        call = fields.get("call")
        handler = CALLS.get(endpoint.identity.role, {}).get(call) if isinstance(call, str) else None

        def done(error: SyfrError | None, **answer: Any) -> None:
            meta = {"id": number, "ok": error is None, **answer}
            if error is not None:
                meta.update(code=error.code, message=str(error), worker=self.role.label)
            endpoint.send(Frame("reply", meta))

        try:
            if handler is None:
                raise RefusedError(
                    f"{endpoint.identity} may not ask {self.role.label} for '{str(call)[:40]}'. "
                    "Use the certificate of the party that may."
                )
            answer = handler(self, endpoint, fields, frame, done)
        except SyfrError as error:
            done(error)
        else:
            if answer is not None:
                done(None, **answer)

    # ---- anybody ----

    def hello(self, *_: object) -> dict[str, Any]:
        """Who this is, and whether its links are up."""
        waiting = [peer.label for peer in self.links.missing]
        return {
            "role": self.role.label,
            "version": __version__,
            "ready": not waiting,
            "waiting_for": waiting,
            "pid": os.getpid(),
        }

    # ---- owner ----

    def share(self, owner: Endpoint, fields: Fields, frame: Frame, done: Callable[..., None]) -> None:
        """Take a share; answered once the peers hold matching parts, or once this much is here if more is to come."""
        self._leaving.require()
        self._shares.share(owner, fields, frame, done)

    def part(self, owner: Endpoint, fields: Fields, frame: Frame, done: Callable[..., None]) -> None:
        """Take more of a share."""
        self._leaving.require()
        self._shares.part(owner, fields, frame, done)

    def serve(self, _: Endpoint, fields: Fields, *__: object) -> dict[str, Any]:
        """Open so many requests and rows of each client, or any number; ``rows`` of a client may be used already."""
        limits = [
            None if fields.get(name) is None else whole(fields[name], name, 1, LARGEST)
            for name in ("requests", "per_client")
        ]
        used = counts(fields.get("rows") or {}, "rows")
        self._models.get(fields.get("model")).serving.open(limits[0], limits[1], used)
        self._sessions.wake()
        return {}

    def pause(self, _: Endpoint, fields: Fields, *__: object) -> dict[str, Any]:
        """Close serving; the share stays."""
        model = self._models.find(fields.get("model")) or self._models.get(fields.get("model"))
        model.serving.close()
        return {}

    def trace(self, _: Endpoint, fields: Fields, *__: object) -> dict[str, Any]:
        """Trace the next query of a model; what came of the last one that was traced."""
        tracing = self._models.get(fields.get("model")).tracing
        tracing.wanted = True
        return {"steps": tracing.last}

    def drop(self, _: Endpoint, fields: Fields, *__: object) -> dict[str, Any]:
        """Delete a model's share and end its sessions."""
        self._shares.withdraw(fields.get("model"))
        model = self._models.drop(fields.get("model"))
        withdrawn = NotConnectedError("The model's owner has withdrawn it from the workers.")
        self._sessions.end_where(lambda session: session.model is model, withdrawn)
        return {}

    def status(self, *_: object) -> dict[str, Any]:
        """Counters."""
        traffic = self.links.counted()
        return {
            "role": self.role.label,
            "version": __version__,
            "pid": os.getpid(),
            "managed": self.managed,
            "models": [{**model.status(), **self._sessions.preparation(model)} for model in self._models],
            "sessions": len(self._sessions),
            "connections": sum(not endpoint.over for endpoint in self._endpoints),
            "prepared": self._sessions.prepared,
            "under_way": self._sessions.running,
            "queries": self._sessions.counts.fields(),
            "waiting_for": [peer.label for peer in self.links.missing],
            "sent": {peer: counts["sent"] for peer, counts in traffic.items()},
            "received": {peer: counts["received"] for peer, counts in traffic.items()},
            "started": self._started,
        }

    def shutdown(self, *_: object) -> dict[str, Any]:
        """Delete all shares and end the worker, once the answer is on its way."""
        for model in list(self._models):
            self._models.drop(model.number)
        self.reactor.after(0, self.stop)
        return {}

    # ---- client ----

    def describe(self, *_: object) -> dict[str, Any]:
        """The public side of every model here."""
        return {"models": [model.describe() for model in self._models]}

    def open(self, endpoint: Endpoint, fields: Fields, *_: object) -> dict[str, Any]:
        """Begin a session."""
        self._leaving.require()
        self._sessions.open(endpoint, self._models.get(fields.get("model")), fields)
        return {}

    def tensor(self, endpoint: Endpoint, fields: Fields, frame: Frame, *_: object) -> dict[str, Any]:
        """Take a private tensor."""
        self._leaving.require()
        self._tensors.add(endpoint, fields, frame.arrays)
        return {}

    def permit(self, endpoint: Endpoint, fields: Fields, *_: object) -> dict[str, Any]:
        """Let somebody else open what is computed from a tensor."""
        self._tensors.permit(endpoint, fields)
        return {}

    def forget(self, endpoint: Endpoint, fields: Fields, *_: object) -> dict[str, Any]:
        """Drop a tensor."""
        self._tensors.drop(endpoint, fields)
        return {}

    def compute(self, endpoint: Endpoint, fields: Fields, frame: Frame, *_: object) -> dict[str, Any]:
        """Run a computation on tensors; its output goes to who asked, if all whose data it is agree."""
        self._leaving.require()
        patience = seconds(fields.get("seconds"), "seconds")
        computation = read_computation(self.role, endpoint, self._tensors, self._models, fields, frame.arrays)
        self._sessions.compute(endpoint, computation, patience)
        return {}

    def close(self, endpoint: Endpoint, fields: Fields, *_: object) -> dict[str, Any]:
        """End a session."""
        self._sessions.close(endpoint, fields)
        return {}

    # ---- peers ----

    def _link_changed(self, peer: Role) -> None:
        """A new link has new keys: what was prepared under the old ones cannot be used."""
        self._shares.link_changed(peer)
        self._leaving.link_changed(peer)
        self._sessions.refuse(self._leaving.refusal)
        lost = NotReadyError(
            f"{self.role.label} lost its link to {peer.label} ({self.links.why_lost(peer)}). "
            "Ask again; if this stays so, look whether both run and reach each other."
        )
        self._sessions.end_all(lost)

    def _from_peer(self, peer: Role, frame: Frame) -> None:
        if frame.kind == "step":
            self._sessions.step(peer, frame)
            return
        handler = self._peer_frames.get(frame.kind)
        if handler is None:
            raise ProtocolError(f"{peer.label} sent a frame of the unknown kind '{frame.kind[:40]}'.")
        handler(peer, fields_of(frame.meta), frame)


def _is_worker(identity: Identity) -> bool:
    return identity.role in BY_LABEL


def _limits(identity: Identity) -> Limits:
    if _is_worker(identity):
        return PEER_LIMITS
    return OWNER_LIMITS if identity.role == "owner" else CLIENT_LIMITS


TENSOR_CALLS: dict[str, Callable[..., dict[str, Any] | None]] = {
    "tensor": Worker.tensor,
    "permit": Worker.permit,
    "forget": Worker.forget,
    "compute": Worker.compute,
    "close": Worker.close,
}
"""What owners and clients alike may ask for."""

CALLS: dict[str, dict[str, Callable[..., dict[str, Any] | None]]] = {
    "owner": {
        "hello": Worker.hello,
        "share": Worker.share,
        "part": Worker.part,
        "serve": Worker.serve,
        "pause": Worker.pause,
        "trace": Worker.trace,
        "drop": Worker.drop,
        "status": Worker.status,
        "shutdown": Worker.shutdown,
        **TENSOR_CALLS,
    },
    "client": {
        "hello": Worker.hello,
        "describe": Worker.describe,
        "open": Worker.open,
        **TENSOR_CALLS,
    },
}
"""What each role may ask for. A call answers at once with fields, or later through the function it is given."""
