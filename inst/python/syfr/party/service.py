"""One worker: who may ask it for what, and what it answers.

The certificate of a connection says who is asking; the tables below say what each may ask. Nothing else exists: no
call returns a share of a weight or of anybody's value.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from syfr.version import __version__
from syfr.errors import ClosedError, NotConnectedError, ProtocolError, RefusedError, SyfrError, WorkerError
from syfr.identity import Bundle, Identity
from syfr.link import Frame, Limits
from syfr.party.endpoint import Endpoint, Listener, wrap
from syfr.party.models import Model, ModelStore
from syfr.party.peers import PEER_LIMITS, PeerLinks
from syfr.party.queries import Queries
from syfr.party.reactor import Reactor
from syfr.party.sessions import Session
from syfr.party.streams import PairKeys
from syfr.protocol.roles import DEALER, SERVERS, Role
from syfr.protocol.sharing import SEED_BYTES

OWNER_LIMITS = Limits(header=1 << 22, body=(1 << 32) - 1)
CLIENT_LIMITS = Limits(header=1 << 12, body=1 << 28, unsent=1 << 28)
SHARE_SECONDS = 60.0
SESSION_BYTES = 16
MAX_SESSIONS_PER_CONNECTION = 16
MAX_ROWS_PER_REQUEST = 4096
MAX_UNCONFIRMED = 4096

Handler = Callable[["Worker", Endpoint, dict[str, Any], Frame], None]


class Worker:
    """A worker of one role.

    Args:
        addresses: of all three workers.
        bundle: this worker's certificate and key.
        managed: whether a session started it and will end it.
    """

    def __init__(self, role: Role, addresses: Mapping[Role, str], bundle: Bundle, managed: bool = False) -> None:
        self.role = role
        self.managed = managed
        self._bundle = bundle
        self._started = time.time()
        self.reactor = Reactor(self._idle)
        self._models = ModelStore(role)
        self._sharing: dict[str, tuple[Model, Endpoint, int]] = {}
        self._digests: dict[str, dict[Role, dict[str, bytes]]] = {}
        self._sessions: dict[bytes, Session] = {}
        self._clients: dict[bytes, Endpoint] = {}
        self._confirmed: dict[bytes, set[Role]] = {}
        self._restless: dict[bytes, Session] = {}
        self.links = PeerLinks(role, self.reactor, addresses, bundle, self._from_peer, self._link_changed)
        self._queries = Queries(role, self.links, self.reactor, self._to_client)
        self.listener = Listener(self.reactor, addresses[role], self._accepted)

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        self.links.start()
        self.reactor.run()

    def stop(self) -> None:
        """End the loop; connections close with the process."""
        self.listener.close()
        self.reactor.stop()

    # ---- connections ----

    def _accepted(self, sock: socket.socket) -> None:
        connection = wrap(sock, self._bundle.server_context(), server_side=True)
        if connection is not None:
            Endpoint(self.reactor, connection, _limits, self._opened, self._received, self._ended)

    def _opened(self, endpoint: Endpoint) -> None:
        if _is_worker(endpoint.identity):
            self.links.adopt(endpoint)

    def _received(self, endpoint: Endpoint, frame: Frame) -> None:
        if _is_worker(endpoint.identity):
            self.links.received(endpoint, frame)
        elif frame.kind == "query":
            self._query(endpoint, frame)
        elif frame.kind == "request":
            self._request(endpoint, frame)
        else:
            raise ProtocolError(f"{endpoint.identity} sent a frame of the unknown kind '{frame.kind[:40]}'.")

    def _ended(self, endpoint: Endpoint, _: Exception) -> None:
        if _is_worker(endpoint.identity) if endpoint.connection.identity else False:
            self.links.lost(endpoint)
        for session, client in list(self._clients.items()):
            if client is endpoint:
                self._end_session(session, ClosedError("The client has gone."))

    def _request(self, endpoint: Endpoint, frame: Frame) -> None:
        meta = frame.meta
        if not isinstance(meta, dict) or type(meta.get("id")) is not int:
            raise ProtocolError("A request has a number and fields.")
        call = meta.get("call")
        allowed = CALLS.get(endpoint.identity.role, {})
        try:
            if call not in allowed:
                raise RefusedError(
                    f"{endpoint.identity} may not ask {self.role.label} for '{str(call)[:40]}'. "
                    "Use the certificate of the party that may."
                )
            allowed[call](self, endpoint, meta, frame)
        except SyfrError as error:
            self._answer_error(endpoint, meta["id"], error)

    def _answer(self, endpoint: Endpoint, number: int, fields: dict[str, Any]) -> None:
        endpoint.send(Frame("reply", {"id": number, "ok": True, **fields}))

    def _answer_error(self, endpoint: Endpoint, number: int, error: SyfrError) -> None:
        meta = {"id": number, "ok": False, "code": error.code, "message": str(error), "worker": self.role.label}
        endpoint.send(Frame("reply", meta))

    # ---- anybody ----

    def hello(self, endpoint: Endpoint, meta: dict[str, Any], _: Frame) -> None:
        """Who this is, and whether its links are up."""
        waiting = [peer.label for peer in self.links.missing]
        fields = {"role": self.role.label, "version": __version__, "ready": not waiting, "waiting_for": waiting}
        self._answer(endpoint, meta["id"], fields | {"pid": os.getpid()})

    # ---- owner ----

    def share(self, endpoint: Endpoint, meta: dict[str, Any], frame: Frame) -> None:
        """Take a share; answered once the peers hold matching parts."""
        if self.links.missing:
            raise WorkerError(f"{self.role.label} has no link to {self.links.missing[0].label} yet. Try again soon.")
        model = self._models.read(meta, frame.arrays)
        self._sharing[model.number] = model, endpoint, meta["id"]
        self.reactor.after(SHARE_SECONDS, lambda: self._share_failed(model.number, "the other workers did not answer"))
        for peer in self.role.peers:
            self.links.send(peer, "share", {"model": model.number, "digests": model.digests_for(peer)})
        self._compare(model.number)

    def _compare(self, number: str) -> None:
        if number not in self._sharing:
            return
        model, endpoint, request = self._sharing[number]
        for peer, digests in self._digests.get(number, {}).items():
            if digests != model.digests_for(peer):
                self._share_failed(number, f"{self.role.label} and {peer.label} were given parts that do not match")
                return
            model.agreed.add(peer)
        if model.ready:
            del self._sharing[number]
            self._digests.pop(number, None)
            self._models.add(model)
            self._answer(endpoint, request, {})

    def _share_failed(self, number: str, reason: str) -> None:
        if number in self._sharing:
            _, endpoint, request = self._sharing.pop(number)
            self._digests.pop(number, None)
            error = ProtocolError(f"The model was not shared: {reason}. Share it again with all three workers.")
            self._answer_error(endpoint, request, error)

    def serve(self, endpoint: Endpoint, meta: dict[str, Any], _: Frame) -> None:
        """Open so many requests, or any number."""
        requests = meta.get("requests")
        if requests is not None and (type(requests) is not int or requests < 1):
            raise ProtocolError("The number of requests must be a positive whole number, or none for no limit.")
        self._models.get(meta.get("model")).open(requests)
        self._restless.update(self._sessions)
        self._answer(endpoint, meta["id"], {})

    def pause(self, endpoint: Endpoint, meta: dict[str, Any], _: Frame) -> None:
        """Close serving; the share stays."""
        self._models.get(meta.get("model")).pause()
        self._answer(endpoint, meta["id"], {})

    def drop(self, endpoint: Endpoint, meta: dict[str, Any], _: Frame) -> None:
        """Delete a model's share and end its sessions."""
        model = self._models.drop(meta.get("model"))
        for number, session in list(self._sessions.items()):
            if session.model is model:
                self._end_session(number, NotConnectedError("The model's owner has withdrawn it from the workers."))
        self._answer(endpoint, meta["id"], {})

    def status(self, endpoint: Endpoint, meta: dict[str, Any], _: Frame) -> None:
        """Counters."""
        traffic = self.links.counted()
        models = [
            {
                "model": model.number,
                "name": model.name,
                "serving": model.serving,
                "requests": model.limit,
                "served": model.served,
                "rows": model.program.rows,
            }
            for model in self._models
        ]
        fields = {
            "role": self.role.label,
            "version": __version__,
            "pid": os.getpid(),
            "managed": self.managed,
            "models": models,
            "sessions": len(self._sessions),
            "sent": {peer: counts["sent"] for peer, counts in traffic.items()},
            "received": {peer: counts["received"] for peer, counts in traffic.items()},
            "started": self._started,
        }
        self._answer(endpoint, meta["id"], fields)

    def shutdown(self, endpoint: Endpoint, meta: dict[str, Any], _: Frame) -> None:
        """End the worker."""
        self._answer(endpoint, meta["id"], {})
        self.stop()

    # ---- client ----

    def describe(self, endpoint: Endpoint, meta: dict[str, Any], _: Frame) -> None:
        """The public side of every model here."""
        models = [
            {
                "model": model.number,
                "name": model.name,
                "program": model.program.to_message(),
                "serving": model.serving,
            }
            for model in self._models
        ]
        self._answer(endpoint, meta["id"], {"models": models})

    def open(self, endpoint: Endpoint, meta: dict[str, Any], _: Frame) -> None:
        """Begin a session."""
        model = self._models.get(meta.get("model"))
        number, rows, seeds = meta.get("session"), meta.get("rows"), meta.get("seeds")
        count = 2 if self.role is DEALER else 1
        if not isinstance(number, bytes) or len(number) != SESSION_BYTES or number in self._sessions:
            raise ProtocolError(f"A session needs a new number of {SESSION_BYTES} random bytes.")
        if type(rows) is not int or not 1 <= rows <= MAX_ROWS_PER_REQUEST:
            raise ProtocolError(f"A request has 1 to {MAX_ROWS_PER_REQUEST} rows.")
        if not isinstance(seeds, list) or [len(s) for s in seeds if isinstance(s, bytes)] != [SEED_BYTES] * count:
            raise ProtocolError(f"A session opens with {count} seed(s) at {self.role.label}.")
        if sum(client is endpoint for client in self._clients.values()) >= MAX_SESSIONS_PER_CONNECTION:
            raise RefusedError("A connection has too many open sessions. Close one before opening another.")
        if self.links.missing:
            raise WorkerError(f"{self.role.label} has no link to {self.links.missing[0].label} yet. Try again soon.")
        keys = PairKeys(self.links.keys, number)
        session = Session(number, endpoint.identity, model, rows, seeds, keys, self.role)
        self._sessions[number] = session
        self._clients[number] = endpoint
        if self.role is not DEALER:
            self.links.send(DEALER, "opened", {"session": number})
        else:
            session.confirmed.update(self._confirmed.pop(number, set()))
            self._restless[number] = session
        self._answer(endpoint, meta["id"], {})

    def close_session(self, endpoint: Endpoint, meta: dict[str, Any], _: Frame) -> None:
        """End a session."""
        number = meta.get("session")
        if isinstance(number, bytes) and self._clients.get(number) is endpoint:
            self._end_session(number, ClosedError("The client has closed its session."))
        self._answer(endpoint, meta["id"], {})

    def _query(self, endpoint: Endpoint, frame: Frame) -> None:
        meta = frame.meta if isinstance(frame.meta, dict) else {}
        session = self._sessions.get(meta.get("session", b""))
        if session is not None and self._clients.get(session.session) is endpoint:
            self._queries.ask(session, meta, frame.arrays)
            return
        error = NotConnectedError("This session is not open; the link between two workers may have been lost. Connect again.")
        fields = {key: meta.get(key) for key in ("session", "start", "rows")}
        endpoint.send(Frame("failed", fields | {"code": error.code, "message": str(error)}))

    def _to_client(self, session: Session, frame: Frame) -> None:
        client = self._clients.get(session.session)
        if client is not None:
            client.send(frame)
        if self.role is DEALER and frame.kind == "answer":
            raise ValueError("The dealer has no answer to give.")

    def _end_session(self, number: bytes, error: SyfrError) -> None:
        session = self._sessions.pop(number, None)
        if session is not None:
            self._restless.pop(number, None)
            self._queries.fail_all(session, error)
            self._clients.pop(number, None)

    # ---- peers ----

    def _link_changed(self, peer: Role) -> None:
        """A new link has new keys: what was prepared under the old ones cannot be used."""
        for number in list(self._sharing):
            self._share_failed(number, f"the link to {peer.label} was lost")
        for number in list(self._sessions):
            self._end_session(number, WorkerError(f"{self.role.label} lost its link to {peer.label}. Connect again."))

    def _from_peer(self, peer: Role, frame: Frame) -> None:
        if frame.kind == "step":
            session = self._sessions.get(frame.meta[0])
            if session is not None:
                self._queries.message(peer, session, frame.meta, frame.arrays)
                if self.role is DEALER:
                    self._restless[session.session] = session
            return
        handler = PEER_FRAMES.get(frame.kind)
        if handler is None or not isinstance(frame.meta, dict):
            raise ProtocolError(f"{peer.label} sent a frame of the unknown kind '{frame.kind[:40]}'.")
        handler(self, peer, frame)

    def peer_share(self, peer: Role, frame: Frame) -> None:
        """A peer's hashes of a share."""
        self._digests.setdefault(frame.meta["model"], {})[peer] = frame.meta["digests"]
        self._compare(frame.meta["model"])

    def peer_opened(self, peer: Role, frame: Frame) -> None:
        """At the dealer: a server has a session open, so it can take preprocessing."""
        number = frame.meta["session"]
        session = self._sessions.get(number)
        if session is None:
            if len(self._confirmed) > MAX_UNCONFIRMED:
                self._confirmed.pop(next(iter(self._confirmed)))
            self._confirmed.setdefault(number, set()).add(peer)
        else:
            session.confirmed.add(peer)
            self._restless[number] = session

    def peer_dealt(self, peer: Role, frame: Frame) -> None:
        """At server0 and server1: a block of preprocessing."""
        meta = frame.meta
        session = self._sessions.get(meta["session"])
        if session is None or peer is not DEALER:
            return
        message = list(frame.arrays) if self.role is Role.SERVER1 else None
        if not session.dealt(meta["block"], meta["start"], meta["rows"], message):
            self._end_session(session.session, ProtocolError("Preprocessing arrived out of order. Connect again."))
            return
        self._restless[session.session] = session
        self._queries.begin_waiting(session)

    def peer_more(self, _: Role, frame: Frame) -> None:
        """At the dealer: a query waits for rows; they are made at once."""
        session = self._sessions.get(frame.meta["session"])
        if session is not None:
            session.wanted_until = max(session.wanted_until, frame.meta["until"])
            while session.pool.ready_until < session.wanted_until and self._deal(session):
                pass

    def peer_failed(self, _: Role, frame: Frame) -> None:
        """A query has ended at a peer."""
        session = self._sessions.get(frame.meta["session"])
        if session is not None:
            self._queries.failed_elsewhere(session, frame.meta)

    def peer_began(self, _: Role, frame: Frame) -> None:
        """At the dealer: a query without compares has begun."""
        session = self._sessions.get(frame.meta["session"])
        if session is not None:
            self._queries.began(session, frame.meta)

    # ---- idle work ----

    def _idle(self) -> bool:
        """One block of preprocessing, for the sessions in turn."""
        while self._restless:
            number, session = next(iter(self._restless.items()))
            del self._restless[number]
            if self._deal(session) if self.role is DEALER else self._prepare(session):
                self._restless[number] = session
                return True
        return False

    def _deal(self, session: Session) -> bool:
        rows = session.rows_to_deal()
        if not rows:
            return False
        number, start, message = session.deal(rows)
        meta = {"session": session.session, "block": number, "start": start, "rows": rows}
        self.links.send(Role.SERVER0, "dealt", meta)
        self.links.send(Role.SERVER1, "dealt", meta, message)
        return True

    def _prepare(self, session: Session) -> bool:
        if not session.pending:
            return False
        session.prepare_next()
        return True


def _is_worker(identity: Identity) -> bool:
    return any(identity.role == role.label for role in SERVERS)


def _limits(identity: Identity) -> Limits:
    if _is_worker(identity):
        return PEER_LIMITS
    return OWNER_LIMITS if identity.role == "owner" else CLIENT_LIMITS


CALLS: dict[str, dict[str, Handler]] = {
    "owner": {
        "hello": Worker.hello,
        "share": Worker.share,
        "serve": Worker.serve,
        "pause": Worker.pause,
        "drop": Worker.drop,
        "status": Worker.status,
        "shutdown": Worker.shutdown,
    },
    "client": {
        "hello": Worker.hello,
        "describe": Worker.describe,
        "open": Worker.open,
        "close": Worker.close_session,
    },
}
"""What each role may ask for."""

PEER_FRAMES: dict[str, Callable[[Worker, Role, Frame], None]] = {
    "share": Worker.peer_share,
    "opened": Worker.peer_opened,
    "dealt": Worker.peer_dealt,
    "more": Worker.peer_more,
    "failed": Worker.peer_failed,
    "began": Worker.peer_began,
}
"""What a peer may say, beside the messages of a query."""
