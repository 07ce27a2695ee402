"""Bytes that nobody meant: the parsers of frames and Programs answer them with a ProtocolError and nothing else.

A seeded mutator changes good messages. The default suite runs a few thousand; the full count is marked slow.
"""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

import msgpack
import numpy as np
import pytest
from syfr.errors import ClosedError, ProtocolError
from syfr.link import PREFIX, Connection, Frame, Limits, decode
from syfr.party.preprocessing import Plan, row_bytes
from syfr.program import Program
from workers import digits, perceptron, truncated

FEW = 3_000
MANY = 60_000
counts = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])

FRAMES = [
    Frame("request", {"id": 1, "call": "hello"}),
    Frame("request", {"id": 2, "call": "open", "session": bytes(16), "rows": 1, "seeds": [bytes(16), bytes(16)]}),
    Frame("request", {"id": 3, "call": "share", "program": digits().program.to_message(), "seeds": [bytes(16)]}),
    Frame("query", {"session": bytes(16), "start": 0, "rows": 3}, [np.zeros((3, 60), np.uint8)]),
    Frame("step", [bytes(16), 0, 1, 0, 2, 1, 4], [np.zeros(16, np.uint8), np.arange(30, dtype=np.uint32)]),
    Frame("answer", {"clock": 12}, [np.arange(10, dtype=np.uint32).reshape(1, 10)]),
    Frame("dealt", {"block": 3}, [np.zeros(3, np.uint8), np.arange(4, dtype=np.uint64), np.zeros((2, 0), np.uint8)]),
]
INTERESTING = [0, 1, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xC0, 0xC1, 0xC4, 0xC7, 0xCA, 0xCF, 0xD9, 0xDC, 0xDF, 0xFF]


