"""Reading the plain fields of a frame: everything that arrives is checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from syfr.errors import ProtocolError

Fields = Mapping[str, Any]

SESSION_BYTES = 16
LARGEST = 1 << 48

Key = tuple[bytes, int]
"""What names a query: its session and its first row."""


def fields_of(meta: object) -> Fields:
    """The fields of a frame; raises ProtocolError when it has none."""
    if not isinstance(meta, dict):
        raise ProtocolError("A frame arrived without its fields.")
    return meta


def whole(value: object, name: str, low: int = 0, high: int = LARGEST) -> int:
    """A whole number from ``low`` to ``high``."""
    if type(value) is not int or not low <= value <= high:
        raise ProtocolError(f"The field '{name}' must be a whole number from {low} to {high}.")
    return value


def octets(value: object, name: str, size: int) -> bytes:
    """Exactly ``size`` bytes."""
    if type(value) is not bytes or len(value) != size:
        raise ProtocolError(f"The field '{name}' must be {size} bytes.")
    return value


def counts(value: object, name: str) -> dict[str, int]:
    """Whole numbers by name."""
    found = fields_of(value)
    return {text(key, name): whole(count, name) for key, count in found.items()}


def seconds(value: object, name: str) -> float:
    """A time that is not negative."""
    if type(value) not in (int, float) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise ProtocolError(f"The field '{name}' must be a number of seconds.")
    return float(value)  # type: ignore[arg-type]


def text(value: object, name: str, longest: int = 200) -> str:
    """A text of 1 to ``longest`` characters."""
    if type(value) is not str or not 0 < len(value) <= longest:
        raise ProtocolError(f"The field '{name}' must be a text of 1 to {longest} characters.")
    return value


def seeds_of(value: object, count: int, size: int) -> tuple[bytes, ...]:
    """``count`` seeds of ``size`` bytes."""
    if type(value) is not list or len(value) != count:
        raise ProtocolError(f"The field 'seeds' must be {count} seed(s).")
    return tuple(octets(seed, "seeds", size) for seed in value)


class Place(NamedTuple):
    """Which rows of which session a frame speaks of."""

    session: bytes
    start: int
    rows: int

    @classmethod
    def read(cls, fields: Fields, most: int) -> Place:
        """From a frame's fields; at most ``most`` rows."""
        return cls.of(fields.get("session"), fields.get("start"), fields.get("rows"), most)

    @classmethod
    def of(cls, session: object, start: object, rows: object, most: int) -> Place:
        """From three values of a frame, each checked."""
        return cls(octets(session, "session", SESSION_BYTES), whole(start, "start"), whole(rows, "rows", 1, most))

    @property
    def key(self) -> Key:
        """The name of the query that has these rows."""
        return self.session, self.start

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.start + self.rows

    def fields(self, **more: Any) -> dict[str, Any]:
        """As fields of a frame, with others."""
        return {"session": self.session, "start": self.start, "rows": self.rows, **more}
