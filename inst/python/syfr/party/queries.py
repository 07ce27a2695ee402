"""The queries of all sessions at one worker: beginning, messages from peers, the answer, and every way to fail.

A query begins at server0 and server1 with the client's masked input and at the dealer with the first message of a peer.
Whoever sees it fail tells the others; an answer is released at most once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from syfr.errors import ClosedError, DeadlineError, ProtocolError, SyfrError
from syfr.link import Frame
from syfr.party import executor
from syfr.party.peers import PeerLinks
from syfr.party.reactor import Reactor
from syfr.party.sessions import Query, Session
from syfr.protocol.channel import MESSAGES, Array, Channel, Run, Tag
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Words
from syfr.ring.packing import unpack_elements

QUERY_SECONDS = 60.0
MAX_ROWS = 4096
MAX_EARLY = 64

Reply = Callable[[Session, Frame], None]


class LinkChannel(Channel):
    """A query's channel over the links to the peers."""

    def __init__(self, role: Role, links: PeerLinks, session: bytes, start: int, rows: int) -> None:
        super().__init__(role)
        self._links = links
        self._place = (session, start, rows)

    def transmit(self, peer: Role, tag: Tag, clock: int, arrays: Sequence[Array]) -> None:
        """Send at once."""
        self._links.send(peer, "step", [*self._place, tag[0], MESSAGES.index(tag[1]), clock], arrays)


