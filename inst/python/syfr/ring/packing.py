"""Compiled kernels that lay ring elements out for the wire, in 48 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import WIRE_BYTES, Words

Bytes = NDArray[np.uint8]
Thirds = NDArray[np.uint16]
"""Elements modulo 2^48 in three parts of 16 bits, the lowest first, each part of all values side by side."""


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
