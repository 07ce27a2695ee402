"""Queries of several clients in one pass: with one row each, most of a query's time goes to what every message costs.

A query of one row that arrives while others run waits until both servers have it, masked and prepared; server1 says so
to server0, which runs all that wait for one model together, as the rows of one batch. Every row keeps its own masks.
So nobody waits for a client that is slow: what it has not sent to both is in no pass.

server0 and server1 compare one hash for all rows of a pass. A client that gives them different inputs ends it, for the
others too; they ask again by themselves. All clients of such a pass then run alone until they have been answered that
often as they were in passes that failed, twice, four times and so on: nobody can spoil many.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from syfr.errors import BusyError, ProtocolError, SyfrError
from syfr.party import executor
from syfr.party.fields import SESSION_BYTES, Fields, Key, Place, octets, whole
from syfr.party.messages import LinkChannel
from syfr.party.peers import PeerLinks
from syfr.party.preprocessing import Cell, join_rows
from syfr.party.query import Query
from syfr.party.reactor import Reactor
from syfr.party.session import Session
from syfr.protocol.channel import MESSAGES, Array, Run
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import Words

MAX_PASSES = 4
"""At a time. Another one begins only with as many queries as are running: many at once are worth a moment's wait."""

MAX_MEMBERS = 16

GATHER_SECONDS = 0.0005
"""Clients whose answers came together ask again together: the first waits so long for the others."""

KEPT_SECONDS = 1.0
"""What server1 has offered may be on its way into a pass: it is kept so long after its query has ended."""

PART = 1 << 16
"""Messages of passes have this for the number of a part, which no query's have: they are known before the pass is."""

MAX_OFFERED = 4096
MAX_EARLY = 64
MAX_MESSAGES = 4096
"""Passes that the dealer has not heard of yet, and messages of each: those of all steps that read the input."""

REMEMBERED = 256
LONGEST_ALONE = 6
"""Doublings: a client whose passes keep failing is answered alone 64 times between two of them."""

SPOILT = "Another query that ran together with this one could not be computed. Ask again."


@dataclass(eq=False)
class Member:
    """A query in a pass, or one that waits for it with all that it takes.

    Attributes:
        masked, prepared: its row, and what was prepared for it; used up.
    """

    session: Session
    query: Query
    masked: Words | None = field(default=None, repr=False)
    prepared: Cell | None = field(default=None, repr=False)

    @property
    def key(self) -> Key:
        """Which query."""
        return self.query.place.key

    @property
    def kind(self) -> tuple[str, bool]:
        """Only queries of one model whose answers take the same form run together."""
        return self.session.model.number, self.session.padded

    @property
    def waited_for(self) -> bool:
        """Whether its query has not ended."""
        return self.session.queries.get(self.query.place.start) is self.query


@dataclass(eq=False)
class Pass:
    """Queries that run together at one worker, as the rows of ``place``, whose session is the number of the pass."""

    place: Place
    members: list[Member]
    run: Run | None = None
    transcripts: list[Transcript] = field(default_factory=list, repr=False)


