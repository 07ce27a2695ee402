"""What goes on the wire comes back: 48-bit ring elements, and digits modulo a prime in one word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from syfr.protocol.channel import pack_bits, unpack_bits
from syfr.ring.packing import add_packed, pack_digits, pack_elements, unpack_digits, unpack_elements

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


@pytest.mark.parametrize(("count", "modulus"), [(9, 11), (1, 11), (2, 3), (3, 5), (2, 7), (8, 11)])
def test_digits_come_back(count: int, modulus: int) -> None:
    digits = np.random.default_rng(2).integers(0, modulus, (3, count, 7, 50)).astype(np.uint8)
    digits[0, :, 0, 0], digits[0, :, 0, 1] = 0, modulus - 1
    words = pack_digits(digits, modulus)
    places = sum(digits[:, place].astype(int) * modulus**place for place in range(count))
    assert np.array_equal(words, places)
    assert np.array_equal(unpack_digits(words, count, modulus), digits)


def test_the_digits_of_any_word_are_exact_and_below_the_modulus() -> None:
    # A worker's word need not be a sum of nine digits; every one must come apart without reaching beyond the table.
    edges = [0, 1, 10, 11, 11**9 - 1, 11**9, 2**32 - 1, 2**31, 2**32 - 11]
    multiples = [value for place in range(1, 10) for value in (11**place - 1, 11**place)]
    drawn = np.random.default_rng(3).integers(0, 2**32, 200_000).tolist()
    words = np.array(edges + multiples + drawn, np.uint32)
    digits = unpack_digits(words.reshape(1, 1, -1), 9, 11)
    expected = np.stack([words.astype(np.uint64) // 11**place % 11 for place in range(9)])
    assert np.array_equal(digits[0, :, 0], expected)


@given(arrays.arrays(np.uint8, some.tuples(some.integers(1, 4), some.integers(1, 40)), elements=some.integers(0, 1)))
def test_bits_come_back_row_by_row(bits: NDArray[np.uint8]) -> None:
    packed = pack_bits(bits)
    assert packed.shape == (bits.shape[0], (bits.shape[1] + 7) // 8)
    assert np.array_equal(unpack_bits(packed, bits.shape[1]), bits)
