"""Frames over TLS: what goes in comes out, whatever the pieces; what is no frame is refused; nothing waits."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from handshakes import HOSTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from syfr.errors import ClosedError, CredentialsError, ProtocolError
from syfr.link import DTYPES, MAX_ARRAYS, PREFIX, Connection, Frame, Limits, decode
from syfr.trust.credentials import create_credentials

SECONDS = 20.0
Array = NDArray[Any]
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """TLS contexts of a worker and a client."""
    credentials = create_credentials(Path(tmp_path_factory.mktemp("link")) / "cluster", HOSTS)
    return credentials.bundle("server0").server_context(), credentials.bundle("client").client_context()


class Pair:
    """Two connections at either end of a socket pair."""

    def __init__(self, contexts: Contexts, limits: Limits) -> None:
        self.sockets = socket.socketpair()
        self.left = Connection(self.sockets[0], contexts[0], server_side=True)
        self.right = Connection(self.sockets[1], contexts[1], server_side=False)
        until(lambda: all([end.handshake(limits) for end in (self.left, self.right) if not end.open] or [True]))

    def close(self) -> None:
        """Close both."""
        self.left.close()
        self.right.close()

    def carry(self, count: int) -> list[Frame]:
        """Move bytes from the left to the right until so many frames have arrived."""
        frames: list[Frame] = []

        def step() -> bool:
            if self.left.wants_write:
                self.left.flush()
            frames.extend(self.right.read())
            return len(frames) >= count

        until(step)
        return frames

    def raw(self, data: bytes) -> None:
        """Send bytes through the left end's TLS that need not be a frame."""
        self.left._unsent.append(memoryview(data))
        self.left._unsent_bytes += len(data)
        self.left.flush()


class Counting:
    """A socket that counts what is sent, and takes ``room`` bytes in all if that is given."""

    def __init__(self, sock: Any, room: int | None = None) -> None:
        self.sock, self.room, self.pieces = sock, room, list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def send(self, data: memoryview) -> int:
        """Send, or say that there is no room."""
        if self.room is not None and len(data) > self.room:
            raise ssl.SSLWantWriteError
        self.pieces.append(len(data))
        return int(self.sock.send(data))


def send_often(end: Connection, frame: Frame) -> None:
    for _ in range(64):
        end.send(frame)


def until(step: Callable[[], bool]) -> None:
    """Repeat until it is true, with a deadline."""
    stop = time.monotonic() + SECONDS
    while not step():
        assert time.monotonic() < stop, "nothing more happens"
        time.sleep(0.0002)


@pytest.fixture
def pair(contexts: Contexts) -> Iterator[Pair]:
    """A pair with small limits."""
    made = Pair(contexts, Limits(header=1 << 16, body=1 << 24, unsent=1 << 24))
    yield made
    made.close()


def same(one: Frame, other: Frame) -> None:
    """Equal in every part, and every array ready for the kernels."""
    assert one.kind == other.kind
    assert one.meta == other.meta
    assert len(one.arrays) == len(other.arrays)
    for left, right in zip(one.arrays, other.arrays, strict=True):
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert np.array_equal(left, right)
        assert right.flags.aligned
        assert right.flags.c_contiguous
        assert right.flags.writeable


