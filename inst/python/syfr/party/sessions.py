"""A client's session at one worker: its seeds, its keys, its prepared rows, its queries.

Rows are numbered through the whole session; a row is preprocessed once, masked once and computed once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from syfr.identity import Identity
from syfr.party import preprocessing
from syfr.party.models import Model
from syfr.party.pool import Pool
from syfr.party.streams import PairKeys
from syfr.protocol import relu
from syfr.protocol.channel import Array, Run
from syfr.protocol.roles import Role
from syfr.protocol.sharing import input_mask
from syfr.ring.fixedpoint import Words

AHEAD_BYTES = 48 << 20
"""Memory that preprocessing ahead may take for one session, at server0 or server1."""

BLOCK_BYTES = 4 << 20
"""Preprocessing is made in blocks of about this size, so that a query never waits long for one."""

SMALL_BLOCK = 4
"""Rows of a block for sessions that ask for a row at a time."""


@dataclass
class Query:
    """A query at one worker, from its first frame to its end."""

    start: int
    rows: int
    requests: int
    run: Run | None = None
    masked_input: Words | None = field(default=None, repr=False)


class Session:
    """One client's session with one model."""

    def __init__(
        self, session: bytes, client: Identity, model: Model, rows: int, seeds: Sequence[bytes], keys: PairKeys, role: Role
    ) -> None:
        self.session, self.client, self.model, self.rows, self.role = session, client, model, rows, role
        self.keys = keys
        self.pool = Pool()
        self.queries: dict[int, Query] = {}
        self.accepted_until = 0
        self.confirmed: set[Role] = set()
        self.wanted_until = 0
        self.pending: deque[tuple[int, int, int, list[Array] | None]] = deque()
        self._seeds = tuple(seeds)
        self._blocks = 0
        self._received_until = 0
        self._filling = True

    def __repr__(self) -> str:
        return f"Session({self.client}, model='{self.model.name}', seeds=<REDACTED>)"

    def requests(self, rows: int) -> int:
        """Requests that a query of so many rows counts as."""
        return -(-rows // (self.model.program.rows or self.rows))

    # ---- the dealer ----

    def rows_to_deal(self) -> int:
        """Rows of the block that the dealer should make now; 0 when enough is ready or not all workers have begun.

        A store that has been filled is filled again when half of it is used.
        """
        if len(self.confirmed) < 2:
            return 0
        ahead = self._ahead()
        left = self.model.left
        if left is not None:
            ahead = min(ahead, left * self.rows)
        target = self.pool.next_row + ahead
        self._filling = self.pool.ready_until < (target if self._filling else target - ahead // 2)
        missing = max(target if self._filling else 0, self.wanted_until) - self.pool.ready_until
        return max(0, min(missing, self._block_rows()))

    def deal(self, rows: int) -> tuple[int, int, list[Array]]:
        """Make a block at the dealer: its number, its first row, and the arrays for server1."""
        start, number = self.pool.ready_until, self._blocks
        self._blocks += 1
        first, second = (input_mask(seed, start, rows, self.model.program.input_shape) for seed in self._seeds)
        kept, message = preprocessing.deal_block(
            self.model.program, self.model.layers, self.keys.block(number), first + second
        )
        self.pool.add(start, rows, kept)
        return number, start, message

    def _ahead(self) -> int:
        return max(self.rows, min(256, AHEAD_BYTES // row_bytes(self.model)))

    def _block_rows(self) -> int:
        return max(1, min(max(self.rows, SMALL_BLOCK), BLOCK_BYTES // row_bytes(self.model)))

    # ---- server0 and server1 ----

    def dealt(self, number: int, start: int, rows: int, message: list[Array] | None) -> bool:
        """Take in what the dealer sent; False when it is not the block that comes next."""
        if number != self._blocks or start != self._received_until or rows < 1:
            return False
        self._blocks += 1
        self._received_until += rows
        self.pending.append((number, start, rows, message))
        return True

    def prepare_next(self) -> None:
        """Prepare the oldest block that waits."""
        number, start, rows, message = self.pending.popleft()
        mask = input_mask(self._seeds[0], start, rows, self.model.program.input_shape)
        block = preprocessing.prepare_block(
            self.model.program, self.role, self.model.layers, self.keys.block(number), mask, message
        )
        self.pool.add(start, rows, block)

    def has_rows(self, until: int) -> bool:
        """Prepare what waits as far as it is needed; whether rows below ``until`` are then ready."""
        while self.pool.ready_until < until and self.pending:
            self.prepare_next()
        return self.pool.ready_until >= until


def row_bytes(model: Model) -> int:
    """Memory of one prepared row at server0 or server1, about."""
    precision = model.program.precision
    total = 0
    for _, step in model.program.linear_steps():
        values = preprocessing.flat(step, 1)[1]
        total += 8 * values
        if step.then == "relu":
            planes = precision.digits * (precision.thresholds + 2)
            total += values * (planes + 8 * (relu.DEALT + 1) + 6)
    return max(1, total)
