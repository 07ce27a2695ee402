"""Compiled kernels that lay ring elements out for the wire: in 48 bits, or in as many bytes as they need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import WIRE_BYTES, Words

Bytes = NDArray[np.uint8]
Thirds = NDArray[np.uint16]
"""Elements modulo 2^48 in three parts of 16 bits, the lowest first, each part of all values side by side."""

Octets = NDArray[np.uint8]
"""Numbers in some bytes, (rows, bytes, ..., n), the lowest first, each byte of all values side by side."""


@compiled("void(uint64[::1], uint16[::1])")
def _pack48(elements: Words, out: NDArray[np.uint16]) -> None:
    for i in range(elements.size):
        out[3 * i] = elements[i]
        out[3 * i + 1] = elements[i] >> np.uint64(16)
        out[3 * i + 2] = elements[i] >> np.uint64(32)


@compiled("void(uint16[::1], uint64[::1])")
def _unpack48(packed: NDArray[np.uint16], out: Words) -> None:
    for i in range(out.size):
        out[i] = (
            np.uint64(packed[3 * i])
            | (np.uint64(packed[3 * i + 1]) << np.uint64(16))
            | (np.uint64(packed[3 * i + 2]) << np.uint64(32))
        )


def pack_elements(elements: Words) -> Bytes:
    """The low 48 bits of each element, little-endian: six bytes an element, in one row of bytes."""
    out = np.empty(3 * elements.size, np.uint16)
    _pack48(elements.reshape(-1), out)
    return out.view(np.uint8)


def _in_sixteen_bits(packed: Bytes) -> Thirds:
    found = packed.view(np.uint16)
    # Behind an odd number of bytes in a frame; kernels take aligned arrays only.
    return found if found.flags.aligned else found.copy()


def unpack_elements(packed: Bytes, shape: tuple[int, ...]) -> Words:
    """The elements of ``shape`` that :func:`pack_elements` wrote; their upper 16 bits are zero."""
    out = np.empty(packed.size // WIRE_BYTES, np.uint64)
    _unpack48(_in_sixteen_bits(packed), out)
    return out.reshape(shape)


@compiled("void(uint64[::1], uint16[::1], uint64[::1])")
def _add_packed48(elements: Words, packed: NDArray[np.uint16], out: Words) -> None:
    keep = (np.uint64(1) << np.uint64(48)) - np.uint64(1)
    for i in range(out.size):
        other = (
            np.uint64(packed[3 * i])
            | (np.uint64(packed[3 * i + 1]) << np.uint64(16))
            | (np.uint64(packed[3 * i + 2]) << np.uint64(32))
        )
        out[i] = (elements[i] + other) & keep


def add_packed(elements: Words, packed: Bytes) -> Words:
    """The sum of elements and of those that :func:`pack_elements` wrote, modulo 2^48."""
    out = np.empty(elements.shape, np.uint64)
    _add_packed48(elements.reshape(-1), _in_sixteen_bits(packed.reshape(-1)), out.reshape(-1))
    return out


def thirds_in(packed: Bytes, shape: tuple[int, ...]) -> Thirds:
    """The thirds (rows, 3, ..., n) of elements of ``shape``, (rows, ..., n), whose bytes are ``packed``."""
    return _in_sixteen_bits(packed).reshape(shape[0], 3, *shape[1:])


@compiled("void(uint64[:,::1], uint8[:,:,::1])")
def _to_octets(numbers: Words, out: Octets) -> None:
    for row in range(out.shape[0]):
        for part in range(out.shape[1]):
            for i in range(out.shape[2]):
                out[row, part, i] = np.uint8(numbers[row, i] >> np.uint64(8 * part))


def to_octets(numbers: Words, count: int) -> Octets:
    """The low ``count`` bytes of each number (rows, ..., n)."""
    out = np.empty((numbers.shape[0], count, *numbers.shape[1:]), np.uint8)
    _to_octets(numbers.reshape(numbers.shape[0], -1), out.reshape(*out.shape[:2], -1))
    return out


@compiled("void(uint8[:,:,::1], uint64[:,::1])")
def _from_octets(octets: Octets, out: Words) -> None:
    for row in range(octets.shape[0]):
        for part in range(octets.shape[1]):
            for i in range(octets.shape[2]):
                out[row, i] |= np.uint64(octets[row, part, i]) << np.uint64(8 * part)


def from_octets(octets: Octets) -> Words:
    """The numbers (rows, ..., n) in octets, (rows, bytes, ..., n)."""
    out = np.zeros((octets.shape[0], *octets.shape[2:]), np.uint64)
    _from_octets(octets.reshape(*octets.shape[:2], -1), out.reshape(out.shape[0], -1))
    return out


def octets_above(bits: int) -> int:
    """Bytes that hold what is left of an element of the wire above its low ``bits`` bits."""
    return -(-(8 * WIRE_BYTES - bits) // 8)
