"""Random streams: AES-128 in counter mode under keys from the operating system's generator.

A :class:`Source` is where an operation gets its randomness. Its draws are asked for by a label, so that a test
can hand out chosen values instead and look at what each party then sees; the workers use :class:`KeyStream`.
Values below a bound that is no power of two are drawn by rejection, so they are exactly uniform.
"""

from __future__ import annotations

import math
import os
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from syfr.ring.fixedpoint import Words
from syfr.ring.planes import planes_shape
from syfr.ring.uniform import find_rejected, replace_rejected, split_pairs

Bytes = NDArray[np.uint8]

KEY_BYTES = 16

CHUNK = 1 << 18
"""Values below a bound are drawn so many at a time, so that words and values are in the processor's cache."""


class Source(Protocol):
    """Uniform values, each drawn once. ``label`` says what a draw is for."""

    def elements(self, label: str, shape: tuple[int, ...]) -> Words:
        """Ring elements, all 64 bits uniform."""

    def thirds(self, label: str, shape: tuple[int, ...]) -> NDArray[np.uint16]:
        """Elements (rows, ..., n) modulo 2^48, (rows, 3, ..., n); see packing.py."""

    def octets(self, label: str, shape: tuple[int, ...], count: int) -> Bytes:
        """Numbers (rows, ..., n) of ``count`` bytes, (rows, count, ..., n); see packing.py."""

    def integers(self, label: str, shape: tuple[int, ...], bits: int) -> NDArray[np.uint32]:
        """Integers of ``bits`` bits, at most 32."""

    def below(self, label: str, shape: tuple[int, ...], bound: int, start: int = 0) -> Bytes:
        """Integers from ``start`` to ``start + bound - 1``; ``bound`` is at most 256."""

    def bits(self, label: str, shape: tuple[int, ...]) -> Bytes:
        """Bits (..., n) as planes, (..., ceil(n / 8)); see planes.py."""


def fresh_key() -> bytes:
    """A key from the operating system's generator."""
    return os.urandom(KEY_BYTES)


def derive_key(secret: bytes, purpose: bytes) -> bytes:
    """A key for one purpose (HKDF, RFC 5869, with SHA-256)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"syfr 1 " + purpose).derive(secret)


class KeyStream:
    """The AES-CTR stream of one key and one starting block; every byte of it is handed out once.

    Args:
        key: sixteen bytes.
        nonce: eight bytes that no other stream of this key has; the low half of the counter block counts.
        start: the first 16-byte block, for streams that are read from the middle.
    """

    def __init__(self, key: bytes, nonce: bytes = bytes(8), start: int = 0) -> None:
        if len(key) != KEY_BYTES or len(nonce) != 8:
            raise ValueError("A stream takes a key of 16 bytes and a nonce of 8.")
        counter = nonce + start.to_bytes(8, "big")
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
        self.bytes_used = 0

    def __repr__(self) -> str:
        return f"KeyStream(key=<REDACTED>, bytes_used={self.bytes_used})"

    def take(self, count: int) -> Bytes:
        """The next ``count`` bytes of the stream, as a writable array."""
        out = np.empty(count, np.uint8)
        if count:
            self._encryptor.update_into(_zeros(count), out.data)
        self.bytes_used += count
        return out

    def elements(self, label: str, shape: tuple[int, ...]) -> Words:
        """Ring elements, all 64 bits uniform."""
        return self.take(8 * math.prod(shape)).view(np.uint64).reshape(shape)

    def thirds(self, label: str, shape: tuple[int, ...]) -> NDArray[np.uint16]:
        """Elements (rows, ..., n) modulo 2^48, (rows, 3, ..., n); see packing.py."""
        return self.take(6 * math.prod(shape)).view(np.uint16).reshape(shape[0], 3, *shape[1:])

    def octets(self, label: str, shape: tuple[int, ...], count: int) -> Bytes:
        """Numbers (rows, ..., n) of ``count`` bytes, (rows, count, ..., n); see packing.py."""
        return self.take(count * math.prod(shape)).reshape(shape[0], count, *shape[1:])

    def integers(self, label: str, shape: tuple[int, ...], bits: int) -> NDArray[np.uint32]:
        """Integers of ``bits`` bits, at most 32."""
        words = self.take(4 * math.prod(shape)).view(np.uint32)
        words >>= np.uint32(32 - bits)
        return words.reshape(shape)

    def below(self, label: str, shape: tuple[int, ...], bound: int, start: int = 0) -> Bytes:
        """Integers from ``start`` to ``start + bound - 1``, by rejection of what would make a bias."""
        count = math.prod(shape)
        out = np.empty(count, np.uint8)
        for first in range(0, count, CHUNK):
            self._draw_below(out[first : first + CHUNK], bound, start)
        return out.reshape(shape)

    def bits(self, label: str, shape: tuple[int, ...]) -> Bytes:
        """Bits (..., n) as planes, (..., ceil(n / 8)); see planes.py."""
        planes = planes_shape(shape)
        return self.take(math.prod(planes)).reshape(planes)

    def _draw_below(self, out: Bytes, bound: int, start: int) -> None:
        words = self.take(out.size + out.size % 2).view(np.uint16)
        rejected = find_rejected(words, bound)
        while rejected.size:
            spare = self.take(4 * rejected.size + 16).view(np.uint16)
            rejected = replace_rejected(words, rejected, spare, bound)
        split_pairs(words, bound, start, out)


_ZEROS = bytes(1 << 16)


def _zeros(count: int) -> memoryview:
    global _ZEROS
    zeros = _ZEROS  # looked up once: another thread of a client may put a shorter one there meanwhile
    if len(zeros) < count:
        zeros = _ZEROS = bytes(max(count, 2 * len(zeros)))
    return memoryview(zeros)[:count]
