"""Values as the kernels and the wire lay them out, and back, in plain NumPy; and random ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from syfr.ring.fixedpoint import Words
from syfr.ring.packing import Octets, Thirds
from syfr.ring.planes import Bytes, unpack_bits


def draw(seed: int, low: int, high: int, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
    """Random integers of a type."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(kind)


def from_planes(planes: Bytes, size: int) -> NDArray[np.uint64]:
    """The values (..., size) whose bits, the lowest first, are the planes (..., bits, ceil(size / 8))."""
    bits = unpack_bits(np.ascontiguousarray(planes), size).astype(np.uint64)
    places = np.arange(planes.shape[-2], dtype=np.uint64)[:, None]
    values: NDArray[np.uint64] = np.bitwise_or.reduce(bits << places, axis=-2)
    return values


def thirds_of(elements: Words) -> Thirds:
    """Elements (rows, ..., n) modulo 2^48 in thirds, (rows, 3, ..., n)."""
    return np.stack([(elements >> np.uint64(16 * part)).astype(np.uint16) for part in range(3)], axis=1)


def octets_of(numbers: Words, count: int) -> Octets:
    """The low bytes of numbers (rows, ..., n), (rows, count, ..., n)."""
    return np.stack([(numbers >> np.uint64(8 * part)).astype(np.uint8) for part in range(count)], axis=1)


def from_thirds(thirds: Thirds) -> Words:
    """The elements (rows, ..., n) that stand in thirds, (rows, 3, ..., n)."""
    low, middle, high = (thirds[:, part].astype(np.uint64) for part in range(3))
    whole: Words = low | (middle << np.uint64(16)) | (high << np.uint64(32))
    return whole

def signed(elements: Words, bits: int) -> Words:
    """The low ``bits`` bits of each element, read as a two's complement number, in 64 bits."""
    shift = np.uint64(64 - bits)
    return ((elements << shift).view(np.int64) >> np.int64(64 - bits)).view(np.uint64)
