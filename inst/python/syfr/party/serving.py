"""How many queries of one model may still be answered: requests of all clients together, rows of each client.

Every worker counts for itself, so that neither a client nor a single worker can exceed what the owner opened. What is
counted belongs to one opening: when the owner opens serving again, counting begins again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from syfr.errors import NotServedError, WorkerError
from syfr.party.fields import LARGEST, Fields, counts, fields_of, whole


@dataclass(frozen=True)
class Claim:
    """What one query has reserved.

    Attributes:
        client: the name in the client's certificate.
        opening: which opening of the model it counts for.
    """

    client: str
    requests: int
    rows: int
    opening: int


class Serving:
    """The counters of one model at one worker.

    Args:
        name: of the model, for messages.
        keep: called when something has changed that must last; what it raises stops the change.

    Attributes:
        on: whether queries may begin.
        limit: requests that may be answered; None for no limit.
        served: requests answered.
        reserved: requests that are running.
        per_client: rows that each client may ask for; None for no limit.
        rows: rows that each client has asked for, counted only under such a limit.
    """

    def __init__(self, name: str, keep: Callable[[], None] = lambda: None) -> None:
        self._name, self.keep = name, keep
        self._opening = 0
        self.on = False
        self.limit: int | None = None
        self.served = self.reserved = 0
        self.per_client: int | None = None
        self.rows: dict[str, int] = {}

    @property
    def left(self) -> int | None:
        """Requests that may still begin; None for no limit."""
        if not self.on:
            return 0
        return None if self.limit is None else max(0, self.limit - self.served - self.reserved)

    def rows_left(self, client: str) -> int | None:
        """Rows that a client may still ask for; None for no limit of its own."""
        return None if self.per_client is None else max(0, self.per_client - self.rows.get(client, 0))

    def open(self, requests: int | None, per_client: int | None, rows: Mapping[str, int] | None = None) -> None:
        """Open serving for so many requests, and rows of each client, counted from now or from those in ``rows``."""
        self._opening += 1
        self.on, self.limit, self.per_client = True, requests, per_client
        self.served = self.reserved = 0
        self.rows = dict(rows or {})
        try:
            self.keep()
        except WorkerError:
            self.on = False
            raise

    def close(self) -> None:
        """Close serving."""
        self.on = False
        self.keep()

    def reserve(self, client: str, requests: int, rows: int) -> Claim:
        """Count a query that begins; raises NotServedError when it is not open."""
        left, own = self.left, self.rows_left(client)
        if not self.on or (left is not None and requests > left):
            raise NotServedError(
                f"The model '{self._name}' is shared, but not served for this query: it needs {requests} request(s), "
                f"and {left or 0} are open. Its owner can serve it again."
            )
        if own is not None and rows > own:
            raise NotServedError(
                f"The model '{self._name}' is not served for this query: each client may ask for {self.per_client} "
                f"row(s) (per_client), '{client}' has {own} left, and the query has {rows}. "
                "Ask for fewer rows, or wait until its owner opens serving again."
            )
        self._count(client, requests, rows)
        try:
            self._keep_counted()
        except WorkerError:
            self._count(client, -requests, -rows)
            raise
        return Claim(client, requests, rows, self._opening)

    def commit(self, claim: Claim) -> None:
        """The query was answered; at the limit serving closes."""
        if claim.opening == self._opening:
            self.reserved -= claim.requests
            self.served += claim.requests
            if self.limit is not None and self.served >= self.limit:
                self.on = False

    def release(self, claim: Claim) -> None:
        """The query failed before an answer was released."""
        if claim.opening == self._opening:
            self._count(claim.client, -claim.requests, -claim.rows)
            with contextlib.suppress(WorkerError):  # what was kept counts more, never less
                self._keep_counted()

    def _count(self, client: str, requests: int, rows: int) -> None:
        self.reserved += requests
        if self.per_client is not None:
            self.rows[client] = self.rows.get(client, 0) + rows

    def _keep_counted(self) -> None:
        if self.limit is not None or self.per_client is not None:
            self.keep()

    def status(self) -> dict[str, Any]:
        """Counters, for the owner."""
        return {
            "serving": self.on,
            "requests": self.limit,
            "served": self.served,
            "running": self.reserved,
            "per_client": self.per_client,
            "clients": dict(self.rows),
        }

    # ---- what outlives the worker ----

    def to_fields(self) -> dict[str, Any]:
        """What must last. Queries that run count as answered: nobody knows how far they came when a worker ends."""
        used = self.served + self.reserved
        return {"on": self.on, "limit": self.limit, "used": used, "per_client": self.per_client, "rows": self.rows}

    def restore(self, message: object) -> None:
        """Go on from what was kept; raises ProtocolError when it cannot be read, and then serving stays closed."""
        fields = fields_of(message)
        limit, used = _bound(fields, "limit"), whole(fields.get("used"), "used")
        per_client, rows = _bound(fields, "per_client"), counts(fields.get("rows"), "rows")
        self.limit, self.served, self.per_client, self.rows = limit, used, per_client, rows
        self.on = fields.get("on") is True and (limit is None or used < limit)


def _bound(fields: Fields, name: str) -> int | None:
    value = fields.get(name)
    return None if value is None else whole(value, name, 1, LARGEST)
