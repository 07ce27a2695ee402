"""Bits of many values side by side, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays
from layouts import from_planes
from numpy.typing import NDArray
from syfr.ring.planes import pack_bits, plane_bytes, planes_shape, to_planes, unpack_bits
from syfr.ring.streams import KeyStream, fresh_key

sizes = some.integers(1, 70)


@given(some.integers(1, 3), sizes, some.integers(1, 32), some.integers(0, 2**32 - 1))
def test_values_come_back_from_their_planes(rows: int, size: int, bits: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**32, (rows, size), np.uint32)
    planes = to_planes(values, bits)
    assert planes.shape == (rows, bits, plane_bytes(size))
    assert np.array_equal(from_planes(planes, size), values & np.uint32((1 << bits) - 1))


@given(arrays.arrays(np.uint8, some.tuples(some.integers(1, 3), some.integers(1, 3), sizes)))
def test_a_value_stands_where_the_layout_says(values: NDArray[np.uint8]) -> None:
    planes = to_planes(values, 8)
    width = plane_bytes(values.shape[2])
    for row, part, i in np.ndindex(*values.shape):
        bits = [int(planes[row, part, bit, i % width]) >> (i // width) & 1 for bit in range(8)]
        assert sum(bit << place for place, bit in enumerate(bits)) == values[row, part, i]


@given(arrays.arrays(np.uint8, some.tuples(some.integers(1, 4), sizes), elements=some.integers(0, 1)))
def test_bits_come_back_row_by_row(bits: NDArray[np.uint8]) -> None:
    packed = pack_bits(bits)
    assert packed.shape == planes_shape(bits.shape) == (bits.shape[0], (bits.shape[1] + 7) // 8)
    assert np.array_equal(unpack_bits(packed, bits.shape[1]), bits)


@pytest.mark.parametrize("size", [1, 8, 9, 700])
def test_a_stream_draws_bits_as_planes(size: int) -> None:
    key = fresh_key()
    stream = KeyStream(key)
    planes = stream.bits("", (2, 3, size))
    assert planes.shape == (2, 3, plane_bytes(size))
    assert np.array_equal(planes.reshape(-1), KeyStream(key).take(planes.size))
    assert stream.bytes_used == planes.size
