"""The queries of all sessions at one worker: beginning, messages from peers, the answer, and every way to fail.

A query begins at server0 and server1 with the client's masked input and at the dealer with the first message of a peer.
Whoever sees it fail tells the others; an answer is released at most once.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from syfr.errors import BusyError, ClosedError, DeadlineError, ProtocolError, SyfrError, error_classes
from syfr.link import Frame
from syfr.party import executor
from syfr.party.counts import Counts
from syfr.party.fields import Fields, Key, Place, text, whole
from syfr.party.load import Load
from syfr.party.messages import LinkChannel
from syfr.party.passes import Passes
from syfr.party.peers import PeerLinks
from syfr.party.pieces import Filling
from syfr.party.preprocessing import ServerBlock
from syfr.party.query import LONGEST_SECONDS, Query, time_limit
from syfr.party.reactor import Reactor
from syfr.party.session import Session
from syfr.protocol.channel import MESSAGES, Array, Run, Tag
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.transcript import Transcript, seal
from syfr.ring.fixedpoint import WIRE_BYTES, Words
from syfr.ring.packing import unpack_elements

log = logging.getLogger("syfr.party")

MAX_ROWS = 4096
MAX_EARLY = 16 * MAX_ROWS
"""Messages of one query that came before its parts began here: of each part those of all steps that read the input."""

Reply = Callable[[Session, Frame], None]
Early = tuple[Role, Place, Sequence[object], Sequence[Array]]


class Queries:
    """All queries of one worker.

    Args:
        reply: sends a frame to the client of a session.
    """

    def __init__(self, role: Role, links: PeerLinks, reactor: Reactor, reply: Reply) -> None:
        self._role, self._links, self._reactor, self._reply = role, links, reactor, reply
        self._early: dict[Key, list[Early]] = {}
        self._load = Load(role)
        self.counts = Counts()
        self.passes = Passes(role, links, reactor, self._accept_dealer, self._answer, self.fail)
        self.refusal: SyfrError | None = None

    @property
    def running(self) -> int:
        """Queries that have begun here and not ended."""
        return self._load.total

    # ---- from the client, at server0 and server1 ----

    def ask(self, session: Session, place: Place, arrays: Sequence[Array], patience: float) -> None:
        """A client's query: accepted once, or answered with the reason why not.

        Args:
            patience: seconds after which the client gives up; it is told a little earlier what was waited for.
        """
        again = place.start < session.accepted_until
        try:
            masked = self._read_input(session, place, arrays)
            if place.start in session.refused:
                raise session.refused.pop(place.start)
            query = self._accept(session, place, time_limit(patience))
        except SyfrError as error:
            # A frame that came again must not end the query that it repeats; no client asks the dealer.
            new = not again and self._role is not DEALER
            if new:
                session.give_up(place)
                self._early.pop(place.key, None)
            self._tell(session, place, error, self._role.peers if new else ())
            return
        query.masked_input = masked
        begun = place.key in self._early  # by the partner, alone
        query.together = self._load.total > 1 and not begun and self.passes.takes(session, query)
        self.begin_waiting(session)

    def compute(self, session: Session, place: Place, masked: Words, patience: float) -> None:
        """The one row of a computation, which is here already."""
        try:
            query = self._accept(session, place, time_limit(patience))
        except SyfrError as error:
            self._tell(session, place, error, self._role.peers)
            return
        query.masked_input = masked
        self.begin_waiting(session)

    def _read_input(self, session: Session, place: Place, arrays: Sequence[Array]) -> Words:
        program = session.model.program
        expected = (place.rows, WIRE_BYTES * math.prod(program.input_shape))
        if self._role is DEALER:
            raise ProtocolError("A query goes to server0 and server1, not to the dealer.")
        if len(arrays) != 1 or arrays[0].dtype != "uint8" or arrays[0].shape != expected:
            raise ProtocolError("The masked input does not have the shape that the model takes.")
        return unpack_elements(arrays[0].reshape(-1), (place.rows, *program.input_shape))

    def _accept(self, session: Session, place: Place, limit: float) -> Query:
        if self._role is not DEALER:  # who hears of queries only from the other two
            if self.refusal is not None:
                raise self.refusal
            self._load.require_room(session.client.name, place.rows)
        query = session.accept(place)
        self._load.begin(session.client.name, place.rows)
        query.deadline = self._reactor.after(limit, lambda: self._too_late(session, query, limit))
        return query

    def begin_waiting(self, session: Session) -> None:
        """Begin the parts whose rows are prepared; ask the dealer for rows that are not."""
        self._begin_parts(session)
        self.pieces_came(session)

    def _begin_parts(self, session: Session) -> None:
        for query in list(session.queries.values()):
            while query.masked_input is not None:
                until = session.to_ask(query)
                if until is not None:
                    self._send(DEALER, "more", {"session": session.number, "until": until})
                if not session.has_rows(query.begun_until + 1):
                    return
                if not session.pool.has(query.begun_until):
                    self.fail(session, query, BusyError("Another worker has refused this query. Ask again."))
                    break
                if query.together:
                    self.passes.wait(session, query)
                else:
                    self._begin_part(session, query, query.masked_input)
            if query.together:
                return  # rows are used in their order: the next ones wait for the pass

    def pieces_came(self, session: Session) -> None:
        """Tell the parts that have begun of the pieces of preprocessing that have come since."""
        while session.came:
            row, piece = session.came.popleft()
            for query in list(session.queries.values()):
                if query.place.start <= row < query.begun_until:
                    run = query.runs[row - query.place.start]
                    self._deliver(session, query, run, self._role, (piece, executor.PIECE), -1, ())

    def _begin_part(self, session: Session, query: Query, masked_input: Words) -> None:
        place, start = query.place, query.begun_until
        try:
            rows, prepared = session.pool.take(start, place.stop)
        except SyfrError as error:
            self.fail(session, query, error)
            return
        masked = masked_input[start - place.start : start - place.start + rows]
        query.begun_until += rows
        if session.together and place.rows == 1 and session.model.program.untrusted_clients:
            # The lift asks the dealer first: the partner, where it may wait for a pass, would hear nothing of it.
            self._send(self._role.partner, "began", place.fields())
        if query.begun_until == place.stop:
            query.masked_input = None
        self._start(session, query, start, masked, prepared)

    def _start(self, session: Session, query: Query, start: int, masked: Words, prepared: ServerBlock) -> None:
        """Begin a part whose first row is ``start``."""
        place, model = query.place, session.model
        if start == place.start and not model.program.compares:
            # The dealer hears nothing of such a query otherwise, and it counts requests too.
            self._send(DEALER, "began", place.fields())
        if isinstance(prepared, Filling):
            used = {"session": session.number, "row": start}
            prepared.used = lambda piece: self._send(DEALER, "used", {**used, "piece": piece})
        channel = self._channel(query)
        opening = place.session + model.digests["program"] + b"%d %d %d" % (*place[1:], start)
        transcript = Transcript(session.transcript_key(start), opening)
        query.transcripts.append(transcript)
        work = executor.run_server(channel, transcript, model.plan(), model.layers, prepared, masked)
        self._run(session, query, Run(work, channel))

    def _channel(self, query: Query) -> LinkChannel:
        return LinkChannel(self._role, self._links, query.place, len(query.runs), query.trace)

    # ---- from peers ----

    def message(
        self, peer: Role, session: Session, place: Place, name: Sequence[object], arrays: Sequence[Array]
    ) -> None:
        """A message of the online phase; ``name`` is its part, its step, the number of its name, its logical time."""
        query = session.queries.get(place.start)
        if query is None:
            if place.start < session.accepted_until:
                return  # of a query that has ended here
            if self._role is DEALER:
                query = self._accept_dealer(session, place)
            if query is None:
                self._keep(peer, place, name, arrays)
                return
        if place != query.place:
            self.fail(session, query, ProtocolError(f"{peer.label} sent a message of another query."))
            return
        part, step, kind, clock = [whole(value, "message") for value in name]
        if kind >= len(MESSAGES):
            raise ProtocolError(f"{peer.label} sent a message of an unknown kind.")
        if self._role is DEALER:
            self._begin_dealer(session, query, part)
        if part < len(query.runs):
            run, tag = query.runs[part], (step, MESSAGES[kind])
            if query.trace is not None:
                query.trace.received(part, peer, tag, arrays, run.missing)
            self._deliver(session, query, run, peer, tag, clock, arrays)
            if query.trace is not None:
                query.trace.paused(part)
        else:
            self._keep(peer, place, name, arrays)
            if query.together:
                self._go_alone(session, query)

    def _go_alone(self, session: Session, query: Query) -> None:
        """The partner has begun a query by itself that waits for a pass here."""
        query.together = False
        member = self.passes.alone(query)
        if member is not None and member.masked is not None and member.prepared is not None:
            self._start(session, query, query.place.start, member.masked, member.prepared.rows())
            self.begin_waiting(session)

    def _keep(self, peer: Role, place: Place, name: Sequence[object], arrays: Sequence[Array]) -> None:
        """Keep what arrived before its part could begin here."""
        if self._role is not DEALER:
            early = self._early.setdefault(place.key, [])
            if len(early) < MAX_EARLY:
                early.append((peer, place, name, arrays))

    def began_alone(self, session: Session, place: Place) -> None:
        """At server0 and server1: the partner has begun a query by itself."""
        query = session.queries.get(place.start)
        if query is not None and query.together:
            self._go_alone(session, query)
        elif place.start >= session.accepted_until:
            self._early.setdefault(place.key, [])

    def began(self, session: Session, place: Place) -> None:
        """At the dealer: a query runs in which it has no part but to count it."""
        if place.start >= session.accepted_until:
            query = self._accept_dealer(session, place)
            if query is not None:
                self._begin_dealer(session, query, place.rows)

    def _accept_dealer(self, session: Session, place: Place) -> Query | None:
        session.accepted_until = place.start  # rows of a query that both servers refused are never used
        try:
            return self._accept(session, place, LONGEST_SECONDS)  # the others, who know, tell when it ends
        except SyfrError as error:
            self._tell(session, place, error, self._role.peers)
            return None

    def _begin_dealer(self, session: Session, query: Query, part: int) -> None:
        """Begin the dealer's parts up to ``part``: they have the same blocks as at the other two."""
        place = query.place
        while len(query.runs) <= part and query.begun_until < place.stop and place.start in session.queries:
            try:
                rows, dealt = session.pool.take(query.begun_until, place.stop)
            except SyfrError as error:
                self.fail(session, query, error)
                return
            channel = self._channel(query)
            query.begun_until += rows
            self._run(session, query, Run(executor.run_dealer(channel, session.model.plan(), dealt), channel))

    # ---- the end ----

    def _run(self, session: Session, query: Query, run: Run) -> None:
        part = len(query.runs)
        query.runs.append(run)
        try:
            run.advance()
        except SyfrError as error:
            self.fail(session, query, error)
        else:
            self._part_ended(session, query)
        if query.trace is not None:
            query.trace.paused(part)
        early = self._early.get(query.place.key)
        if early:
            self._early[query.place.key] = [one for one in early if one[2][0] != part]
            for peer, place, name, arrays in (one for one in early if one[2][0] == part):
                if session.queries.get(query.place.start) is query:
                    self.message(peer, session, place, name, arrays)

    def _deliver(
        self, session: Session, query: Query, run: Run, peer: Role, tag: Tag, clock: int, arrays: Sequence[Array]
    ) -> None:
        """Have a part go on with a message."""
        try:
            run.deliver(peer, tag, clock, arrays)
        except SyfrError as error:
            self.fail(session, query, error)
        else:
            if run.done:
                self._part_ended(session, query)

    def _part_ended(self, session: Session, query: Query) -> None:
        """A part may have ended, and the query with its last."""
        if query.done:
            clock = max(run.channel.clock for run in query.runs)
            results = [] if self._role is DEALER else [run.result for run in query.runs]
            if query.place.rows == 1:
                self.passes.answered_alone(session.client.name)
            self._answer(session, query, results, query.transcripts, clock)

    def _answer(
        self, session: Session, query: Query, results: Sequence[Array], transcripts: Sequence[Transcript], clock: int
    ) -> None:
        """A query has ended well; ``results`` are the parts of its answer, of which the dealer has none."""
        if not session.remove(query):
            return
        self._early.pop(query.place.key, None)
        session.model.serving.commit(query.claim)
        if results:
            fields = query.place.fields(clock=clock, seal=seal(transcripts))
            self._reply(session, Frame("answer", fields, [np.concatenate(results)]))
        self._load.end(session.client.name, query.place.rows)
        query.end()
        session.model.tracing.end(query.trace)
        self.counts.together += query.together
        self.counts.answered(time.monotonic() - query.began)
        if not query.together:
            session.expect(query.place.rows)
        elif session.queries:
            self.begin_waiting(session)

    def fail(self, session: Session, query: Query, error: SyfrError, tell: bool = True) -> None:
        """End a query: its client is told the reason, and so are the peers unless they know."""
        if not session.remove(query):
            return
        self._load.end(session.client.name, query.place.rows)
        query.end()
        session.model.serving.release(query.claim)
        session.model.tracing.end(query.trace)
        log.info("a query of %s failed: %s", session.client, error)
        self._early.pop(query.place.key, None)
        self.passes.ended(query)
        session.give_up(query.place)
        self._tell(session, query.place, error, self._role.peers if tell else ())
        if query.together:  # not at once: the others of the session may be about to fail too
            self._reactor.after(0, lambda: self.begin_waiting(session))

    def failed_elsewhere(self, session: Session, peer: Role, place: Place, fields: Fields) -> None:
        """A peer says that a query has ended; what did not begin here does not begin any more."""
        kind = error_classes().get(text(fields.get("code"), "code"), ProtocolError)
        error = kind(text(fields.get("message"), "message", 2000))
        query = session.queries.get(place.start)
        if query is not None:
            self.fail(session, query, error, tell=False)
        elif self._role is DEALER:
            session.give_up(place)
        else:
            session.refused_elsewhere(place, error)

    def fail_waiting(self, session: Session, error: SyfrError) -> None:
        """End the queries of a session that wait for a pass."""
        for query in list(session.queries.values()):
            if query.together and (query.masked_input is not None or self.passes.waits(query)):
                self.fail(session, query, error)

    def fail_all(self, session: Session, error: SyfrError) -> None:
        """End every query of a session."""
        for query in list(session.queries.values()):
            self.fail(session, query, error)
        for key in [key for key in self._early if key[0] == session.number]:
            del self._early[key]

    def _too_late(self, session: Session, query: Query, limit: float) -> None:
        missing = self._role.partner if query.together and query.masked_input is None else query.missing
        waits = "waits for preprocessing" if missing is None else f"waits for {missing.label}"
        told = f"No answer in {limit:.3g} s: {self._role.label} {waits}. Ask again, or give it more time."
        self.fail(session, query, DeadlineError(told))

    def _tell(self, session: Session, place: Place, error: SyfrError, peers: Sequence[Role]) -> None:
        fields = place.fields(code=error.code, message=str(error))
        self.counts.failed(error.code)
        self._reply(session, Frame("failed", fields))
        for peer in peers:
            self._send(peer, "failed", fields)

    def _send(self, peer: Role, kind: str, fields: Fields) -> None:
        try:
            self._links.send(peer, kind, fields)
        except ClosedError:
            return  # a lost link ends all sessions by itself
