"""The worker's one loop: waits for connections, runs timers, and does preprocessing when nothing else is to be done.

A worker is a single thread. Nothing it calls waits, so a slow or dead connection delays nobody, and no state needs a
lock. Idle work is done in pieces; between two pieces the loop looks at every connection. While messages come one after
the other the loop stays awake between them and lets others run: to be woken would take as long as to handle one.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import time
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger("syfr.party")

QUIET_SECONDS = 0.002
"""Idle work begins when nothing has arrived for so long: a query's next message is awaited, not made to wait."""

AWAKE_SECONDS = 0.0005
"""After something has arrived, a wakeful loop looks for so long for what follows before it sleeps."""

_let_others_run: Callable[[], None] = getattr(os, "sched_yield", lambda: time.sleep(0))


class Watched(Protocol):
    """Something with a descriptor to wait for."""

    def fileno(self) -> int:
        """The descriptor."""

    def ready(self, readable: bool, writable: bool) -> None:
        """Called when the descriptor is ready; must not wait and must not raise."""


class Held(Protocol):
    """Something with messages to send."""

    def flush(self) -> None:
        """Send them; must not wait and must not raise."""


class Timer:
    """A call to come; :meth:`cancel` it when it is no longer wanted."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action

    def cancel(self) -> None:
        """Do not call it."""
        self._action = None

    def fire(self) -> None:
        """Call it unless it was cancelled."""
        if self._action is not None:
            self._action()


class Reactor:
    """The loop.

    Args:
        idle: does one piece of work that can wait; False when there was none.
        crowded: whether so much goes on that the next message is seen soon anyway, and others need the processor.
        wakeful: whether the loop stays awake between messages.
    """

    def __init__(
        self, idle: Callable[[], bool], crowded: Callable[[], bool] = lambda: False, wakeful: bool = True
    ) -> None:
        self._idle, self._crowded, self._wakeful = idle, crowded, wakeful
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._held: set[Held] = set()
        self._stopping = False

    def watch(self, watched: Watched, read: bool, write: bool) -> None:
        """Wait for a descriptor from now on; neither reading nor writing takes it out, also after it was closed."""
        interest = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        # By the object: a closed one has no number any more, and must not hold the place of the next with its number.
        known = watched in self._selector.get_map()
        if not interest:
            if known:
                self._selector.unregister(watched)
        elif known:
            self._selector.modify(watched, interest, watched)
        else:
            self._selector.register(watched, interest, watched)

    def after(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Call ``action`` once, in ``seconds``."""
        timer = Timer(action)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def holds(self, held: Held) -> bool:
        """Whether what ``held`` has to send may wait until the end of this round, to go together; it is flushed then.

        So it is while several queries run: a call into the system for each message would cost more than the rest.
        """
        if held not in self._held:
            if not self._crowded():
                return False
            self._held.add(held)
        return True

    def _flush(self) -> None:
        while self._held:
            self._held.pop().flush()

    def stop(self) -> None:
        """Leave :meth:`run` after the present round."""
        self._stopping = True

    def run(self) -> None:
        """Run until :meth:`stop`."""
        patience: float | None = 0.0
        while not self._stopping:
            events = self._wait(patience)
            for key, mask in events:
                key.data.ready(bool(mask & selectors.EVENT_READ), bool(mask & selectors.EVENT_WRITE))
            self._run_timers()
            self._flush()
            worked = bool(events) or self._work()
            self._flush()
            patience = (QUIET_SECONDS if events else 0.0) if worked else None
        self._selector.close()

    def _wait(self, patience: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, now or before ``patience`` and the next timer are over."""
        if patience == QUIET_SECONDS and self._wakeful and not self._crowded():
            end = time.monotonic() + (self._until_next_timer(AWAKE_SECONDS) or 0.0)
            while True:
                events = self._selector.select(0)
                if events or time.monotonic() >= end:
                    break
                _let_others_run()
            if events:
                return events
        return self._selector.select(self._until_next_timer(patience))

    def _until_next_timer(self, most: float | None) -> float | None:
        if not self._timers:
            return most
        left = max(0.0, self._timers[0][0] - time.monotonic())
        return left if most is None else min(left, most)

    def _run_timers(self) -> None:
        now = time.monotonic()  # a timer that another one sets has its turn after the connections
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            try:
                timer.fire()
            except Exception:  # a fault of ours must not end the worker for everybody
                log.exception("a timer could not be handled")

    def _work(self) -> bool:
        try:
            return self._idle()
        except Exception:
            log.exception("idle work could not be done")
            return True
