"""What runs at one worker, for each client: a client takes no more of it with many sessions than with one."""

from __future__ import annotations

from collections import Counter

from syfr.errors import BusyError
from syfr.protocol.roles import Role

MAX_RUNNING = 256
MAX_RUNNING_ROWS = 8192
"""Queries, and rows of them, that one client may have under way."""

MAX_WAITING = 1024
"""Queries of all clients that run or wait at a time; one more is refused, and nothing of it is kept."""


class Load:
    """Queries under way at one worker, by the names of their clients."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._queries: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()
        self.total = 0

    def require_room(self, client: str, rows: int) -> None:
        """Raise BusyError when one more query would be too many."""
        if self.total >= MAX_WAITING:
            raise BusyError(f"{self._role.label} has {MAX_WAITING} queries waiting, its most. Ask again later.")
        if self._queries[client] >= MAX_RUNNING or self._rows[client] + rows > MAX_RUNNING_ROWS:
            raise BusyError(
                f"Too many queries of '{client}' are under way at {self._role.label}. "
                "Collect answers before asking more."
            )

    def begin(self, client: str, rows: int) -> None:
        """A query begins."""
        self.total += 1
        self._queries[client] += 1
        self._rows[client] += rows

    def end(self, client: str, rows: int) -> None:
        """It has ended."""
        self.total -= 1
        self._queries[client] -= 1
        self._rows[client] -= rows
        if not self._queries[client]:  # names of clients that have left take no memory
            del self._queries[client], self._rows[client]
