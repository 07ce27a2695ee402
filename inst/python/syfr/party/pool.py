"""Prepared rows of one session, in order, each handed out once; rows of queries that were given up are left out."""

from __future__ import annotations

from collections import deque
from typing import Any

from syfr.errors import ProtocolError
from syfr.party.preprocessing import Cell, take_rows


class Pool:
    """Blocks of prepared rows.

    Attributes:
        next_row: the first row that was neither handed out nor passed over.
        ready_until: rows below this are prepared, or nothing is prepared for them.
    """

    def __init__(self) -> None:
        self._blocks: deque[tuple[int, int, Any]] = deque()
        self._cut: tuple[int, int, Any] = (0, 0, None)
        self._left_out: list[tuple[int, int]] = []
        self.next_row = 0
        self.ready_until = 0

    @property
    def prepared(self) -> int:
        """Rows that are prepared and were not handed out."""
        return sum(last - max(first, self.next_row) for first, last, _ in self._blocks if last > self.next_row)

    @property
    def room(self) -> int | None:
        """Rows that can be prepared next before some that were left out; None for any number."""
        return self._left_out[0][0] - self.ready_until if self._left_out else None

    def has(self, row: int) -> bool:
        """Whether a row is prepared and can be handed out."""
        return self.next_row <= row and any(first <= row < last for first, last, _ in self._blocks)

    def add(self, start: int, rows: int, block: Any) -> None:
        """Add a block that comes after the last one; nothing is kept of one whose rows were passed over."""
        if start < self.ready_until:
            raise ProtocolError(f"Preprocessing for row {start} arrived; expected row {self.ready_until}.")
        if start + rows > self.next_row:
            self._blocks.append((start, start + rows, block))
        self._ready(start + rows)

    def pass_over(self, start: int, stop: int) -> None:
        """Nobody will ask for these rows; they are kept no longer if those before are handed out."""
        if start <= self.next_row < stop:
            self.next_row, self._cut = stop, (0, 0, None)
            self._let_go(stop)

    def leave_out(self, start: int, stop: int) -> None:
        """Nothing will be prepared for these rows, as far as it has not been."""
        places, self._left_out = sorted([*self._left_out, (start, stop)]), []
        for first, end in places:
            if self._left_out and first <= self._left_out[-1][1]:
                first, before = self._left_out.pop()
                end = max(end, before)
            self._left_out.append((first, end))
        self._ready(self.ready_until)

    def _ready(self, until: int) -> None:
        """Rows below ``until`` are prepared or left out, and with them those that are left out next."""
        self.ready_until = until
        while self._left_out and self._left_out[0][0] <= self.ready_until:
            self.ready_until = max(self.ready_until, self._left_out.pop(0)[1])

    def take(self, start: int, stop: int) -> tuple[int, Any]:
        """Prepared rows from ``start`` on, up to ``stop`` or the end of their block: how many, and what was prepared.

        Rows before ``start``, of queries that were refused, are thrown away.
        """
        first, last, block = self._block_of(start)
        self.next_row = min(last, stop)
        cut, self._cut = self._cut, (0, 0, None)
        rows = cut[2] if cut[:2] == (start, self.next_row) else None
        return self.next_row - start, rows or take_rows(block, start - first, self.next_row - first)

    def take_one(self, start: int) -> Cell:
        """Row ``start`` where it lies, to be joined with rows of other sessions."""
        first, _, block = self._block_of(start)
        self.next_row, self._cut = start + 1, (0, 0, None)
        return Cell(block, start - first)

    def _block_of(self, start: int) -> tuple[int, int, Any]:
        """The block of a row that was not handed out; those before are over."""
        self._let_go(start)
        if not self.has(start):
            raise ProtocolError(f"Row {start} was asked for; the next prepared row is {self.next_row}.")
        return self._blocks[0]

    def _let_go(self, row: int) -> None:
        """Keep no block whose rows are all before ``row``."""
        while self._blocks and self._blocks[0][1] <= row:
            self._blocks.popleft()

    def cut_ahead(self, rows: int) -> None:
        """Get the next so many rows out, for the query that will take them."""
        self._let_go(self.next_row)
        if self._blocks and self._blocks[0][0] <= self.next_row:
            first, last, block = self._blocks[0]
            start, stop = self.next_row, min(last, self.next_row + rows)
            self._cut = start, stop, take_rows(block, start - first, stop - first)