class Queries:
    """All queries of one worker.

    Args:
        reply: sends a frame to the client of a session.
    """

    def __init__(self, role: Role, links: PeerLinks, reactor: Reactor, reply: Reply) -> None:
        self._role, self._links, self._reactor, self._reply = role, links, reactor, reply
        self._early: dict[tuple[bytes, int], list[tuple[Role, Any, Sequence[Array]]]] = {}

    # ---- from the client, at server0 and server1 ----

    def ask(self, session: Session, meta: Any, arrays: Sequence[Array]) -> None:
        """A client's query: accepted once, or answered with the reason why not."""
        start, rows = meta.get("start"), meta.get("rows")
        try:
            masked = self._read_input(session, start, rows, arrays)
            query = self._accept(session, start, rows)
        except SyfrError as error:
            if type(start) is int and type(rows) is int:
                self._refuse(session, start, rows, error)
            return
        query.masked_input = masked
        self.begin_waiting(session)

    def _read_input(self, session: Session, start: Any, rows: Any, arrays: Sequence[Array]) -> Words:
        program = session.model.program
        if self._role is DEALER or type(start) is not int or type(rows) is not int or not 1 <= rows <= MAX_ROWS:
            raise ProtocolError(f"A query has 1 to {MAX_ROWS} rows and goes to server0 and server1.")
        size = 1
        for axis in program.input_shape:
            size *= axis
        if len(arrays) != 1 or arrays[0].dtype != "uint8" or arrays[0].shape != (rows, WIRE_BYTES * size):
            raise ProtocolError("The masked input does not have the shape that the model takes.")
        return unpack_elements(arrays[0].reshape(-1), (rows, *program.input_shape))

    def _accept(self, session: Session, start: int, rows: int) -> Query:
        """Count a query's rows and requests; raises when they were used before or are not open."""
        if start != session.accepted_until:
            raise ProtocolError(f"Row {start} is not the next row of this session; every row is taken once, in order.")
        session.accepted_until = start + rows
        query = Query(start, rows, session.requests(rows))
        session.model.reserve(query.requests)
        session.queries[start] = query
        self._reactor.after(QUERY_SECONDS, lambda: self._too_late(session, query))
        return query

    def _refuse(self, session: Session, start: int, rows: int, error: SyfrError) -> None:
        session.pool.skip_to(session.accepted_until)
        self._early.pop((session.session, start), None)
        self._tell(session, start, rows, error, list(self._role.peers))

    def begin_waiting(self, session: Session) -> None:
        """Begin the queries whose rows are prepared; ask the dealer for those that are not."""
        for query in list(session.queries.values()):
            if query.run is not None or query.masked_input is None:
                continue
            if not session.has_rows(query.start + query.rows):
                self._send(DEALER, "more", {"session": session.session, "until": query.start + query.rows})
                return
            self._begin(session, query, query.masked_input)

    def _begin(self, session: Session, query: Query, masked_input: Words) -> None:
        model = session.model
        channel = LinkChannel(self._role, self._links, session.session, query.start, query.rows)
        try:
            session.pool.skip_to(query.start)
            prepared = session.pool.take(query.start, query.rows)
        except SyfrError as error:
            self.fail(session, query, error)
            return
        opening = session.session + model.digests["program"] + b"%d %d" % (query.start, query.rows)
        transcript = Transcript(session.keys.transcript_key(self._role.partner, query.start), opening)
        if not any(step.then == "relu" for _, step in model.program.linear_steps()):
            # The dealer hears nothing of such a query otherwise, and it counts requests too.
            self._send(DEALER, "began", self._place(session, query.start, query.rows))
        work = executor.run_server(channel, transcript, model.program, model.layers, prepared, masked_input)
        query.masked_input = None
        self._run(session, query, Run(work, channel))

    # ---- from peers ----

    def message(self, peer: Role, session: Session, meta: Any, arrays: Sequence[Array]) -> None:
        """A message of the online phase."""
        _, start, rows, number, name, clock = meta
        query = session.queries.get(start)
        if query is None and self._role is DEALER and start >= session.accepted_until:
            query = self._begin_dealer(session, start, rows)
        if query is None:
            if self._role is not DEALER and start >= session.accepted_until:
                early = self._early.setdefault((session.session, start), [])
                if len(early) < MAX_EARLY:
                    early.append((peer, meta, arrays))
            return
        if rows != query.rows or not 0 <= name < len(MESSAGES):
            self.fail(session, query, ProtocolError(f"{peer.label} sent a message of another query."))
            return
        if query.run is None:
            self._early.setdefault((session.session, start), []).append((peer, meta, arrays))
            return
        self._advance(session, query, lambda run: run.deliver(peer, (number, MESSAGES[name]), clock, arrays))

    def began(self, session: Session, meta: Any) -> None:
        """A peer says that a query runs in which the dealer has no part but to count it."""
        if self._role is DEALER and meta["start"] >= session.accepted_until:
            self._begin_dealer(session, meta["start"], meta["rows"])

    def _begin_dealer(self, session: Session, start: int, rows: int) -> Query | None:
        try:
            session.accepted_until = start  # rows that a refused query left out are never used
            query = self._accept(session, start, rows)
            session.pool.skip_to(start)
            dealt = session.pool.take(start, rows)
        except SyfrError as error:
            refused = session.queries.pop(start, None)
            if refused is not None:
                session.model.release(refused.requests)
            self._tell(session, start, rows, error, list(self._role.peers))
            return None
        channel = LinkChannel(self._role, self._links, session.session, start, rows)
        self._run(session, query, Run(executor.run_dealer(channel, session.model.program, dealt, rows), channel))
        return query

    # ---- the end ----

    def _run(self, session: Session, query: Query, run: Run) -> None:
        query.run = run
        self._advance(session, query, Run.advance)
        for peer, meta, arrays in self._early.pop((session.session, query.start), []):
            if session.queries.get(query.start) is query:
                self.message(peer, session, meta, arrays)

    def _advance(self, session: Session, query: Query, action: Callable[[Run], None]) -> None:
        run = query.run
        if run is None:
            return
        try:
            action(run)
        except SyfrError as error:
            self.fail(session, query, error)
            return
        if run.done:
            del session.queries[query.start]
            session.model.commit(query.requests)
            if self._role is not DEALER:
                meta = self._place(session, query.start, query.rows) | {"clock": run.channel.clock}
                self._reply(session, Frame("answer", meta, [run.result]))

    def fail(self, session: Session, query: Query, error: SyfrError, tell: bool = True) -> None:
        """End a query: its client is told the reason, and so are the peers unless they know."""
        if session.queries.pop(query.start, None) is None:
            return
        if query.run is not None:
            query.run.close()
        session.model.release(query.requests)
        self._early.pop((session.session, query.start), None)
        self._tell(session, query.start, query.rows, error, list(self._role.peers) if tell else [])

    def failed_elsewhere(self, session: Session, meta: Any) -> None:
        """A peer says that a query has ended; if it did not begin here, its rows will not be used."""
        error = ProtocolError(str(meta.get("message"))[:500])
        error.code = str(meta.get("code"))[:40]
        query = session.queries.get(meta.get("start"))
        if query is not None:
            self.fail(session, query, error, tell=False)

    def fail_all(self, session: Session, error: SyfrError) -> None:
        """End every query of a session."""
        for query in list(session.queries.values()):
            self.fail(session, query, error)
        for key in [key for key in self._early if key[0] == session.session]:
            del self._early[key]

    def _too_late(self, session: Session, query: Query) -> None:
        if session.queries.get(query.start) is query:
            missing = query.run.missing if query.run else None
            waits = f"waits for {missing[0].label}" if missing else "waits for preprocessing"
            self.fail(
                session, query, DeadlineError(f"The query did not end in {QUERY_SECONDS:g} s: {self._role.label} {waits}.")
            )

    def _tell(self, session: Session, start: int, rows: int, error: SyfrError, peers: list[Role]) -> None:
        meta = self._place(session, start, rows) | {"code": error.code, "message": str(error)}
        self._reply(session, Frame("failed", meta))
        for peer in peers:
            self._send(peer, "failed", meta)

    def _send(self, peer: Role, kind: str, meta: Any) -> None:
        try:
            self._links.send(peer, kind, meta)
        except ClosedError:
            return  # a lost link ends all sessions by itself

    @staticmethod
    def _place(session: Session, start: int, rows: int) -> dict[str, Any]:
        return {"session": session.session, "start": start, "rows": rows}
