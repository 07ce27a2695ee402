"""Frames over mutual TLS 1.3: the one kind of connection between owner, client and workers.

A frame on the wire:

    4 bytes   length of the header, little-endian
    4 bytes   length of the body
    header    msgpack: [kind, meta, [[dtype, shape], ...]]
    body      the arrays, one after the other, little-endian, C order

A :class:`Connection` never waits: it reads what is there and keeps what could not be sent. Whoever owns it waits for
:meth:`Connection.fileno` to be readable, or writable while :attr:`Connection.wants_write`.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from syfr.errors import ClosedError, CredentialsError, ProtocolError
from syfr.tls import HUNG_UP, HUNG_UP_MESSAGE, NOT_NOW, explain, forget_errors, keep_alive, surely
from syfr.trust.identity import Identity, identity_of

DTYPES = {name: np.dtype(name) for name in ("uint8", "uint32", "uint64")}
"""What an array on the wire may hold."""

NAMES = {dtype: name for name, dtype in DTYPES.items()}
"""The same the other way; NumPy's own `dtype.name` is computed anew at each look."""

PREFIX = struct.Struct("<II")
MAX_ARRAYS = 20_000
LARGEST_AXIS = 1 << 32

READ_BYTES = 1 << 20
"""One call of :meth:`Connection.read` takes about so much: a fast sender must not keep the others waiting."""

INBOX_BYTES = PREFIX.size + (1 << 14)
"""A whole TLS record is read at a time: a small frame in one call."""

TOGETHER_BYTES = 1 << 16
"""Frames that wait to be sent go together up to this size."""

ALIGNED = 16
"""A body begins at such an address, so that its arrays need no copy."""


@dataclass(frozen=True)
class Limits:
    """How large a frame, and how much unsent data, a connection accepts.

    Attributes:
        header, body: bytes of one frame that arrives.
        unsent: bytes that may wait because the other end does not read.
    """

    header: int = 1 << 16
    body: int = 1 << 28
    unsent: int = 1 << 30


HANDSHAKE_LIMITS = Limits(header=1 << 12, body=0)


@dataclass
class Frame:
    """One message: what it is, its plain fields, its arrays."""

    kind: str
    meta: Any = None
    arrays: Sequence[NDArray[Any]] = field(default_factory=tuple)

    def encode(self) -> bytes:
        """As bytes of the wire."""
        header, arrays = self._encoded()
        return b"".join([header, *arrays])

    def pieces(self) -> list[bytes | memoryview]:
        """The same in pieces. Large arrays are not copied: nobody may change them before they are sent."""
        header, arrays = self._encoded()
        if sum([array.nbytes for array in arrays]) < TOGETHER_BYTES:
            return [b"".join([header, *arrays])]
        return [header, *[array.reshape(-1).view(np.uint8).data for array in arrays]]

    def _encoded(self) -> tuple[bytes, list[Any]]:
        """What comes before the arrays, and those that are not empty."""
        specs = [[NAMES[array.dtype], array.shape] for array in self.arrays]
        header: bytes = msgpack.packb([self.kind, self.meta, specs], use_bin_type=True)
        arrays: list[Any] = [np.ascontiguousarray(array) for array in self.arrays if array.size]
        total = sum([array.nbytes for array in arrays])
        if total >= 1 << 32:
            raise ProtocolError(f"A frame of {total} bytes is too large to be sent. Take fewer rows at a time.")
        return PREFIX.pack(len(header), total) + header, arrays


def decode(header: memoryview, body: memoryview | bytearray) -> Frame:
    """The frame of a header and a body that is changed by nobody else; ProtocolError unless they fit exactly."""
    try:
        kind, meta, specs = msgpack.unpackb(header, raw=False, strict_map_key=True, max_ext_len=0)
        arrays = _arrays(specs, body)
    except ProtocolError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError("A frame arrived that cannot be read.") from error
    if not isinstance(kind, str):
        raise ProtocolError("A frame arrived without a kind.")
    return Frame(kind, meta, arrays)