class Passes:
    """The passes of one worker.

    Args:
        accept: at the dealer, counts a query that begins; None if it is refused.
        answered: called with each query that was computed, the parts of its answer, of which the dealer has none, the
            running hashes of all that led to it, and its logical time.
        failed: called with each query of a pass that failed.
    """

    def __init__(
        self,
        role: Role,
        links: PeerLinks,
        reactor: Reactor,
        accept: Callable[[Session, Place], Query | None],
        answered: Callable[[Session, Query, Sequence[Array], Sequence[Transcript], int], None],
        failed: Callable[[Session, Query, SyfrError], None],
    ) -> None:
        self._role, self._links, self._reactor = role, links, reactor
        self._accept, self._answered, self._failed = accept, answered, failed
        self._waiting: dict[Key, Member] = {}
        self._offered: dict[Key, None] = {}
        self._passes: dict[bytes, Pass] = {}
        self._early: dict[bytes, list[tuple[Role, Sequence[object], Sequence[Array]]]] = {}
        self._over: deque[bytes] = deque(maxlen=REMEMBERED)
        self._composing = False
        self._alone: dict[str, int] = {}
        self._spoilt: dict[str, int] = {}

    # ---- queries that wait, at server0 and server1 ----

    def takes(self, session: Session, query: Query) -> bool:
        """Whether a query that arrives while others run should wait for a pass.

        Not one of a session that has another under way: the dealer must see rows in their order.
        """
        return (
            query.place.rows == 1
            and len(session.queries) == 1
            and query.trace is None
            and session.together
            and not self._alone.get(session.client.name)
        )

    def wait(self, session: Session, query: Query) -> None:
        """A query is here, and its row is prepared."""
        start = query.place.start
        member = Member(session, query, query.masked_input, session.pool.take_one(start))
        query.begun_until, query.masked_input = start + 1, None
        self._waiting[member.key] = member
        if self._role is Role.SERVER1:
            self._links.send(Role.SERVER0, "waiting", {"session": query.place.session, "start": start})
        self.compose()

    def waits(self, query: Query) -> bool:
        """Whether a query is in no pass yet."""
        return query.place.key in self._waiting

    def alone(self, query: Query) -> Member | None:
        """Take a query out that must run by itself after all: the partner has begun it so."""
        key = query.place.key
        self._offered.pop(key, None)
        return self._waiting.pop(key, None)

    def ended(self, query: Query) -> None:
        """A query has failed; what was offered to server0 is kept for a moment, since others may depend on it."""
        key = query.place.key
        self._offered.pop(key, None)
        member = self._waiting.get(key)
        if member is None:
            if query.together:
                self._reactor.after(0, lambda: self._abandon(query))  # when the peers were told of the query
            return
        if self._role is Role.SERVER1:
            self._reactor.after(KEPT_SECONDS, lambda: self._waiting.pop(key, None))
        else:
            del self._waiting[key]

    def answered_alone(self, client: str) -> None:
        """A query that ran by itself was answered."""
        _count_down(self._alone, client)

    def offered(self, peer: Role, fields: Fields) -> None:
        """At server0: server1 has a query that waits."""
        if (self._role, peer) != (Role.SERVER0, Role.SERVER1):
            raise ProtocolError(f"{peer.label} offers a query to {self._role.label}, which makes no passes.")
        key = octets(fields.get("session"), "session", SESSION_BYTES), whole(fields.get("start"), "start")
        if len(self._offered) >= MAX_OFFERED:
            self._offered.pop(next(iter(self._offered)))
        self._offered[key] = None
        self.compose()

    # ---- passes ----

    def compose(self) -> None:
        """At server0: soon begin passes of what waits, when what has arrived with it was looked at."""
        if not self._composing and self._role is Role.SERVER0:
            self._composing = True
            self._reactor.after(GATHER_SECONDS, self._compose)

    def _compose(self) -> None:
        self._composing = False
        while len(self._passes) < MAX_PASSES:
            able = [member for key, member in self._waiting.items() if key in self._offered]
            if not able or len(able) < sum(len(made.members) for made in self._passes.values()):
                return
            chosen = [member for member in able if member.kind == able[0].kind][:MAX_MEMBERS]
            number = os.urandom(SESSION_BYTES)
            places = [list(member.key) for member in chosen]
            for peer in self._role.peers:
                self._links.send(peer, "pass", {"pass": number, "queries": places})
            for member in chosen:
                del self._waiting[member.key], self._offered[member.key]
            self._begin(number, chosen)

    def begin(self, peer: Role, fields: Fields, sessions: Callable[[bytes], Session | None]) -> None:
        """At server1 and the dealer: server0 begins a pass."""
        if peer is not Role.SERVER0:
            raise ProtocolError(f"{peer.label} begins a pass; only server0 does.")
        number, keys = octets(fields.get("pass"), "pass", SESSION_BYTES), _keys(fields.get("queries"))
        ended = number in self._over  # a peer that was quicker than this word has ended it
        if self._role is DEALER:
            found = [None if ended else self._dealt(key, sessions) for key in keys]
        else:
            found = [self._waiting.pop(key, None) for key in keys]
        members = [member for member in found if member is not None]
        if ended or len(members) < len(keys):
            self._passes[number] = Pass(Place(number, 0, len(keys)), members)
            self._fail(self._passes[number], BusyError(SPOILT))
            return
        self._begin(number, members)

    def _dealt(self, key: Key, sessions: Callable[[bytes], Session | None]) -> Member | None:
        session = sessions(key[0])
        place = Place(*key, 1)
        if session is None or place.start < session.accepted_until or not session.pool.has(place.start):
            return None
        query = self._accept(session, place)
        if query is None:
            return None
        query.begun_until, query.together = place.stop, True
        return Member(session, query, None, session.pool.take_one(place.start))

    def _begin(self, number: bytes, members: list[Member]) -> None:
        made = self._passes[number] = Pass(Place(number, 0, len(members)), members)
        model = members[0].session.model
        channel = LinkChannel(self._role, self._links, made.place, PART, None)
        prepared = join_rows([member.prepared for member in members if member.prepared is not None])
        if self._role is DEALER:
            made.run = Run(executor.run_dealer(channel, model.plan(), prepared), channel)
        else:
            masked = np.concatenate([member.masked for member in members if member.masked is not None])
            named = b"".join([session + b"%d " % start for session, start in (member.key for member in members)])
            first = members[0]
            key = first.session.transcript_key(first.query.place.start)
            transcript = Transcript(key, number + model.digests["program"] + named)
            made.transcripts.append(transcript)
            work = executor.run_server(channel, transcript, model.plan(), model.layers, prepared, masked)
            made.run = Run(work, channel)
        for member in members:
            member.masked = member.prepared = None
        self._guarded(made, made.run.advance)
        for sender, name, arrays in self._early.pop(number, ()):
            self.message(sender, made.place, name, arrays)

    def message(self, peer: Role, place: Place, name: Sequence[object], arrays: Sequence[Array]) -> None:
        """A message of a pass, or of a query whose session has ended here."""
        part, step, kind, clock = [whole(value, "message") for value in name]
        if part != PART:
            return
        made = self._passes.get(place.session)
        if made is None or made.run is None:
            # server1 is quicker than the word of server0 that the pass begins; what comes later is of one that is over.
            if self._role is DEALER and peer is Role.SERVER1 and place.session not in self._over:
                early = self._early.setdefault(place.session, [])
                if len(early) < MAX_MESSAGES:
                    early.append((peer, name, arrays))
                if len(self._early) > MAX_EARLY:
                    del self._early[next(iter(self._early))]
            return
        if place != made.place or kind >= len(MESSAGES):
            self._fail(made, ProtocolError(f"{peer.label} sent a message of another pass."))
            return
        run, tag = made.run, (step, MESSAGES[kind])
        self._guarded(made, lambda: run.deliver(peer, tag, clock, arrays))

    def _guarded(self, made: Pass, action: Callable[[], None]) -> None:
        try:
            action()
        except SyfrError as error:
            self._fail(made, error)
            return
        if made.run is not None and made.run.done and self._passes.pop(made.place.session, None) is made:
            self._over.append(made.place.session)
            for row, member in enumerate(made.members):
                if member.waited_for:
                    _count_down(self._spoilt, member.session.client.name)
                    results = [] if self._role is DEALER else [made.run.result[row : row + 1]]
                    self._answered(member.session, member.query, results, made.transcripts, made.run.channel.clock)
            self.compose()

    # ---- failures ----

    def _fail(self, made: Pass, error: SyfrError) -> None:
        """End a pass, and tell the peers."""
        if self._passes.get(made.place.session) is made:
            for peer in self._role.peers:
                self._links.send(peer, "spoilt", {"pass": made.place.session})
            self._end(made, error)

    def failed_elsewhere(self, fields: Fields) -> None:
        """A peer has ended a pass."""
        number = octets(fields.get("pass"), "pass", SESSION_BYTES)
        self._early.pop(number, None)
        self._over.append(number)
        made = self._passes.get(number)
        if made is not None:
            self._end(made, BusyError(SPOILT))

    def _end(self, made: Pass, error: SyfrError) -> None:
        del self._passes[made.place.session]
        self._close(made)
        # Whose fault it was does not show where several run together; alone, it does.
        reason = error if len(made.members) == 1 else BusyError(SPOILT)
        for client in {member.session.client.name for member in made.members}:
            times = self._spoilt[client] = self._spoilt.get(client, 0) + 1
            self._alone[client] = 1 << min(times, LONGEST_ALONE)
        for member in made.members:
            if member.waited_for:
                self._failed(member.session, member.query, reason)
        self.compose()

    def _abandon(self, query: Query) -> None:
        """End the pass of a query that has failed, if it was the last one that anybody waited for."""
        for number, made in list(self._passes.items()):
            if any(member.query is query for member in made.members):
                if not any(member.waited_for for member in made.members):
                    del self._passes[number]
                    self._close(made)
                    if self._role is not DEALER:  # who may hear of the pass after the end of its queries
                        self._links.send(DEALER, "spoilt", {"pass": number})
                    self.compose()
                return

    def _close(self, made: Pass) -> None:
        self._over.append(made.place.session)
        self._early.pop(made.place.session, None)
        if made.run is not None:
            made.run.close()

    def clear(self) -> None:
        """A link is lost, and with it all that waits or runs; the sessions end by themselves."""
        for made in self._passes.values():
            if made.run is not None:
                made.run.close()
        for kept in (self._passes, self._waiting, self._offered, self._early):
            kept.clear()


def _count_down(counts: dict[str, int], client: str) -> None:
    """One less of what is counted for a client; nothing is kept of one for whom nothing is left."""
    left = counts.pop(client, 0) - 1
    if left > 0:
        counts[client] = left


def _keys(value: object) -> list[Key]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_MEMBERS:
        raise ProtocolError(f"A pass takes 1 to {MAX_MEMBERS} queries.")
    found: list[Key] = []
    for one in value:
        if not isinstance(one, list) or len(one) != 2:
            raise ProtocolError("A query of a pass is named by its session and its row.")
        found.append((octets(one[0], "session", SESSION_BYTES), whole(one[1], "start")))
    if len(set(found)) < len(found):
        raise ProtocolError("A query cannot be in a pass twice.")
    return found
