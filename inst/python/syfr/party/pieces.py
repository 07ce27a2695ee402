"""Preprocessing of one large row in pieces: ranges of its steps, which are made, sent and used in their order.

A row of a large network would take gigabytes at server0 and server1. It is dealt piece by piece; a query begins with
the first piece and waits for later ones, and what was used is let go. The dealer keeps account of what the servers
have of it, and waits while they have as much as they may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from syfr.protocol.roles import Role

PIECE_BYTES = 64 << 20
"""Memory of a piece at server0 or server1; a step that needs more is a piece by itself."""

PIECES_AHEAD = 512 << 20
"""Memory for the pieces of all sessions that were dealt and not used."""


def split(sizes: Sequence[int], most: int) -> list[range]:
    """Ranges of steps that have ``most`` bytes together at most, or are one step of more and steps that have none."""
    found: list[range] = []
    start = total = 0
    for number, size in enumerate(sizes):
        if total and size and total + size > most:
            found.append(range(start, number))
            start, total = number, 0
        total += size
    return [*found, range(start, len(sizes))]


class Filling(dict[int, Any]):
    """What is ready of one row, by step, while its pieces come; what is taken out of it is used.

    Attributes:
        here: how many pieces have come.
        used: called with the number of a piece when the last of its steps was taken out.
    """

    def __init__(self, pieces: Sequence[range]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left: list[set[int]] = []
        self.here = 0
        self.used: Callable[[int], None] = _nobody

    def add(self, part: Mapping[int, Any]) -> None:
        """Take in the next piece."""
        steps = self._pieces[self.here]
        self._left.append({number for number in part if number in steps})
        self.update(part)
        self.here += 1

    def take(self, number: int) -> None:
        """Step ``number`` has been computed."""
        if number not in self:
            return
        del self[number]
        piece = next(place for place, steps in enumerate(self._pieces) if number in steps)
        self._left[piece].discard(number)
        if not self._left[piece]:
            self.used(piece)


def _nobody(_: int) -> None:
    return None


class Held:
    """At the dealer: the pieces that it has dealt for one session and that a server has not used yet."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[int, int], tuple[int, set[Role]]] = {}

    @property
    def size(self) -> int:
        """Their bytes, at one server."""
        return sum(size for size, _ in self._pieces.values())

    def add(self, row: int, piece: int, size: int) -> None:
        """A piece was dealt."""
        self._pieces[row, piece] = size, set()

    def used(self, server: Role, row: int, piece: int) -> None:
        """A server says that it has used a piece."""
        found = self._pieces.get((row, piece))
        if found is not None:
            found[1].add(server)
            if len(found[1]) == len(server.peers):
                del self._pieces[row, piece]

    def forget(self, over: Callable[[int], bool]) -> None:
        """Leave out the rows that are over."""
        for row, piece in [key for key in self._pieces if over(key[0])]:
            del self._pieces[row, piece]
