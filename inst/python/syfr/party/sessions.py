"""All sessions of one worker: opening and ending them, and the preprocessing that is made for them ahead."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from syfr.errors import ClosedError, NotConnectedError, ProtocolError, RefusedError, SyfrError
from syfr.link import Frame
from syfr.party.computations import Computation
from syfr.party.counts import Counts
from syfr.party.endpoint import Endpoint
from syfr.party.fields import SESSION_BYTES, Fields, Place, octets, seconds, seeds_of, whole
from syfr.party.heap import keep_more_memory
from syfr.party.models import Model
from syfr.party.passes import KEPT_SECONDS
from syfr.party.peers import PeerLinks
from syfr.party.queries import MAX_ROWS, Queries
from syfr.party.reactor import Reactor
from syfr.party.session import Dealt, RowMask, Session, opening_proof
from syfr.party.streams import PairKeys
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import SEED_BYTES

LONG_ROUND_TRIP = 0.004
"""Seconds from which on the form of fewer delays is worth its bytes: at 1 Gbit/s, 24 for each of 10,000 values are as
long on the way as the delay of 2 ms that they save."""

MAX_PER_CONNECTION = 16
MAX_PER_CLIENT = 256
"""Open sessions of one connection, and of all connections of one client."""

MAX_UNCONFIRMED = 4096

DISAGREE = "The workers were given different seeds, models or sizes for this session, or have different clients in it."

GONE = "This session has ended at server2: the connection to it was lost. Connect again."


class Sessions:
    """The sessions of one worker."""

    def __init__(self, role: Role, links: PeerLinks, reactor: Reactor) -> None:
        self._role, self._links, self._reactor = role, links, reactor
        self._sessions: dict[bytes, Session] = {}
        self._clients: dict[bytes, Endpoint] = {}
        self._restless: dict[bytes, Session] = {}
        self._wanted: dict[bytes, Session] = {}
        self._parting: dict[bytes, Session] = {}
        self._proofs: dict[bytes, dict[Role, bytes]] = {}
        self._confirmed: dict[bytes, dict[Role, object]] = {}
        self._queries = Queries(role, links, reactor, self._to_client)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def running(self) -> int:
        """Queries that have begun and not ended."""
        return self._queries.running

    @property
    def prepared(self) -> int:
        """Rows that are prepared ahead, of all sessions."""
        return sum(session.pool.prepared for session in self._sessions.values())

    def preparation(self, model: Model) -> dict[str, int]:
        """Of a model's sessions: the rows that are prepared ahead, and how many of them there should be."""
        own, weights = [one for one in self._sessions.values() if one.model is model], self._weights()
        return {
            "prepared": sum(one.pool.prepared for one in own),
            "ahead": sum(one.rows_ahead(weights) for one in own),
        }

    @property
    def counts(self) -> Counts:
        """What came of all queries."""
        return self._queries.counts

    def refuse(self, reason: SyfrError | None) -> None:
        """Let no new query begin, for this reason; None lets them begin again."""
        self._queries.refusal = reason

    @property
    def crowded(self) -> bool:
        """Whether several queries run."""
        return self._queries.running > 1

    # ---- the client's side ----

    def open(self, client: Endpoint, model: Model, fields: Fields) -> None:
        """Begin a session; raises when its number is taken or the client has too many."""
        number = octets(fields.get("session"), "session", SESSION_BYTES)
        rows = whole(fields.get("rows"), "rows", 1, MAX_ROWS)
        seeds = seeds_of(fields.get("seeds"), 2 if self._role is DEALER else 1, SEED_BYTES)
        self._begin(client, number, model, rows, seeds, None)

    def compute(self, client: Endpoint, computation: Computation, patience: float) -> None:
        """Run a computation on tensors, once, in a session of its own."""
        number = computation.number
        self._begin(client, number, computation.model, 1, computation.proofs, computation.masks)
        session = self._sessions.get(number)
        if session is not None and computation.masked is not None:
            self._queries.compute(session, Place(number, 0, 1), computation.masked, patience)

    def _begin(
        self,
        client: Endpoint,
        number: bytes,
        model: Model,
        rows: int,
        seeds: Sequence[bytes],
        masks: Sequence[RowMask] | None,
    ) -> None:
        if sum(one is client for one in self._clients.values()) >= MAX_PER_CONNECTION:
            raise RefusedError("A connection has too many open sessions. Close one before opening another.")
        if sum(one.client == client.identity for one in self._sessions.values()) >= MAX_PER_CLIENT:
            raise RefusedError(f"{client.identity} has {MAX_PER_CLIENT} open sessions. Close some before opening more.")
        self._links.require()
        keys = PairKeys(self._links.session_keys(number), number)
        session = Session(number, client.identity, model, rows, seeds, keys, self._role, masks)
        if len(session.pieces) > 1:
            keep_more_memory()
        self._sessions[number] = session
        self._clients[number] = client
        if self._role is not DEALER:
            self._links.send(DEALER, "opened", {"session": number, "proof": opening_proof(session, seeds[0])})
            return
        session.padded = max(self._links.round_trips.values()) > LONG_ROUND_TRIP
        given = zip(self._role.peers, seeds, strict=True)
        self._proofs[number] = {peer: opening_proof(session, seed) for peer, seed in given}
        for server, proof in self._confirmed.pop(number, {}).items():
            if number in self._sessions:
                self._confirm(session, server, proof)
        if number not in self._sessions:
            raise ProtocolError(DISAGREE)

    def close(self, client: Endpoint, fields: Fields) -> None:
        """End a session of this client, if it is one."""
        number = octets(fields.get("session"), "session", SESSION_BYTES)
        if self._clients.get(number) is client:
            self.end(number, ClosedError("The client has closed its session."))

    def ask(self, client: Endpoint, frame: Frame, fields: Fields) -> None:
        """A query of this client."""
        place = Place.read(fields, MAX_ROWS)
        session = self._sessions.get(place.session)
        if session is not None and self._clients[place.session] is client:
            patience = fields.get("seconds")
            self._queries.ask(
                session, place, frame.arrays, math.inf if patience is None else seconds(patience, "seconds")
            )
            return
        error = NotConnectedError("This session is not open; a link between workers may have been lost. Connect again.")
        client.send(Frame("failed", place.fields(code=error.code, message=str(error))))

    def _to_client(self, session: Session, frame: Frame) -> None:
        client = self._clients.get(session.number)
        if client is not None:
            client.send(frame)

    # ---- ends ----

    def end(self, number: bytes, error: SyfrError) -> None:
        """End a session; its queries fail with ``error``."""
        session = self._sessions.pop(number, None)
        if session is not None:
            self._restless.pop(number, None)
            self._wanted.pop(number, None)
            self._proofs.pop(number, None)
            self._queries.fail_all(session, error)
            self._clients.pop(number, None)
            if self._role is DEALER and session.together:
                self._part(session)

    def _part(self, session: Session) -> None:
        """At the dealer: a query of a session that ends may be in a pass already; no other will be."""
        self._parting[session.number] = session
        self._reactor.after(KEPT_SECONDS, lambda: self._parting.pop(session.number, None))
        for peer in self._role.peers:
            if self._links.up(peer):
                self._links.send(peer, "gone", {"session": session.number})

    def end_all(self, error: SyfrError) -> None:
        """End all sessions, and all that runs: a link was lost."""
        self.end_where(lambda _: True, error)
        self._parting.clear()
        self._queries.passes.clear()

    def end_where(self, condition: Callable[[Session], bool], error: SyfrError) -> None:
        """End the sessions for which ``condition`` holds."""
        for number, session in list(self._sessions.items()):
            if condition(session):
                self.end(number, error)

    def client_gone(self, client: Endpoint) -> None:
        """End the sessions of a connection that is over."""
        self.end_where(lambda session: self._clients.get(session.number) is client, ClosedError("The client has gone."))

    # ---- from peers ----

    def step(self, peer: Role, frame: Frame) -> None:
        """A message of a query."""
        meta = frame.meta
        if not isinstance(meta, list) or len(meta) != 7:
            raise ProtocolError(f"{peer.label} sent a message without its place.")
        place = Place.of(meta[0], meta[1], meta[2], MAX_ROWS)
        session = self._sessions.get(place.session)
        if session is None:
            self._queries.passes.message(peer, place, meta[3:], frame.arrays)
            return
        self._queries.message(peer, session, place, meta[3:], frame.arrays)
        if self._role is DEALER:
            self._restless[session.number] = session
        elif session.pending:
            self._feed(session)

    def _named(self, fields: Fields) -> Session | None:
        """The session that a frame names, if it has not ended."""
        return self._sessions.get(octets(fields.get("session"), "session", SESSION_BYTES))

    def waiting(self, peer: Role, fields: Fields, _: Frame) -> None:
        """At server0: server1 has a query that may run with others."""
        self._queries.passes.offered(peer, fields)

    def begin_pass(self, peer: Role, fields: Fields, _: Frame) -> None:
        """At server1 and the dealer: several queries run together."""
        self._queries.passes.begin(peer, fields, self._known)

    def _known(self, number: bytes) -> Session | None:
        session = self._sessions.get(number)
        if session is not None:
            self._restless[number] = session  # it needs new rows
        return session or self._parting.get(number)

    def spoilt(self, _: Role, fields: Fields, __: Frame) -> None:
        """A pass has ended at a peer."""
        self._queries.passes.failed_elsewhere(fields)

    def gone(self, peer: Role, fields: Fields, _: Frame) -> None:
        """At server0 and server1: a session has ended at the dealer; nobody else's query may depend on it."""
        session = self._named(fields)
        if session is not None and peer is DEALER:
            session.together = False
            self._queries.fail_waiting(session, NotConnectedError(GONE))

    def opened(self, peer: Role, fields: Fields, _: Frame) -> None:
        """At the dealer: a server has a session open, so it can take preprocessing."""
        number = octets(fields.get("session"), "session", SESSION_BYTES)
        session = self._sessions.get(number)
        if self._role is not DEALER:
            raise ProtocolError(f"{peer.label} speaks of its sessions to {self._role.label}, not to the dealer.")
        if session is not None:
            self._confirm(session, peer, fields.get("proof"))
            return
        if len(self._confirmed) >= MAX_UNCONFIRMED:
            self._confirmed.pop(next(iter(self._confirmed)))
        self._confirmed.setdefault(number, {})[peer] = fields.get("proof")

    def _confirm(self, session: Session, server: Role, proof: object) -> None:
        if proof == self._proofs[session.number].get(server):
            session.confirmed.add(server)
            self._restless[session.number] = session
            return
        self.end(session.number, ProtocolError(DISAGREE))
        for peer in self._role.peers:
            self._links.send(peer, "ended", {"session": session.number})

    def ended(self, peer: Role, fields: Fields, _: Frame) -> None:
        """At server0 and server1: the dealer has refused a session."""
        if peer is DEALER:
            self.end(octets(fields.get("session"), "session", SESSION_BYTES), ProtocolError(DISAGREE))

    def dealt(self, peer: Role, fields: Fields, frame: Frame) -> None:
        """At server0 and server1: a block of preprocessing, or a piece of one."""
        place = Place.read(fields, MAX_ROWS)
        session = self._sessions.get(place.session)
        if session is None or peer is not DEALER:
            return
        message = list(frame.arrays) if self._role is Role.SERVER1 else None
        try:
            block, piece = whole(fields.get("block"), "block"), whole(fields.get("piece"), "piece")
            session.dealt(Dealt(block, piece, place, fields.get("padded") is True, message))
            self._restless[session.number] = session
            self._feed(session)
            self._queries.begin_waiting(session)
        except ProtocolError as error:
            self.end(session.number, error)

    def more(self, _: Role, fields: Fields, __: Frame) -> None:
        """At the dealer: a query waits for rows; they are made before any that nobody waits for."""
        session = self._named(fields)
        if session is not None:
            self._want(session, whole(fields.get("until"), "until"))

    def used(self, peer: Role, fields: Fields, _: Frame) -> None:
        """At the dealer: a server has used a piece of a row's preprocessing, so there is memory for more."""
        session = self._named(fields)
        if session is not None and self._role is DEALER:
            session.held.used(peer, whole(fields.get("row"), "row"), whole(fields.get("piece"), "piece"))
            self._deal_soon(session)

    def failed(self, peer: Role, fields: Fields, _: Frame) -> None:
        """A query has ended at a peer."""
        place = Place.read(fields, MAX_ROWS)
        session = self._sessions.get(place.session)
        if session is not None:
            self._queries.failed_elsewhere(session, peer, place, fields)
            if self._role is DEALER:
                self._restless[session.number] = session

    def began(self, peer: Role, fields: Fields, _: Frame) -> None:
        """At the dealer: a query without compares has begun. At the others: one has begun alone at the partner."""
        place = Place.read(fields, MAX_ROWS)
        session = self._sessions.get(place.session)
        if session is not None and peer is not DEALER and self._role is not DEALER:
            self._queries.began_alone(session, place)
        elif session is not None and self._role is DEALER and place.stop - session.pool.ready_until <= 2 * MAX_ROWS:
            session.wanted_until = max(session.wanted_until, place.stop)
            while session.pool.ready_until < place.stop and self._deal(session):
                pass
            self._queries.began(session, place)

    # ---- preprocessing ----

    def _want(self, session: Session, until: int) -> None:
        if self._role is DEALER and until - session.pool.ready_until <= 2 * MAX_ROWS:
            session.wanted_until = max(session.wanted_until, until)
            self._deal_soon(session)

    def _deal_soon(self, session: Session) -> None:
        """Deal what a query waits for before the rest, and whatever else goes on."""
        if not session.waited_for:
            self._restless[session.number] = session
        elif session.number not in self._wanted:
            self._wanted[session.number] = session
            if len(self._wanted) == 1:
                self._deal_wanted()

    def _deal_wanted(self) -> None:
        """One block of what a query waits for; then the connections and other sessions have their turn."""
        for number, session in list(self._wanted.items())[:1]:
            del self._wanted[number]
            if session.waited_for and self._deal(session) and number in self._sessions:
                self._wanted[number] = session
            elif number in self._sessions:  # the later pieces of its row are made when there is memory for them
                self._restless[number] = session
        if self._wanted:
            self._reactor.after(0, self._deal_wanted)

    def wake(self) -> None:
        """Look at all sessions again: what may be dealt has changed."""
        self._restless.update(self._sessions)

    def idle(self) -> bool:
        """One block of preprocessing, or a piece of one, for the sessions in turn; False when nothing is to be made.

        A block takes as long as a query of many rows: one that runs alone does not wait for what nobody waits for.
        """
        if self._queries.running == 1 and any(one.soon_over for one in self._sessions.values()):
            return False
        while self._restless:
            number, session = next(iter(self._restless.items()))
            del self._restless[number]
            try:
                worked = self._deal(session) if self._role is DEALER else self._prepare(session)
            except SyfrError as error:
                self.end(number, error)
                continue
            if worked:
                if number in self._sessions:  # a link that is lost while sending ends sessions
                    self._restless[number] = session
                return True
        return False

    def _weights(self) -> int:
        return sum(one.weight for one in self._sessions.values())

    def _deal(self, session: Session) -> bool:
        rows = session.rows_to_deal(max(self._weights(), session.weight))
        if not rows:
            return False
        dealt = session.deal(rows)
        fields = dealt.place.fields(block=dealt.block, piece=dealt.piece, padded=dealt.padded)
        self._links.send(Role.SERVER0, "dealt", fields)
        self._links.send(Role.SERVER1, "dealt", fields, dealt.message or ())
        self._queries.pieces_came(session)
        return True

    def _feed(self, session: Session) -> None:
        """Prepare what a query can do nothing without, whatever else goes on; the rest has time."""
        try:
            while session.starved and self._prepare(session):
                pass
        except SyfrError as error:
            self.end(session.number, error)

    def _prepare(self, session: Session) -> bool:
        if not session.pending:
            return False
        session.prepare_next()
        self._queries.pieces_came(session)
        return True
