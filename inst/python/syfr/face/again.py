"""Trying again: which errors pass by themselves, and how long to wait between two attempts."""

from __future__ import annotations

import time

from syfr.errors import BusyError, ClosedError, NotConnectedError, NotReadyError, SyfrError, UnreachableError
from syfr.face.tasks import Steps, pause

FIRST_WAIT, LAST_WAIT = 0.1, 2.0
PATIENCE_SECONDS = 15.0
"""A worker that was restarted is back within this time; who waits for it longer should know."""

PASSING = (UnreachableError, NotReadyError, ClosedError, NotConnectedError, BusyError)
"""What may be over in a moment: a worker that starts, a link that was lost, a session that ended with it."""


class Patience:
    """How long one call goes on after errors that may pass.

    Args:
        deadline: of the call.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._end: float | None = None
        self._wait = FIRST_WAIT

    def lasts(self, error: SyfrError) -> bool:
        """Whether to try again after this error."""
        now = time.monotonic()
        self._end = self._end or min(self._deadline, now + PATIENCE_SECONDS)
        return isinstance(error, PASSING) and now + self._wait < self._end

    def waiting(self) -> Steps[None]:
        """Let some time pass, each time twice as long."""
        wait, self._wait = self._wait, min(LAST_WAIT, 2 * self._wait)
        yield from pause(wait, self._deadline)
