"""Ring elements go on the wire in 48 bits, and come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays
from layouts import from_thirds, octets_of, thirds_of
from numpy.typing import NDArray
from syfr.ring.packing import (
    add_packed,
    from_octets,
    octets_above,
    pack_elements,
    thirds_in,
    to_octets,
    unpack_elements,
)

EDGES = np.array([0, 1, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**48 - 1, 2**48, 2**63, 2**64 - 1], np.uint64)
shapes = arrays.array_shapes(max_dims=3, max_side=6)


@given(arrays.arrays(np.uint64, shapes, elements=some.integers(0, 2**64 - 1)))
def test_elements_come_back_modulo_2_48(elements: NDArray[np.uint64]) -> None:
    packed = pack_elements(elements)
    assert packed.dtype == np.uint8
    assert packed.shape == (6 * elements.size,)
    assert np.array_equal(unpack_elements(packed, elements.shape), elements % np.uint64(2**48))


@given(arrays.arrays(np.uint64, shapes, elements=some.integers(0, 2**64 - 1)), some.integers(0, 2**64 - 1))
def test_packed_elements_are_added_modulo_2_48(elements: NDArray[np.uint64], other: int) -> None:
    others = elements[::-1] ^ np.uint64(other)
    total = (elements + others) % np.uint64(2**48)
    assert np.array_equal(add_packed(elements, pack_elements(others).reshape(elements.shape[0], -1)), total)


def test_elements_are_little_endian() -> None:
    packed = pack_elements(EDGES)
    assert packed.tobytes() == b"".join(int(value).to_bytes(8, "little")[:6] for value in EDGES)
    assert pack_elements(np.empty(0, np.uint64)).size == 0


@given(arrays.arrays(np.uint64, arrays.array_shapes(min_dims=2, max_dims=3), elements=some.integers(0, 2**64 - 1)))
def test_elements_come_back_from_their_thirds(elements: NDArray[np.uint64]) -> None:
    thirds = thirds_of(elements)
    assert thirds.shape == (elements.shape[0], 3, *elements.shape[1:])
    assert np.array_equal(from_thirds(thirds), elements % np.uint64(2**48))


@given(arrays.arrays(np.uint64, shapes, elements=some.integers(0, 2**64 - 1)), some.integers(1, 8))
def test_numbers_come_back_from_their_octets(numbers: NDArray[np.uint64], count: int) -> None:
    octets = to_octets(numbers, count)
    assert np.array_equal(octets, octets_of(numbers, count))
    kept = np.uint64(2 ** (8 * count) - 1)
    assert np.array_equal(from_octets(octets), numbers & kept)


@pytest.mark.parametrize(("bits", "count"), [(2, 6), (23, 4), (24, 3), (28, 3), (32, 2)])
def test_octets_hold_what_is_left_of_an_element(bits: int, count: int) -> None:
    assert octets_above(bits) == count


def test_bytes_may_stand_anywhere_in_a_frame() -> None:
    elements = np.arange(12, dtype=np.uint64).reshape(3, 4) << np.uint64(30)
    for place in (0, 1):
        frame = np.zeros(6 * 12 + place, np.uint8)
        there = frame[place:]
        there[:] = pack_elements(elements)
        assert np.array_equal(unpack_elements(there, elements.shape), elements)
        assert np.array_equal(add_packed(elements, there.reshape(3, -1)), 2 * elements)
        there[:] = thirds_of(elements).view(np.uint8).reshape(-1)
        assert np.array_equal(from_thirds(thirds_in(there, elements.shape)), elements)
