"""One call for predictions: the parts of its batch that are left, the answers that are there, and its figures."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from syfr.face.again import Patience
from syfr.face.session import Pending
from syfr.face.tasks import Emit

Floats = NDArray[np.float64]
Traffic = tuple[int, int]


class Query:
    """A batch that is asked in parts.

    Args:
        parts: of the batch, in order.
        rows: of all parts.
        timeout: seconds that one part may take.
        emit: told of every part that was answered.
    """

    def __init__(self, parts: Iterable[Floats], rows: int, timeout: float, emit: Emit) -> None:
        self.timeout = timeout
        self._parts, self._rows, self._emit = list(parts), rows, emit
        self._left = list(range(len(self._parts)))
        self._answers: dict[int, Floats] = {}
        self._began, self._delays, self._traffic = time.monotonic(), 0, [0, 0]
        self._refresh()

    def _refresh(self) -> None:
        self.deadline = time.monotonic() + self.timeout
        self.patience = Patience(self.deadline)

    @property
    def left(self) -> bool:
        """Whether parts are still to be sent."""
        return bool(self._left)

    @property
    def next(self) -> int:
        """The place of the part that is sent next."""
        return self._left[0]

    @property
    def part(self) -> Floats:
        """That part."""
        return self._parts[self.next]

    def sent(self) -> None:
        """It was sent."""
        del self._left[0]

    def put_back(self, place: int) -> None:
        """A part is to be sent again."""
        self._left = sorted([*self._left, place])

    def add(self, place: int, pending: Pending, answer: Floats) -> None:
        """A part was answered; the next has its own time."""
        self._answers[place] = answer
        self._delays = max(self._delays, pending.clock)
        self._refresh()
        self._emit("answered", rows=sum(map(len, self._answers.values())), of=self._rows)

    def answer(self) -> Floats:
        """The answer to the whole batch."""
        if len(self._answers) == 1:
            return self._answers[0]
        return np.concatenate([self._answers[place] for place in sorted(self._answers)])

    def count(self, after: Traffic, before: Traffic) -> None:
        """Add bytes that were sent and received."""
        for way in range(2):
            self._traffic[way] += after[way] - before[way]

    def figures(self) -> dict[str, float]:
        """What a client may ask about its last query."""
        return {
            "seconds": time.monotonic() - self._began,
            "rows": float(self._rows),
            "bytes_sent": float(self._traffic[0]),
            "bytes_received": float(self._traffic[1]),
            "delays": float(self._delays),
        }
