"""Bits of many values side by side: a *plane* holds one bit of each, so that one instruction works on hundreds of them.

A plane of n values has ceil(n / 8) bytes; value i·bytes + j stands in bit i of byte j. So neighbouring values stand in
neighbouring bytes, and turning values into planes and back needs no step across bytes. What is behind the last value
has no meaning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled

Bytes = NDArray[np.uint8]
Packed = NDArray[np.uint32]


def plane_bytes(values: int) -> int:
    """Bytes of a plane of so many values."""
    return -(-values // 8)


@compiled("UniTuple(uint8, 2)(uint8, uint8, uint8, uint8)")
def _swapped(low: np.uint8, high: np.uint8, distance: np.uint8, mask: np.uint8) -> tuple[np.uint8, np.uint8]:
    """The bits of ``low`` that are ``distance`` above those of ``mask`` change places with those of ``high`` in it."""
    change = np.uint8(np.uint8(np.uint8(low >> distance) ^ high) & mask)
    return np.uint8(low ^ np.uint8(change << distance)), np.uint8(high ^ change)


@compiled("void(uint8[:,::1], uint8[:,::1])")
def _transpose(lists: Bytes, planes: Bytes) -> None:
    """Bit b of byte j of list p becomes bit p of byte j of plane b (Warren, Hacker's Delight, section 7-3)."""
    four, nibble = np.uint8(4), np.uint8(0x0F)
    two, pair = np.uint8(2), np.uint8(0x33)
    one, single = np.uint8(1), np.uint8(0x55)
    for i in range(lists.shape[1]):
        a, e = _swapped(lists[0, i], lists[4, i], four, nibble)
        b, f = _swapped(lists[1, i], lists[5, i], four, nibble)
        c, g = _swapped(lists[2, i], lists[6, i], four, nibble)
        d, h = _swapped(lists[3, i], lists[7, i], four, nibble)
        a, c = _swapped(a, c, two, pair)
        b, d = _swapped(b, d, two, pair)
        e, g = _swapped(e, g, two, pair)
        f, h = _swapped(f, h, two, pair)
        planes[0, i], planes[1, i] = _swapped(a, b, one, single)
        planes[2, i], planes[3, i] = _swapped(c, d, one, single)
        planes[4, i], planes[5, i] = _swapped(e, f, one, single)
        planes[6, i], planes[7, i] = _swapped(g, h, one, single)


@compiled("void(uint32[:,::1], uint8[:,:,::1])", "void(uint8[:,::1], uint8[:,:,::1])")
def _to_planes(values: Bytes | Packed, out: Bytes) -> None:
    size = values.shape[1]
    rows, bits, width = out.shape
    lists = np.zeros((8, width), np.uint8)
    flat = lists.reshape(-1)
    planes = np.empty((8, width), np.uint8)
    for row in range(rows):
        for first in range(0, bits, 8):
            for i in range(size):
                flat[i] = np.uint8(values[row, i] >> first)
            if bits - first >= 8:
                _transpose(lists, out[row, first : first + 8])
            else:
                _transpose(lists, planes)
                for bit in range(bits - first):
                    for i in range(width):
                        out[row, first + bit, i] = planes[bit, i]


def to_planes(values: Bytes | Packed, bits: int) -> Bytes:
    """The low ``bits`` bits of values (..., n) as planes, (..., bits, ceil(n / 8)), the lowest first."""
    size = values.shape[-1]
    lists = values.reshape(-1, size)
    out = np.empty((lists.shape[0], bits, plane_bytes(size)), np.uint8)
    _to_planes(lists, out)
    return out.reshape(*values.shape[:-1], bits, -1)


def pack_bits(bits: Bytes) -> Bytes:
    """Bits (..., n) as one plane each, (..., ceil(n / 8))."""
    return to_planes(bits, 1).reshape(*bits.shape[:-1], -1)


@compiled("void(uint8[:,::1], uint8[:,::1])")
def _unpack_bits(planes: Bytes, out: Bytes) -> None:
    lists, size = out.shape
    width = planes.shape[1]
    one = np.uint8(1)
    for row in range(lists):
        for place in range(8):
            here = out[row, min(place * width, size) : min((place + 1) * width, size)]
            shift = np.uint8(place)
            for j in range(here.size):
                here[j] = (planes[row, j] >> shift) & one


def unpack_bits(planes: Bytes, size: int) -> Bytes:
    """The bits (..., size) that stand in planes, (..., ceil(size / 8))."""
    out = np.empty((*planes.shape[:-1], size), np.uint8)
    _unpack_bits(planes.reshape(-1, planes.shape[-1]), out.reshape(-1, size))
    return out


def planes_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of planes of bits of ``shape``, values last."""
    return (*shape[:-1], plane_bytes(shape[-1]))
