"""What an operation may send and receive while a query runs.

A :class:`Channel` belongs to one query and one party. Its messages are named by peer, step and what they are, so
that none can be mistaken for another: one that is not expected, of another shape, or a second time ends the query.
A logical clock rides on every message; it counts message delays, which tests compare with the declared ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from syfr.errors import ProtocolError
from syfr.protocol.roles import Role

Array = NDArray[Any]
Tag = tuple[int, str]
Key = tuple[Role, int, str]

Missing = tuple[Key, ...]
Self = TypeVar("Self", bound="Channel")

MESSAGES = ("opened", "compare", "answer", "masked", "agree", "output")
"""Every message of the online phase, in the order of their numbers on the wire."""


_NAMES = {np.dtype(name): name for name in ("uint8", "uint32", "uint64")}


class Like(NamedTuple):
    """The type and shape that a received array must have."""

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: Array) -> Like:
        """As another array."""
        return cls(_NAMES.get(array.dtype) or array.dtype.name, array.shape)


class Channel(ABC):
    """One party's messages of one query."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.clock = 0
        self._waiting: dict[Key, tuple[int, Sequence[Array]]] = {}
        self._seen: set[Key] = set()

    def branch(self: Self, clock: int) -> Self:
        """The same channel for one step, whose logical time begins at ``clock``: steps at the same time do not add."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.clock = clock
        return twin

    @abstractmethod
    def transmit(self, peer: Role, tag: Tag, clock: int, arrays: Sequence[Array]) -> None:
        """Hand a message to whatever carries it; must not wait."""

    def send(self, peer: Role, tag: Tag, *arrays: Array) -> None:
        """Send arrays to a peer under a name that this query uses once."""
        self.transmit(peer, tag, self.clock, arrays)

    def deliver(self, peer: Role, tag: Tag, clock: int, arrays: Sequence[Array]) -> None:
        """Take in a message that arrived; raises ProtocolError when the same one came before."""
        key = (peer, *tag)
        if key in self._seen:
            raise ProtocolError(f"{peer.label} sent the message '{tag[1]}' of step {tag[0]} twice.")
        self._seen.add(key)
        self._waiting[key] = clock, arrays

    def require_all_read(self) -> None:
        """Raise ProtocolError when a message arrived that the finished operation did not ask for."""
        for peer, number, name in self._waiting:
            raise ProtocolError(f"{peer.label} sent the message '{name}' of step {number}, which nobody expects.")

    async def receive(self, peer: Role, tag: Tag, *expected: Like) -> Sequence[Array]:
        """Wait for the message of that name; raises ProtocolError when its arrays are not as expected."""
        clock, arrays = await _Arrival(self._waiting, (peer, *tag))
        if clock >= self.clock:
            self.clock = clock + 1
        got = [Like.of(array) for array in arrays]
        if got != list(expected):
            raise ProtocolError(
                f"{peer.label} sent arrays {got} for '{tag[1]}' of step {tag[0]}; expected {list(expected)}."
            )
        return arrays


class _Arrival:
    """Awaits a message; what it yields to the driver is the name of the message that is missing."""

    def __init__(self, waiting: dict[Key, tuple[int, Sequence[Array]]], key: Key) -> None:
        self._messages = waiting
        self._key = key

    def __await__(self) -> Generator[Missing, None, tuple[int, Sequence[Array]]]:
        while self._key not in self._messages:
            yield (self._key,)
        return self._messages.pop(self._key)


class Together:
    """Coroutines of one party that go on side by side, each as far as its messages allow."""

    def __init__(self, channel: Channel) -> None:
        self._arrived = channel._waiting
        self._work: dict[int, tuple[Coroutine[Missing, None, Any], Missing]] = {}

    def __bool__(self) -> bool:
        return bool(self._work)

    def start(self, number: int, coroutine: Coroutine[Missing, None, Any]) -> None:
        """Add a coroutine; it first runs when :meth:`next` is awaited."""
        self._work[number] = coroutine, ()

    async def next(self) -> tuple[int, Any]:
        """The number and the result of the next coroutine that ends."""
        work = self._work
        if len(work) == 1:  # alone and not begun: nobody needs to look which one can go on
            ((alone, (coroutine, missing)),) = work.items()
            if not missing:
                result = await coroutine
                del work[alone]
                return alone, result
        while True:
            number = self._able()
            if number is None:
                await _Any(tuple([key for _, missing in work.values() for key in missing]), self._arrived)
                continue
            coroutine, _ = work[number]
            try:
                work[number] = coroutine, coroutine.send(None)
            except StopIteration as end:
                del work[number]
                return number, end.value

    def _able(self) -> int | None:
        """One that can go on."""
        for number, (_, missing) in self._work.items():
            for key in missing:
                if key not in self._arrived:
                    break
            else:
                return number
        return None

    def close(self) -> None:
        """End all that have not ended."""
        for coroutine, _ in self._work.values():
            coroutine.close()


class _Any:
    """Awaits any of several messages, which stay where they are."""

    def __init__(self, keys: Missing, arrived: dict[Key, tuple[int, Sequence[Array]]]) -> None:
        self._keys, self._arrived = keys, arrived

    def __await__(self) -> Generator[Missing, None, None]:
        while self._arrived.keys().isdisjoint(self._keys):
            yield self._keys


class Run:
    """Drives one party's coroutine over its channel: runs until a message is missing, then waits to be resumed.

    Attributes:
        missing: the messages any of which makes it go on.
    """

    def __init__(self, coroutine: Coroutine[Missing, None, Any], channel: Channel) -> None:
        self.channel = channel
        self.missing: Missing = ()
        self.done = False
        self.result: Any = None
        self._coroutine = coroutine

    def advance(self) -> None:
        """Run as far as the messages allow; an error of the operation comes out here."""
        try:
            self.missing = self._coroutine.send(None)
        except StopIteration as end:
            self.channel.require_all_read()
            self.done, self.result, self.missing = True, end.value, ()

    def deliver(self, peer: Role, tag: Tag, clock: int, arrays: Sequence[Array]) -> None:
        """Take in a message and go on if it was one that was missing; after the end none is expected."""
        self.channel.deliver(peer, tag, clock, arrays)
        if self.done:
            self.channel.require_all_read()
        if (peer, *tag) in self.missing:
            self.advance()

    def close(self) -> None:
        """End the coroutine, whatever it waits for."""
        self._coroutine.close()
