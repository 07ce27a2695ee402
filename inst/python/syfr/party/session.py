"""A client's session at one worker: its seeds, its keys, its prepared rows, its queries.

Rows are numbered through the whole session; a row is preprocessed once, masked once and computed once. Where a row is
large, its preprocessing comes in pieces (pieces.py), as many at a time as there is memory for.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgpack

from syfr.errors import ProtocolError, SyfrError
from syfr.party import pieces, preprocessing
from syfr.party.ahead import AHEAD_ROWS, LEAST_WEIGHT, MOST_WEIGHT, ahead_bytes, block_rows
from syfr.party.executor import PIECE
from syfr.party.fields import Place
from syfr.party.models import Model
from syfr.party.pieces import Filling, Held
from syfr.party.pool import Pool
from syfr.party.query import Query
from syfr.party.streams import PairKeys
from syfr.protocol.channel import Array
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import InputMask
from syfr.ring.fixedpoint import Words
from syfr.ring.streams import derive_key
from syfr.trust.identity import Identity

Work = TypeVar("Work", preprocessing.Dealer, preprocessing.Preparer)

WINDOW_BYTES = 8 << 20
"""Preprocessing that a running query asks for at a time: what others send must not wait behind all of it."""

FLOWING_SECONDS = 0.03
"""A query that comes so soon after the last one of its session is likely followed by another."""

MAX_REFUSED = 256
"""Queries that a peer has refused and that have not come here; more are not remembered."""

SHORT_SECONDS = 1.0
"""For a query that has run longer nothing else waits."""


@dataclass(frozen=True, repr=False)
class Dealt:
    """A piece of a block, or a whole one, on its way from the dealer.

    Attributes:
        padded: whether answers take the form of fewer delays.
        message: the dealer's arrays; None at server0, which is sent none.
    """

    block: int
    piece: int
    place: Place
    padded: bool
    message: list[Array] | None


@dataclass(repr=False)
class _Making(Generic[Work]):
    """The block that is being dealt or prepared; ``next`` is the piece to be made."""

    block: int
    place: Place
    work: Work
    filling: Filling
    next: int = 0


class RowMask(Protocol):
    """The masks of the rows of a session, as far as a worker knows them."""

    def rows(self, start: int, rows: int) -> Words:
        """The mask of rows ``start`` to ``start + rows - 1``."""


class Session:
    """One client's session with one model.

    Attributes:
        rows: of one request.
        queries: those that have not ended, by first row.
        refused: why a peer has refused queries that have not come here yet, by first row.
        flowing: whether its queries follow each other so closely that preprocessing has to be made while they run.
        accepted_until: rows below this belong to queries that were accepted or refused.
        confirmed: at the dealer, the servers that have the session open too.
        padded: whether answers take the form of fewer delays (protocol/answer.py), as the dealer has chosen.
        together: whether queries of it may run in a pass with those of others (passes.py).
        wanted_until: at the dealer, rows that a query waits for.
        asked_until: at server0 and server1, rows that the dealer was asked for.
        pending: at server0 and server1, what was dealt and is not yet prepared.
        came: rows and numbers of later pieces that are ready since the queries were told.
        held: at the dealer, the pieces that the servers have not used yet.
    """

    def __init__(
        self,
        number: bytes,
        client: Identity,
        model: Model,
        rows: int,
        seeds: Sequence[bytes],
        keys: PairKeys,
        role: Role,
        masks: Sequence[RowMask] | None = None,
    ) -> None:
        self.number, self.client, self.model, self.rows, self.role = number, client, model, rows, role
        self.keys = keys
        self.pool = Pool()
        self.queries: dict[int, Query] = {}
        self.refused: dict[int, SyfrError] = {}
        self.flowing = False
        self._last_end = -math.inf
        self.accepted_until = 0
        self.confirmed: set[Role] = set()
        self.wanted_until = self.asked_until = 0
        self.pending: deque[Dealt] = deque()
        self.came: deque[tuple[int, int]] = deque()
        self.held = Held()
        self.pieces = model.plan().pieces
        self._dealing: _Making[preprocessing.Dealer] | None = None
        self._preparing: _Making[preprocessing.Preparer] | None = None
        self._receiving: tuple[int, int, Place] | None = None
        self._input_masks = masks or [InputMask(seed, model.program.input_shape) for seed in seeds]
        self._blocks = 0
        self._received_until = 0
        self._filling = True
        self._row_bytes = preprocessing.row_bytes(model.plan())
        self._next_key: tuple[int, bytes] | None = None
        self.padded = False
        self.together = masks is None and len(self.pieces) == 1 and model.program.compares

    def __repr__(self) -> str:
        return f"Session({self.client}, model='{self.model.name}', seeds=<REDACTED>)"

    def requests(self, rows: int) -> int:
        """Requests that a query of so many rows counts as."""
        return -(-rows // (self.model.program.rows or self.rows))

    def accept(self, place: Place) -> Query:
        """Count a query's rows and requests; raises when they were used before or are not open."""
        if place.start != self.accepted_until:
            raise ProtocolError(f"Row {place.start} is not the next row of this session; each is taken once, in order.")
        self.accepted_until = place.stop
        claim = self.model.serving.reserve(self.client.name, self.requests(place.rows), place.rows)
        trace = self.model.tracing.begin(self.model.program, place.rows)
        waited_for = max(self.wanted_until, self.asked_until) > place.start
        self.flowing = bool(self.queries) or waited_for or time.monotonic() < self._last_end + FLOWING_SECONDS
        query = self.queries[place.start] = Query(place, claim, trace=trace)
        return query

    def remove(self, query: Query) -> bool:
        """A query is over; False when it was before."""
        if self.queries.pop(query.place.start, None) is not query:
            return False
        self._last_end = time.monotonic()
        return True

    # ---- preprocessing ahead, which the dealer begins ----

    @property
    def soon_over(self) -> bool:
        """Whether a query of it runs that is over soon, and then there is time for preprocessing."""
        if self.flowing or len(self.pieces) > 1:
            return False
        return any(time.monotonic() < query.began + SHORT_SECONDS for query in self.queries.values())

    @property
    def weight(self) -> int:
        """The session's part of the memory for preprocessing ahead."""
        return max(LEAST_WEIGHT, min(self.rows, MOST_WEIGHT))

    def rows_ahead(self, weights: int) -> int:
        """Rows of queries to come that are kept prepared; ``weights`` as below."""
        memory = ahead_bytes(self.rows * self._row_bytes, self.weight, weights)
        ahead = max(1, min(max(self.rows, AHEAD_ROWS), memory // self._row_bytes))
        left, own = self.model.serving.left, self.model.serving.rows_left(self.client.name)
        if left is not None:
            ahead = min(ahead, left * self.rows)
        if own is not None:
            ahead = min(ahead, own)
        return ahead

    def rows_to_deal(self, weights: int) -> int:
        """Rows of the block that the dealer should make now; 0 when enough is ready or not all workers have begun.

        A store that has been filled is filled again when half of it is used. ``weights`` is the sum of all sessions',
        which share the workers' memory.
        """
        if len(self.confirmed) < 2:
            return 0
        if len(self.pieces) > 1:
            return int(self._piece_is_due(weights))
        ahead = self.rows_ahead(weights)
        target = self.pool.next_row + ahead
        self._filling = self.pool.ready_until < (target if self._filling else target - ahead // 2)
        missing = max(target if self._filling else 0, self.wanted_until) - self.pool.ready_until
        most, room = block_rows(self.rows, self._row_bytes), self.pool.room
        return max(0, min(missing, most if room is None else min(most, room)))

    @property
    def waited_for(self) -> bool:
        """Whether a query can do nothing more before the dealer has made a block, or a piece of one."""
        making = self._dealing
        if making is not None and (self.queries or self.wanted_until > making.place.start):
            return True
        return self.pool.ready_until < self.wanted_until

    def _piece_is_due(self, weights: int) -> bool:
        """Whether the next piece should be dealt now: there is memory for it, or a query can do nothing without it."""
        self.held.forget(lambda row: self._is_over(Place(self.number, row, 1)))
        making = self._dealing
        if making is not None and self._is_over(making.place):
            making = self._dealing = None
        if making is None and not self.waited_for:
            ahead = self.pool.ready_until <= max(self.pool.next_row, self.accepted_until)
            if self.queries or not ahead or not self.rows_ahead(weights):
                return False
        size, share = self._piece_bytes(making), pieces.PIECES_AHEAD * self.weight // weights
        if not self.waited_for:
            return self.held.size + size <= share
        return not self.held.size or self.held.size + size <= max(share, 2 * pieces.PIECE_BYTES)

    def _piece_bytes(self, making: _Making[preprocessing.Dealer] | None) -> int:
        return self.model.plan().piece_bytes(0 if making is None else making.next)

    def _is_over(self, place: Place) -> bool:
        """Whether the queries of these rows have ended, or were refused."""
        others = [query.place for query in self.queries.values()]
        running = any(other.start < place.stop and place.start < other.stop for other in others)
        return place.stop <= self.accepted_until and not running

    def give_up(self, place: Place) -> None:
        """A query has failed or was refused, perhaps before it began here: nothing more is made or kept for its rows.

        What the dealer has on the way to a server then is thrown away where it arrives.
        """
        if place.start <= self.accepted_until < place.stop:
            self.accepted_until = place.stop
        self.pool.pass_over(place.start, place.stop)
        if self._preparing is not None and self._is_over(self._preparing.place):
            self._preparing = None
        if self.role is DEALER:
            self.pool.leave_out(place.start, place.stop)
            rows = range(place.start, place.stop)
            self.held.forget(lambda row: row in rows)
            if self._dealing is not None and self._dealing.place.start in rows:
                self._dealing = None

    def refused_elsewhere(self, place: Place, error: SyfrError) -> None:
        """At server0 and server1: the partner has refused a query that is still on its way here."""
        if place.start >= self.accepted_until:
            self.refused[place.start] = error
            if len(self.refused) > MAX_REFUSED:
                del self.refused[next(iter(self.refused))]

    def deal(self, rows: int) -> Dealt:
        """Make a block at the dealer, or the next piece of one."""
        making = self._dealing
        if making is None:
            place = Place(self.number, self.pool.ready_until, rows)
            first, second = (mask.rows(place.start, rows) for mask in self._input_masks)
            plan, streams = self.model.plan(self.padded), self.keys.block(self._blocks)
            dealer = preprocessing.Dealer(plan, self.model.layers, streams, first + second)
            making = _Making(self._blocks, place, dealer, Filling(self.pieces))
            self._blocks += 1
        if len(self.pieces) > 1:
            self.held.add(making.place.start, making.next, self._piece_bytes(making))
        kept, message = making.work.deal(self.pieces[making.next])
        dealt = Dealt(making.block, making.next, making.place, self.padded, message)
        self._dealing = self._made(making, kept)
        return dealt

    def _made(self, making: _Making[Work], part: Mapping[int, Any]) -> _Making[Work] | None:
        """Put a block, or the next piece of one, where queries find it; what is still to be made."""
        place, piece = making.place, making.next
        if len(self.pieces) == 1:
            self.pool.add(place.start, place.rows, part)
            return None
        making.filling.add(part)
        if piece == 0:
            self.pool.add(place.start, place.rows, making.filling)
        else:
            self.came.append((place.start, piece))
        making.next += 1
        return making if making.next < len(self.pieces) else None

    # ---- server0 and server1 ----

    def dealt(self, dealt: Dealt) -> None:
        """Take in what the dealer sent; raises ProtocolError when it is not what comes next."""
        if dealt.piece == 0:
            right = dealt.block == self._blocks and dealt.place.start >= self._received_until
        else:
            right = (dealt.block, dealt.piece, dealt.place) == self._receiving
        if not right or dealt.piece >= len(self.pieces) or (len(self.pieces) > 1 and dealt.place.rows > 1):
            raise ProtocolError("Preprocessing arrived out of order. Connect again.")
        if dealt.piece == 0:
            self._blocks += 1
            self._received_until = dealt.place.stop
        self._receiving = dealt.block, dealt.piece + 1, dealt.place
        self.padded = dealt.padded
        self.pending.append(dealt)

    def to_ask(self, query: Query) -> int | None:
        """Rows below this should be asked for now, while the query works on those that are here; None for enough."""
        window = max(1, WINDOW_BYTES // self._row_bytes)
        until = min(query.place.stop, query.begun_until + window)
        here = max(self._received_until, self.asked_until)
        if here >= query.place.stop or 2 * (here - query.begun_until) > window:
            return None
        self.asked_until = until
        return until

    def prepare_next(self) -> None:
        """Prepare the oldest block that waits, or the oldest piece."""
        dealt = self.pending.popleft()
        place, making = dealt.place, self._preparing
        if self._is_over(place):
            self.pool.leave_out(place.start, place.stop)
            return
        if dealt.piece == 0:
            mask, plan = self._input_masks[0].rows(place.start, place.rows), self.model.plan(dealt.padded)
            streams = self.keys.block(dealt.block)
            preparer = preprocessing.Preparer(plan, self.role, self.model.layers, streams, mask)
            making = _Making(dealt.block, place, preparer, Filling(self.pieces))
        if making is None or making.block != dealt.block:
            return  # of a row that is over
        self._preparing = self._made(making, making.work.prepare(self.pieces[dealt.piece], dealt.message))
        if dealt.piece == 0 and place.start == self.pool.next_row:
            self.expect(self.rows)

    @property
    def starved(self) -> bool:
        """Whether a query can do nothing before the next piece of its preprocessing."""
        runs = [run for query in self.queries.values() for run in query.runs]
        return any(run.missing and all(name == PIECE for _, _, name in run.missing) for run in runs)

    def expect(self, rows: int) -> None:
        """Have ready what the next query begins with; it will likely be of so many rows."""
        self.pool.cut_ahead(rows)
        if self.role is not DEALER:
            start = self.pool.next_row
            self._next_key = start, self.keys.transcript_key(self.role.partner, start)

    def transcript_key(self, start: int) -> bytes:
        """The key of the running hash of the rows from ``start`` on."""
        if self._next_key is not None and self._next_key[0] == start:
            return self._next_key[1]
        return self.keys.transcript_key(self.role.partner, start)

    def has_rows(self, until: int) -> bool:
        """Prepare what waits as far as it is needed; whether rows below ``until`` are then ready."""
        while self.pool.ready_until < until and self.pending:
            self.prepare_next()
        return self.pool.ready_until >= until


def opening_proof(session: Session, seed: bytes) -> bytes:
    """What server0 or server1 sends the dealer, who has its seed too: both were asked for the same session.

    A client that gave them different seeds would have them compute x·W + (a difference of its choice)·B, and B, the
    mask of the weights, is what keeps them from a worker that helps the client.
    """
    model, client = session.model, session.client
    asked = [session.number, model.number, model.digests["program"], session.rows, client.role, client.name]
    packed: bytes = msgpack.packb(asked, use_bin_type=True)
    return derive_key(seed, b"session" + packed)