def _arrays(specs: Any, body: memoryview | bytearray) -> list[NDArray[Any]]:
    if not isinstance(specs, list) or len(specs) > MAX_ARRAYS:
        raise ProtocolError("A frame arrived with too many arrays.")
    arrays = []
    at = 0
    for name, shape in specs:
        dtype = DTYPES[name]
        if len(shape) > 8:
            raise ProtocolError("A frame arrived with an array of impossible shape.")
        count = 1
        for size in shape:
            if type(size) is not int or not 0 <= size <= LARGEST_AXIS:
                raise ProtocolError("A frame arrived with an array of impossible shape.")
            count *= size
        stop = at + count * dtype.itemsize
        if stop > len(body):
            raise ProtocolError("A frame arrived with arrays longer than its body.")
        if not count:
            array = np.empty(0, dtype)
        elif at % dtype.itemsize:  # an aligned copy: kernels take aligned arrays only
            array = np.frombuffer(bytearray(body[at:stop]), dtype)
        else:
            array = np.frombuffer(body, dtype, count, at)
        arrays.append(array.reshape(shape))
        at = stop
    if at != len(body):
        raise ProtocolError("A frame arrived with a body longer than its arrays.")
    return arrays


class Connection:
    """One end of a TLS connection, as frames.

    Args:
        sock: connected TCP socket; it becomes non-blocking and belongs to the connection.
        context: TLS context of this end's bundle.
        server_side: whether this end accepted the connection.

    Attributes:
        identity: who the other end is, once :attr:`open`.
        sent, received: bytes of frames so far.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_side: bool) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock)
        self._sock = context.wrap_socket(sock, server_side=server_side, do_handshake_on_connect=False)
        self.limits = HANDSHAKE_LIMITS
        self.identity: Identity | None = None
        self.closed = False
        self.sent = 0
        self.received = 0
        self._handshake_wants_write = False
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._inbox = memoryview(bytearray(INBOX_BYTES))
        self._inbox_filled = 0
        self._frame: _Incoming | None = None

    def __repr__(self) -> str:
        return f"Connection({self.identity or 'not yet known'}, closed={self.closed})"

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._sock.fileno()

    @property
    def open(self) -> bool:
        """Whether the handshake is over and the other end is known."""
        return self.identity is not None and not self.closed

    @property
    def wants_write(self) -> bool:
        """Whether to wait until the descriptor is writable."""
        return self._handshake_wants_write or (bool(self._unsent) and self.open)

    def handshake(self, limits: Limits) -> bool:
        """Go on with the handshake; True once it is over. Frames are then held to ``limits``.

        Raises:
            CredentialsError: the other end has no certificate of this cluster, or refuses ours.
            ClosedError: the other end has gone.
        """
        try:
            self._handshake_wants_write = False
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            self._handshake_wants_write = True
            return False
        except ssl.SSLError as error:
            self.close()
            if isinstance(error, HUNG_UP):
                raise ClosedError(HUNG_UP_MESSAGE) from error
            raise CredentialsError(explain(error)) from error
        except OSError as error:
            forget_errors()
            self.close()
            raise ClosedError(HUNG_UP_MESSAGE) from error
        try:
            self.identity = identity_of(self._sock)
        except CredentialsError:
            self.close()
            raise
        self.limits = limits
        self.flush()
        return True

    def send(self, frame: Frame) -> None:
        """Send a frame, or keep what does not fit the socket now. Raises ClosedError when it cannot be sent."""
        self.send_encoded(*frame.pieces())

    def send_encoded(self, *pieces: bytes | memoryview) -> None:
        """The same for a frame that was encoded, as for one that goes to several."""
        self.keep(*pieces)
        if self.open:
            self.flush()

    def keep(self, *pieces: bytes | memoryview) -> None:
        """Have an encoded frame go with the next :meth:`flush`."""
        if self.closed:
            raise ClosedError("The connection is closed.")
        for data in pieces:
            self.sent += len(data)
            self._unsent.append(memoryview(data))
            self._unsent_bytes += len(data)
        if self._unsent_bytes > self.limits.unsent and self.open:
            self.close()
            raise ClosedError("The other end does not read what it is sent; the connection was closed.")

    def flush(self) -> None:
        """Send what was kept, as far as the socket takes it; small frames go together."""
        try:
            while self._unsent:
                if len(self._unsent) > 1:
                    self._join()
                data = self._unsent[0]
                count = surely(self._sock.send, data)
                self._unsent_bytes -= count
                if count == len(data):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = data[count:]
        except NOT_NOW:
            return
        except OSError as error:
            self.close()
            raise ClosedError("The connection was closed by the other end.") from error

    def _join(self) -> None:
        """Make the first frames one piece, if they are small: each piece takes calls into the system, here and there.

        What was tried before may only grow: TLS wants to see the same bytes again.
        """
        pieces = [self._unsent.popleft()]
        total = len(pieces[0])
        while self._unsent and total + len(self._unsent[0]) <= TOGETHER_BYTES:
            pieces.append(self._unsent.popleft())
            total += len(pieces[-1])
        self._unsent.appendleft(memoryview(b"".join(pieces)) if len(pieces) > 1 else pieces[0])

    def read(self) -> list[Frame]:
        """The whole frames among the bytes that have arrived; what is left is there at the next call.

        Raises:
            ClosedError: the other end has gone; frames that were whole were returned before.
            CredentialsError: the other end refused our certificate, which TLS 1.3 tells only now.
            ProtocolError: something arrived that is not a frame, or too large a one. The connection is closed.
        """
        frames: list[Frame] = []
        enough = self.received + READ_BYTES
        receive = self._sock.recv_into
        try:
            while True:
                frame = self._frame
                if frame is not None:
                    target = frame.missing()
                else:
                    target = self._inbox[self._inbox_filled :] if self._inbox_filled else self._inbox
                count = surely(receive, target)
                if not count:
                    return self._ended(frames, ClosedError("The connection was closed by the other end."))
                self.received += count
                if frame is None:
                    self._inbox_filled += count
                    self._open_inbox(frames)
                elif frame.fill(count):
                    self._frame = None
                    frames.append(frame.decode())
                between = self._frame is None and not self._inbox_filled
                if (between or self.received >= enough) and not self._sock.pending():
                    return frames
        except NOT_NOW:
            return frames
        except ssl.SSLError as error:
            return self._ended(frames, CredentialsError(explain(error)), error)
        except OSError as error:
            return self._ended(frames, ClosedError("The connection was closed by the other end."), error)
        except ProtocolError:
            self.close()
            raise

    def _ended(self, frames: list[Frame], reason: Exception, cause: Exception | None = None) -> list[Frame]:
        if frames:  # the end is seen again at the next read
            return frames
        self.close()
        raise reason from cause

    def _open_inbox(self, frames: list[Frame]) -> None:
        """Take the frames out of what was read; one that is not whole goes on by itself."""
        inbox, end, at = self._inbox, self._inbox_filled, 0
        while self._frame is None and end - at >= PREFIX.size:
            header, body = PREFIX.unpack_from(inbox, at)
            if not 0 < header <= self.limits.header or body > self.limits.body:
                raise ProtocolError(
                    f"A frame of {header} + {body} bytes arrived, more than this connection may send."
                )
            at += PREFIX.size
            if header + body <= end - at:
                begin = at + header
                at = begin + body
                frames.append(decode(inbox[begin - header : begin], bytearray(inbox[begin:at])))
            else:
                self._frame = _Incoming(header, body, inbox[at:end])
                at = end
        self._inbox_filled = end - at
        if at < end:
            inbox[: end - at] = inbox[at:end]

    def close(self) -> None:
        """Close without waiting; what was kept is lost."""
        if not self.closed:
            self.closed = True
            self._unsent.clear()
            self._frame, self._inbox_filled = None, 0
            self._sock.close()


class _Incoming:
    """A frame that arrives in pieces: header and body in one buffer, the body aligned; ``first`` is not all of it."""

    def __init__(self, header: int, body: int, first: memoryview) -> None:
        before = -header % ALIGNED
        self._body = before + header
        # Not filled with zeros: what is announced and never sent takes no memory.
        self._buffer = np.empty(self._body + body, np.uint8).data
        self._header = before
        self._filled = before + len(first)
        self._buffer[before : self._filled] = first

    def missing(self) -> memoryview:
        """Where the next bytes go, so many at most as are read at a time."""
        return self._buffer[self._filled : self._filled + READ_BYTES]

    def fill(self, count: int) -> bool:
        """So many bytes were put there; whether the frame is whole."""
        self._filled += count
        return self._filled == len(self._buffer)

    def decode(self) -> Frame:
        """The whole frame."""
        return decode(self._buffer[self._header : self._body], self._buffer[self._body :])
