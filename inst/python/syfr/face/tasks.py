"""Work that takes long but never blocks: it goes on in steps of a few milliseconds, whenever its owner has time.

R may not wait inside Python, so everything that waits for a worker is written as a generator. It yields a
:class:`Wait`, what it waits for, and may be resumed at any time, also when that has not happened yet: what arrived may
have been read on behalf of another task. So it looks for itself, and yields again.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from syfr.errors import ClosedError, DeadlineError

T = TypeVar("T")

TURN = 0.05
"""Seconds of one step of :meth:`Task.wait`, between which Python can be interrupted."""

Emit = Callable[..., None]
"""Reports progress: ``emit("served", served=2, of=3)``."""


class Channel(Protocol):
    """Something to wait for: readable, and writable while it wants to write."""

    def fileno(self) -> int:
        """The descriptor, negative once closed."""

    @property
    def wants_write(self) -> bool:
        """Whether to wait until it is writable too."""


@dataclass
class Wait:
    """What a generator waits for: any of some channels, or a time of ``time.monotonic()``.

    Attributes:
        happened: the descriptors that were seen to need a look; None where nobody has looked.
    """

    channels: Sequence[Channel] = ()
    until: float = math.inf
    happened: set[int] | None = None

    def over(self, end: float) -> bool:
        """Wait until it happens; False when ``end`` comes first."""
        until = min(end, self.until)
        descriptors = {channel.fileno(): channel for channel in self.channels}
        if any(descriptor < 0 for descriptor in descriptors):
            return True
        seconds = max(0.0, until - time.monotonic())
        if descriptors:
            self.happened = _happened(descriptors, seconds)
            if self.happened:
                return True
        elif seconds:
            time.sleep(seconds)
        return time.monotonic() >= self.until


C = TypeVar("C", bound=Channel)


def _happened(channels: Mapping[int, Channel], seconds: float) -> set[int]:
    """The descriptors of the channels that need a look, once there is one."""
    if not hasattr(select, "poll"):
        writing = [descriptor for descriptor, channel in channels.items() if channel.wants_write]
        readable, writable, _ = select.select(list(channels), writing, [], seconds)
        return {*readable, *writable}
    poll = select.poll()
    for descriptor, channel in channels.items():
        poll.register(descriptor, select.POLLIN | (select.POLLOUT if channel.wants_write else 0))
    return {descriptor for descriptor, _ in poll.poll(math.ceil(seconds * 1e3))}


def ready(channels: Iterable[C], happened: set[int] | None = None) -> list[C]:
    """Those that need a look now: what was closed, what has something to read, what can write again.

    ``happened`` is what a :class:`Wait` has just seen, so that nobody needs to look once more.
    """
    descriptors = {channel: channel.fileno() for channel in channels}
    if happened is None:
        happened = _happened({number: channel for channel, number in descriptors.items() if number >= 0}, 0.0)
    return [channel for channel, number in descriptors.items() if number < 0 or number in happened]


Steps = Generator[Wait, None, T]


def together(works: Sequence[Steps[T]]) -> Steps[list[T]]:
    """Run several generators at once; their results in order. When one fails, the others are closed."""
    results: dict[int, T] = {}
    waits: dict[int, Wait] = {}
    try:
        while True:
            for place, work in enumerate(works):
                if place in results:
                    continue
                try:
                    waits[place] = next(work)
                except StopIteration as end:
                    results[place] = end.value
                    waits.pop(place, None)
            if len(results) == len(works):
                return [results[place] for place in range(len(works))]
            channels = [channel for wait in waits.values() for channel in wait.channels]
            yield Wait(channels, min(wait.until for wait in waits.values()))
    finally:
        for work in works:
            work.close()


def pause(seconds: float, deadline: float = math.inf) -> Steps[None]:
    """Let some time pass, but not beyond the deadline."""
    until = min(time.monotonic() + seconds, deadline)
    while time.monotonic() < until:
        yield Wait(until=until)


class Task(Generic[T]):
    """Work under way: call :meth:`step` until it returns True, then :meth:`result`.

    Args:
        work: makes the generator, given a function that reports progress.
    """

    def __init__(self, work: Callable[[Emit], Steps[T]]) -> None:
        self._events: list[dict[str, Any]] = []
        self._steps: Steps[T] | None = work(self._emit)
        self._results: list[T] = []
        self._error: Exception | None = None

    def __repr__(self) -> str:
        state = "under way" if not self.done else "done" if self._results else f"failed: {self._error}"
        return f"Task({state})"

    def _emit(self, event: str, **fields: object) -> None:
        self._events.append({"event": event, **fields})

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._steps is None

    def step(self, seconds: float = 0.02) -> bool:
        """Go on for about so long at most; True as soon as it is done. Never raises what the work raised."""
        end = time.monotonic() + max(0.0, float(seconds))
        while self._steps is not None:
            wait = self._advance(self._steps)
            if wait is not None and (not wait.over(end) or time.monotonic() >= end):
                wait.happened = None  # nobody knows what happens until the next call
                return False
        return True

    def _advance(self, steps: Steps[T]) -> Wait | None:
        try:
            return next(steps)
        except StopIteration as end:
            self._results.append(end.value)
        except Exception as error:
            self._error = error
        self._steps = None
        return None

    def result(self) -> T:
        """What came of it; raises what the work raised, or DeadlineError while it is under way."""
        if self._error is not None:
            raise self._error
        if not self._results:
            raise DeadlineError("The work is still under way. Go on stepping until step() returns True.")
        return self._results[0]

    def cancel(self) -> None:
        """Give up; the work cleans up after itself without waiting. Nothing happens when it is done."""
        if self._steps is not None:
            steps, self._steps = self._steps, None
            self._error = ClosedError("The work was cancelled. Begin it again.")
            steps.close()

    def events(self) -> list[dict[str, Any]]:
        """Progress since the last call: dictionaries with a name under "event"."""
        events, self._events = self._events, []
        return events

    def wait(self, timeout: float | None = None, progress: Callable[[dict[str, Any]], None] | None = None) -> T:
        """Block until it is done, for users of Python; interrupted, it cancels.

        Args:
            timeout: seconds after which DeadlineError is raised; the work is not cancelled and can be waited for again.
            progress: called with each event.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        try:
            while not self.step(max(0.0, min(TURN, end - time.monotonic()))):
                self._report(progress)
                if time.monotonic() >= end:
                    raise DeadlineError(f"The work has not ended within {timeout:g} s. Wait again, or cancel it.")
            self._report(progress)
        except (KeyboardInterrupt, SystemExit):
            self.cancel()
            raise
        return self.result()

    def _report(self, progress: Callable[[dict[str, Any]], None] | None) -> None:
        if progress is not None:
            for event in self.events():
                progress(event)
