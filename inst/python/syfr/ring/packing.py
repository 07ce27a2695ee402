"""Compiled kernels that lay values out for the wire: 48-bit ring elements and digits modulo a small prime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import WIRE_BYTES, Words

Bytes = NDArray[np.uint8]
Packed = NDArray[np.uint32]


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


def unpack_elements(packed: Bytes, shape: tuple[int, ...]) -> Words:
    """The elements of ``shape`` that :func:`pack_elements` wrote; their upper 16 bits are zero."""
    out = np.empty(packed.size // WIRE_BYTES, np.uint64)
    _unpack48(packed.view(np.uint16), out)
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
    _add_packed48(elements.reshape(-1), packed.reshape(-1).view(np.uint16), out.reshape(-1))
    return out


@compiled("void(uint8[:,:,:,::1], uint32, uint32[:,:,::1])")
def _pack_digits(digits: NDArray[np.uint8], modulus: int, out: Packed) -> None:
    rows, count, planes, size = digits.shape
    for row in range(rows):
        for plane in range(planes):
            for i in range(size):
                out[row, plane, i] = digits[row, count - 1, plane, i]
            for digit in range(count - 2, -1, -1):
                for i in range(size):
                    out[row, plane, i] = out[row, plane, i] * modulus + np.uint32(digits[row, digit, plane, i])


@compiled("void(uint32[:,:,::1], uint32, uint8[:,:,:,::1])")
def _unpack_digits(words: Packed, modulus: int, out: NDArray[np.uint8]) -> None:
    rows, count, planes, size = out.shape
    # floor(w / p) = (w * ceil(2^35 / p)) >> 35 for p = 11 and every 32-bit w (Granlund and Montgomery, PLDI 1994).
    magic = np.uint64((np.uint64(1) << np.uint64(35)) // np.uint64(modulus) + np.uint64(1))
    rest = np.empty(size, np.uint32)
    for row in range(rows):
        for plane in range(planes):
            for i in range(size):
                rest[i] = words[row, plane, i]
            for digit in range(count):
                for i in range(size):
                    quotient = np.uint32((np.uint64(rest[i]) * magic) >> np.uint64(35))
                    out[row, digit, plane, i] = np.uint8(rest[i] - quotient * modulus)
                    rest[i] = quotient


def pack_digits(digits: NDArray[np.uint8], modulus: int) -> Packed:
    """Digits (rows, digits, planes, n) modulo ``modulus`` as one 32-bit word for all digits: (rows, planes, n)."""
    rows, _, planes, size = digits.shape
    out = np.empty((rows, planes, size), np.uint32)
    _pack_digits(digits, modulus, out)
    return out


def unpack_digits(words: Packed, digits: int, modulus: int) -> NDArray[np.uint8]:
    """The digits (rows, digits, planes, n) that :func:`pack_digits` wrote."""
    rows, planes, size = words.shape
    out = np.empty((rows, digits, planes, size), np.uint8)
    _unpack_digits(words, modulus, out)
    return out
