"""Prepared rows of one session, in order, each handed out once."""

from __future__ import annotations

from collections import deque
from typing import Any

from syfr.errors import ProtocolError
from syfr.party.preprocessing import join_rows, take_rows


class Pool:
    """Blocks of prepared rows.

    Attributes:
        next_row: the first row that was not handed out.
        ready_until: rows below this are prepared.
    """

    def __init__(self) -> None:
        self._blocks: deque[tuple[int, int, Any]] = deque()
        self.next_row = 0
        self.ready_until = 0

    def add(self, start: int, rows: int, block: Any) -> None:
        """Add the block that follows the last one."""
        if start != self.ready_until:
            raise ProtocolError(f"Preprocessing for row {start} arrived; expected row {self.ready_until}.")
        self._blocks.append((start, start + rows, block))
        self.ready_until += rows

    def take(self, start: int, rows: int) -> Any:
        """The prepared rows from ``start`` on. Rows before them, of refused queries, are thrown away."""
        stop = start + rows
        if start < self.next_row or stop > self.ready_until:
            raise ProtocolError(f"Rows {start} to {stop - 1} were asked for; the next row is {self.next_row}.")
        parts = []
        while self.next_row < stop:
            first, last, block = self._blocks[0]
            until = min(last, stop)
            if until > start:
                parts.append(take_rows(block, max(start, first) - first, until - first))
            self.next_row = until
            if until == last:
                self._blocks.popleft()
        return join_rows(parts)