def parts(data: bytes) -> tuple[memoryview, bytearray]:
    """Header and body of a frame's bytes."""
    header, body = PREFIX.unpack(data[: PREFIX.size])
    assert len(data) == PREFIX.size + header + body
    return memoryview(data)[PREFIX.size : PREFIX.size + header], bytearray(data[PREFIX.size + header :])


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
arrays = st.lists(
    st.sampled_from(sorted(DTYPES)).flatmap(
        lambda name: hnp.arrays(DTYPES[name], hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    ),
    max_size=5,
)
frames = st.builds(Frame, st.text(max_size=12), plain, arrays)


# ---- encoding ----


@given(frames)
def test_a_frame_survives_its_encoding(frame: Frame) -> None:
    same(frame, decode(*parts(frame.encode())))


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_arrays_after_an_odd_number_of_bytes_are_aligned(size: int) -> None:
    frame = Frame("odd", {}, [np.arange(size, dtype=np.uint8), np.arange(4, dtype=np.uint64), np.arange(3, dtype="u4")])
    same(frame, decode(*parts(frame.encode())))


def test_an_array_that_is_not_contiguous_is_sent_as_what_it_shows() -> None:
    whole = np.arange(24, dtype=np.uint64).reshape(4, 6)
    frame = Frame("views", None, [whole[:, ::2], whole.T, whole[1:1]])
    same(frame, decode(*parts(frame.encode())))


MALFORMED: dict[str, tuple[object, int]] = {
    "no list": ("abc", 0),
    "two parts": (["kind", {}], 0),
    "four parts": (["kind", {}, [], 1], 0),
    "kind is a number": ([7, {}, []], 0),
    "kind is bytes": ([b"kind", {}, []], 0),
    "arrays are a number": (["kind", {}, 3], 0),
    "arrays are a text": (["kind", {}, "uint8"], 0),
    "spec is a number": (["kind", {}, [3]], 8),
    "spec of three": (["kind", {}, [["uint8", [8], 1]]], 8),
    "signed": (["kind", {}, [["int64", [1]]]], 8),
    "real": (["kind", {}, [["float64", [1]]]], 8),
    "object": (["kind", {}, [["object", [1]]]], 8),
    "type is a list": (["kind", {}, [[["uint8"], [8]]]], 8),
    "type is missing": (["kind", {}, [[None, [8]]]], 8),
    "shape is a number": (["kind", {}, [["uint8", 8]]], 8),
    "shape is a text": (["kind", {}, [["uint8", "8"]]], 8),
    "shape of reals": (["kind", {}, [["uint8", [8.0]]]], 8),
    "shape of truths": (["kind", {}, [["uint8", [True] * 3]]], 1),
    "negative": (["kind", {}, [["uint8", [-8]]]], 8),
    "negative twice": (["kind", {}, [["uint8", [-2, -4]]]], 8),
    "nine axes": (["kind", {}, [["uint8", [1] * 9]]], 1),
    "huge": (["kind", {}, [["uint64", [1 << 63]]]], 8),
    "huge product": (["kind", {}, [["uint64", [1 << 32, 1 << 32]]]], 8),
    "huge axes around nothing": (["kind", {}, [["uint64", [0, 1 << 60, 1 << 60]]]], 8),
    "longer than the body": (["kind", {}, [["uint64", [2]]]], 8),
    "shorter than the body": (["kind", {}, [["uint8", [7]]]], 8),
    "a body of nothing's": (["kind", {}, []], 8),
    "too many arrays": (["kind", {}, [["uint8", [0]]] * (MAX_ARRAYS + 1)], 0),
    "keys that are numbers": (["kind", {1: 2}, []], 0),
    "extension type": (["kind", msgpack.ExtType(4, b"12345678"), []], 0),
    "time stamp": (["kind", msgpack.Timestamp(1), []], 0),
}


@pytest.mark.parametrize("size", [0, 100, 1 << 17])
def test_the_pieces_of_a_frame_are_its_bytes_and_large_arrays_are_not_copied(size: int) -> None:
    array = np.arange(3 * size, dtype=np.uint8).reshape(3, size)
    frame = Frame("step", 3, [np.arange(5, dtype=np.uint64), array, np.zeros((2, 0), np.uint32)])
    pieces = frame.pieces()
    assert b"".join(pieces) == frame.encode()
    shared = any(np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in pieces)
    assert shared is (size == 1 << 17)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_frame_is_refused(name: str) -> None:
    content, size = MALFORMED[name]
    with pytest.raises(ProtocolError):
        decode(memoryview(msgpack.packb(content, use_bin_type=True)), bytearray(size))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xc1",  # never used by msgpack
        b"\x93\xa1k\x80",  # ends early
        b"\x93\xa1k\x80\x90\x90",  # goes on after the end
        b"\x93\xa2\xff\xfe\x80\x90",  # a text that is none
        b"\x93\xa1k\xdd\xff\xff\xff\xff\x90",  # a list of four milliards
        b"\x93\xa1k\xc6\xff\xff\xff\xff\x90",  # as many bytes
        b"\x91" * 60_000,  # nested
        b"\x81" * 60_000,
    ],
    ids=["empty", "unused", "early end", "trailing", "not text", "long list", "long bytes", "nested", "nested maps"],
)
def test_a_header_that_is_no_msgpack_is_refused(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(memoryview(header), bytearray())


# ---- a connection ----


@given(st.lists(frames, min_size=1, max_size=6))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frames_arrive_in_order_over_tls(pair: Pair, sent: list[Frame]) -> None:
    for frame in sent:
        pair.left.send(frame)
    got = pair.carry(len(sent))
    assert len(got) == len(sent)
    for one, other in zip(sent, got, strict=True):
        same(one, other)


@pytest.mark.parametrize("size", [16_000, 16_384, 16_385, 100_001, 1 << 20, 5_000_003])
def test_large_frames_arrive_whole(pair: Pair, size: int) -> None:
    body = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    frame = Frame("large", {"n": size}, [body, np.arange(5, dtype=np.uint64)])
    pair.left.send(frame)
    pair.left.send(Frame("after"))
    got = pair.carry(2)
    same(frame, got[0])
    assert got[1].kind == "after"
    assert pair.left.sent == pair.right.received == len(frame.encode()) + len(Frame("after").encode())


def test_a_frame_may_come_byte_by_byte(pair: Pair) -> None:
    frame = Frame("slow", {"a": [1, 2]}, [np.arange(3, dtype=np.uint32)])
    data = frame.encode()
    for at in range(len(data) - 1):
        pair.raw(data[at : at + 1])
        assert pair.right.read() == []
        assert pair.right.received == at + 1
    pair.raw(data[-1:])
    (got,) = pair.carry(1)
    same(frame, got)


def test_one_read_gives_all_frames_of_a_record_and_the_rest_is_kept(pair: Pair) -> None:
    whole = Frame("a").encode() + Frame("b", {"x": 1}, [np.zeros(9, np.uint8)]).encode()
    pair.raw(whole + Frame("c").encode()[:5])
    assert [frame.kind for frame in pair.carry(2)] == ["a", "b"]
    pair.raw(Frame("c").encode()[5:])
    assert [frame.kind for frame in pair.carry(1)] == ["c"]


def test_frames_before_the_end_are_not_lost(pair: Pair) -> None:
    pair.left.send(Frame("last"))
    pair.left.close()
    select.select([pair.right], [], [], SECONDS)
    assert [frame.kind for frame in pair.right.read()] == ["last"]
    with pytest.raises(ClosedError):
        pair.right.read()
    assert pair.right.closed


def test_an_end_within_a_frame_is_a_closed_connection(pair: Pair) -> None:
    pair.raw(Frame("half", {}, [np.zeros(100, np.uint8)]).encode()[:50])
    pair.left.close()
    with pytest.raises(ClosedError):
        pair.carry(1)
    assert pair.right.closed


def test_a_reader_that_does_not_read_is_given_up_at_the_limit(contexts: Contexts) -> None:
    pair = Pair(contexts, Limits(header=1 << 12, body=1 << 24, unsent=1 << 22))
    frame = Frame("more", {}, [np.zeros(1 << 18, np.uint8)])
    with pytest.raises(ClosedError, match="does not read"):
        send_often(pair.left, frame)
    assert pair.left.closed
    assert pair.left.sent < (1 << 22) + (1 << 20) + 2 * len(frame.encode())
    with pytest.raises(ClosedError):
        pair.left.send(frame)
    pair.close()


def test_what_a_slow_reader_left_is_sent_later(pair: Pair) -> None:
    frame = Frame("kept", {}, [np.arange(1 << 18, dtype=np.uint64)])
    pair.left.send(frame)
    pair.left.send(frame)
    assert pair.left.wants_write
    got = pair.carry(2)
    same(frame, got[1])
    assert not pair.left.wants_write


def test_frames_sent_before_the_handshake_go_after_it(contexts: Contexts) -> None:
    ends = socket.socketpair()
    left = Connection(ends[0], contexts[0], server_side=True)
    right = Connection(ends[1], contexts[1], server_side=False)
    right.send(Frame("early"))
    got: list[Frame] = []

    def step() -> bool:
        for end in (left, right):
            if not end.open:
                end.handshake(Limits())
        got.extend(left.read() if left.open else [])
        return bool(got)

    until(step)
    assert got[0].kind == "early"
    left.close()
    right.close()


@pytest.mark.parametrize(
    ("header", "body"),
    [(0, 0), ((1 << 16) + 1, 0), (10, (1 << 24) + 1), (0xFFFFFFFF, 0xFFFFFFFF)],
    ids=["no header", "long header", "long body", "both"],
)
def test_a_frame_beyond_the_limits_is_refused_before_it_is_read(pair: Pair, header: int, body: int) -> None:
    pair.raw(struct.pack("<II", header, body))
    with pytest.raises(ProtocolError):
        pair.carry(1)
    assert pair.right.closed
    with pytest.raises(ClosedError):
        pair.right.send(Frame("no"))


def test_a_frame_that_cannot_be_read_closes_the_connection(pair: Pair) -> None:
    pair.raw(PREFIX.pack(3, 0) + b"\xc1\xc1\xc1")
    with pytest.raises(ProtocolError):
        pair.carry(1)
    assert pair.right.closed


def test_bytes_that_are_not_tls_end_the_connection(pair: Pair) -> None:
    pair.sockets[0].close()
    raw = pair.left._sock.detach()
    with socket.socket(fileno=raw) as plain_socket:
        plain_socket.send(b"GET / HTTP/1.1\r\n\r\n" * 4)
        with pytest.raises((ClosedError, CredentialsError)):
            until(lambda: bool(pair.right.read()))
    assert pair.right.closed


def test_an_end_during_the_handshake_is_a_closed_connection(contexts: Contexts) -> None:
    ends = socket.socketpair()
    right = Connection(ends[1], contexts[1], server_side=False)
    assert not right.handshake(Limits())
    ends[0].recv(1 << 16)
    ends[0].close()
    with pytest.raises(ClosedError, match="handshake"):
        until(lambda: right.handshake(Limits()))
    assert right.closed


def test_a_large_frame_is_read_in_pieces_so_that_others_have_their_turn(contexts: Contexts) -> None:
    """However fast the other end sends, one call of read() takes a bounded number of bytes."""
    pair = Pair(contexts, Limits(body=1 << 26))
    size = 1 << 25
    pair.left.send(Frame("large", {}, [np.zeros(size, np.uint8)]))
    real, before = pair.right._sock, pair.right.received

    class Endless:
        """The other end writes as fast as this one reads."""

        def recv_into(self, view: memoryview) -> int:
            if not real.pending():
                pair.left.flush()
            return real.recv_into(view)

        def pending(self) -> int:
            return real.pending()

    pair.right._sock = Endless()  # type: ignore[assignment]
    assert pair.right.read() == []
    assert 0 < pair.right.received - before <= 1 << 22
    pair.right._sock = real
    (got,) = pair.carry(1)
    assert got.arrays[0].size == size
    pair.close()


def test_a_connection_does_not_show_what_it_carries(pair: Pair) -> None:
    pair.left.send(Frame("secret", {"seeds": [b"0123456789abcdef"]}, [np.full(1 << 20, 77, np.uint8)]))
    shown = repr(pair.left) + repr(pair.right)
    assert "0123456789abcdef" not in shown
    assert "77" not in shown


def test_small_frames_that_were_kept_go_together_and_large_ones_alone(pair: Pair) -> None:
    sizes = (5, 100, 90_000, 7)
    frames = [Frame("step", number, [np.full(size, number, np.uint8)]) for number, size in enumerate(sizes)]
    counting = pair.left._sock = Counting(pair.left._sock)  # type: ignore[assignment]
    for frame in frames:
        pair.left.keep(frame.encode())
    assert not counting.pieces
    for got, sent in zip(pair.carry(len(frames)), frames, strict=True):
        same(got, sent)
    bytes_of = [len(frame.encode()) for frame in frames]
    assert counting.pieces[0] == bytes_of[0] + bytes_of[1]
    assert sum(counting.pieces) == sum(bytes_of)


def test_frames_that_found_no_room_go_with_those_kept_later(pair: Pair) -> None:
    """TLS wants to see what was tried again; it may have grown at its end."""
    counting = pair.left._sock = Counting(pair.left._sock, room=0)  # type: ignore[assignment]
    frames = [Frame("step", number, [np.full(50, number, np.uint8)]) for number in range(6)]
    for frame in frames[:3]:
        pair.left.keep(frame.encode())
    pair.left.flush()
    assert pair.left.wants_write
    assert not counting.pieces
    for frame in frames[3:]:
        pair.left.send(frame)
    counting.room = None
    for got, sent in zip(pair.carry(6), frames, strict=True):
        same(got, sent)
    assert counting.pieces == [sum(len(frame.encode()) for frame in frames)]
