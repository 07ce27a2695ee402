"""Prepared rows of one session, in order, each handed out once."""

from __future__ import annotations

from collections import deque
from typing import Any

from syfr.errors import ProtocolError
from syfr.party.preprocessing import Cell, take_rows


class Pool:
    """Blocks of prepared rows.

    Attributes:
        next_row: the first row that was not handed out.
        ready_until: rows below this are prepared.
    """

    def __init__(self) -> None:
        self._blocks: deque[tuple[int, int, Any]] = deque()
        self._cut: tuple[int, int, Any] = (0, 0, None)
        self.next_row = 0
        self.ready_until = 0

    @property
    def prepared(self) -> int:
        """Rows that are prepared and were not handed out."""
        return self.ready_until - self.next_row

    def add(self, start: int, rows: int, block: Any) -> None:
        """Add the block that follows the last one."""
        if start != self.ready_until:
            raise ProtocolError(f"Preprocessing for row {start} arrived; expected row {self.ready_until}.")
        self._blocks.append((start, start + rows, block))
        self.ready_until += rows

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
        if start < self.next_row or start >= self.ready_until:
            raise ProtocolError(f"Row {start} was asked for; the next prepared row is {self.next_row}.")
        return self._blocks[0]

    def _let_go(self, row: int) -> None:
        """Keep no block whose rows are all before ``row``."""
        while self._blocks and self._blocks[0][1] <= row:
            self._blocks.popleft()

    def cut_ahead(self, rows: int) -> None:
        """Get the next so many rows out, for the query that will take them."""
        self._let_go(self.next_row)
        if self._blocks:
            first, last, block = self._blocks[0]
            start, stop = self.next_row, min(last, self.next_row + rows)
            self._cut = start, stop, take_rows(block, start - first, stop - first)
