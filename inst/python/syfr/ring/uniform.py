"""Compiled kernels that turn uniform bytes into integers below a small bound, exactly uniform.

A byte at or above the largest multiple of the bound is rejected and replaced by the next accepted spare byte.
Most blocks have no rejected byte, which one vectorised look tells; reducing all bytes, rejected ones too, vectorises.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled

Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]

_BLOCK = 64


@compiled("int64(uint8[::1], uint8, int64[::1])")
def _find_rejected(values: Bytes, limit: int, found: Indices) -> int:
    count = 0
    whole = values.size // _BLOCK * _BLOCK
    for block in range(0, whole, _BLOCK):
        over = np.uint8(0)
        for i in range(_BLOCK):
            over |= np.uint8(values[block + i] >= limit)
        if over:
            for i in range(block, block + _BLOCK):
                if values[i] >= limit:
                    found[count] = i
                    count += 1
    for i in range(whole, values.size):
        if values[i] >= limit:
            found[count] = i
            count += 1
    return count


@compiled("void(uint8[::1], uint32, uint32)")
def _reduce(values: Bytes, bound: int, start: int) -> None:
    magic = np.uint32(65536 // bound + 1)
    for i in range(values.size):
        wide = np.uint32(values[i])
        quotient = np.uint32(wide * magic) >> np.uint32(16)
        values[i] = np.uint8(wide - quotient * bound + start)


@compiled("int64(uint8[::1], int64[::1], uint8[::1], uint32, uint32, int64)")
def _replace(values: Bytes, rejected: Indices, spare: Bytes, bound: int, start: int, limit: int) -> int:
    filled = 0
    for i in range(spare.size):
        if filled == rejected.size:
            break
        if spare[i] < limit:
            values[rejected[filled]] = np.uint8(np.uint32(spare[i]) % bound + start)
            filled += 1
    return filled


def to_range(values: Bytes, bound: int, start: int) -> Indices:
    """Map bytes in place to ``start .. start + bound - 1``; returns the positions that need another byte."""
    found = np.empty(values.size if 256 % bound else 0, np.int64)
    count = int(_find_rejected(values, 256 - 256 % bound, found)) if 256 % bound else 0
    _reduce(values, bound, start)
    return found[:count]


def replace_rejected(values: Bytes, rejected: Indices, spare: Bytes, bound: int, start: int) -> Indices:
    """Fill the rejected positions of ``values``; returns those for which the spare bytes did not last."""
    filled = int(_replace(values, rejected, spare, bound, start, 256 - 256 % bound))
    return rejected[filled:]