def mutated(data: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """The bytes with one to four changes."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(out) + 1)
        change = chance.randrange(6)
        if change == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif change == 1 and out:
            out[at % len(out)] = chance.choice(INTERESTING)
        elif change == 2:
            del out[at : at + chance.randint(1, 8)]
        elif change == 3:
            out[at:at] = chance.randbytes(chance.randint(1, 8))
        elif change == 4:
            out[at:at] = bytes([chance.choice(INTERESTING)]) * chance.choice([1, 1, 4, 300])
        else:
            other = chance.choice(others)
            cut = chance.randrange(len(other))
            out[at : at + 16] = other[cut : cut + 16]
    return bytes(out)


@counts
def test_headers_and_bodies(count: int) -> None:
    chance = random.Random(1)  # noqa: S311
    whole = [frame.encode() for frame in FRAMES]
    headers = [data[8 : 8 + PREFIX.unpack(data[:8])[0]] for data in whole]
    bodies = [data[8 + len(header) :] for data, header in zip(whole, headers, strict=True)]
    refused = 0
    for _ in range(count):
        which = chance.randrange(len(headers))
        header = mutated(headers[which], chance, headers)
        body = bodies[which] if chance.random() < 0.7 else mutated(bodies[which] + b"x", chance, [b"0123456789abcdef"])
        try:
            frame = decode(memoryview(header), bytearray(body))
        except ProtocolError:
            refused += 1
            continue
        assert isinstance(frame.kind, str)
        assert sum(array.nbytes for array in frame.arrays) == len(body)
    assert 0.3 * count < refused < count


class Pieces:
    """A socket whose other end sends bytes in pieces, as TLS would hand them over."""

    family = socket.AF_UNIX

    def __init__(self, data: bytes, chance: random.Random) -> None:
        self._left, self._chance, self._dry = memoryview(data), chance, False

    def setblocking(self, _: bool) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def wrap_socket(self, *_: object, **__: object) -> Pieces:
        """Also the context of itself."""
        return self

    def pending(self) -> int:
        """Bytes that were decrypted and not read."""
        return 0

    def recv_into(self, view: memoryview) -> int:
        """A piece, nothing yet, or the end."""
        self._dry = not self._dry and self._chance.random() < 0.2
        if self._dry:
            raise ssl.SSLWantReadError
        size = min(len(view), len(self._left), self._chance.choice([1, 3, 50, 1 << 20]))
        view[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def frames_of(data: bytes, chance: random.Random, limits: Limits) -> list[Frame]:
    """What a connection makes of the bytes; how it ends is checked."""
    source = Pieces(data, chance)
    connection = Connection(cast(Any, source), cast(Any, source), server_side=True)
    connection.limits = limits
    frames: list[Frame] = []
    for _ in range(4 * len(data) + 100):
        try:
            frames += connection.read()
        except (ProtocolError, ClosedError):
            assert connection.closed
            assert connection.received <= len(data)
            return frames
    raise AssertionError("The connection does not end.")


@counts
def test_the_parser_of_a_connection(count: int) -> None:
    chance = random.Random(2)  # noqa: S311
    whole = [frame.encode() for frame in FRAMES]
    limits = Limits(header=1 << 14, body=1 << 20)
    for _ in range(count):
        stream = b"".join(chance.choice(whole) for _ in range(chance.randint(1, 3)))
        data = mutated(stream, chance, whole) if chance.random() < 0.9 else chance.randbytes(chance.randint(1, 200))
        for frame in frames_of(data, chance, limits):
            assert isinstance(frame.kind, str)


def test_the_parser_gets_unchanged_streams_right() -> None:
    """The fuzzer's connection reads what nobody changed."""
    chance = random.Random(3)  # noqa: S311
    stream = b"".join(frame.encode() for frame in FRAMES)
    for _ in range(50):
        got = frames_of(stream, chance, Limits())
        assert [frame.kind for frame in got] == [frame.kind for frame in FRAMES]


# ---- Programs ----

JUNK: list[Callable[[random.Random], object]] = [
    lambda chance: chance.choice([None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 1e308, float("nan")]),
    lambda chance: chance.choice(["", "relu", "linear", "x" * 501, b"", b"relu", [], {}, [[]], {"a": 1}, [1] * 9]),
    lambda chance: chance.randint(-3, 40),
    lambda chance: [chance.randint(-1, 30) for _ in range(chance.randint(0, 5))],
    lambda chance: chance.choice([1 << 28, (1 << 28) + 1, 1 << 40]),
]


def paths(value: object, here: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a message."""
    found = [here]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths(inner, (*here, key))
    return found


def put(message: Any, path: tuple[object, ...], value: object, chance: random.Random) -> Any:
    """Change, remove or double what is at a place."""
    if not path:
        return value
    inside = message
    for key in path[:-1]:
        inside = inside[key]
    change = chance.random()
    if change < 0.1:
        del inside[path[-1]]
    elif change < 0.2 and isinstance(inside, list):
        inside.insert(cast(int, path[-1]), inside[cast(int, path[-1])])
    else:
        inside[path[-1]] = value
    return message


@counts
def test_programs(count: int) -> None:
    chance = random.Random(4)  # noqa: S311
    packed = [msgpack.packb(make().program.to_message()) for make in (digits, perceptron, truncated)]
    places = [paths(msgpack.unpackb(data)) for data in packed]
    refused = 0
    for _ in range(count):
        which = chance.randrange(len(packed))
        message: Any
        if chance.random() < 0.3:
            try:
                message = msgpack.unpackb(mutated(packed[which], chance, packed), strict_map_key=False)
            except (ValueError, msgpack.UnpackException, TypeError):
                continue
        else:
            message = msgpack.unpackb(packed[which])
            for _ in range(chance.randint(1, 2)):
                try:
                    message = put(message, chance.choice(places[which]), chance.choice(JUNK)(chance), chance)
                except (KeyError, IndexError, TypeError):
                    continue  # the first change took the second's place away
        try:
            program = Program.from_message(message)
        except ProtocolError:
            refused += 1
            continue
        assert Program.from_message(msgpack.unpackb(msgpack.packb(program.to_message()))) == program
        assert row_bytes(Plan(program)) > 0
    assert 0.3 * count < refused < count
