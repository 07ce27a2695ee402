"""Fixed point: numbers go in and come out, and formats that the kernels cannot serve are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from layouts import signed
from syfr.errors import ProtocolError
from syfr.ring.compare import MAX_WIDTH, digit_widths
from syfr.ring.fixedpoint import MAX_COMPARED_BITS, Precision, rounded, top_and_rest


@given(some.floats(-8_000, 8_000), some.integers(1, 20), some.integers(1, 2))
def test_a_number_comes_back_within_half_a_unit(number: float, fraction_bits: int, scale: int) -> None:
    precision = Precision(fraction_bits)
    elements = precision.encode(np.array([number]), scale)
    assert elements.dtype == np.uint64
    assert abs(precision.decode(elements, scale)[0] - number) <= 0.5 * 2.0 ** (-scale * fraction_bits)


def test_numbers_are_twos_complement_and_rounded_to_nearest() -> None:
    encoded = Precision(2).encode(np.array([[0.0, 1.0, -1.0], [0.3, -0.3, 0.4]]))
    assert encoded.view(np.int64).tolist() == [[0, 4, -4], [1, -1, 2]]
    assert Precision(2).encode(np.array([0.3]), scale=2).tolist() == [5]
    assert encoded.flags.c_contiguous


@pytest.mark.parametrize("bits", [1, 2, 3, 28, 48, 63, 64])
def test_low_bits_are_read_signed(bits: int) -> None:
    low = np.random.default_rng(4).integers(0, 2**64, 1_000, np.uint64)
    low[:4] = 0, 2 ** (bits - 1) - 1, 2 ** (bits - 1), 2**bits - 1
    expected = [(int(v) % 2**bits + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for v in low]
    assert signed(low, bits).view(np.int64).tolist() == expected


@pytest.mark.parametrize("bits", [1, 2, 20, 28, 32])
def test_a_top_bit_and_what_is_below_it_make_the_number(bits: int) -> None:
    numbers = np.random.default_rng(5).integers(0, 2**bits, 500, np.uint32)
    numbers[:3] = 0, 2 ** (bits - 1), 2**bits - 1
    top, rest = top_and_rest(numbers, bits)
    assert top.dtype == np.uint8
    assert rest.dtype == np.uint32
    expected = [divmod(int(number), 2 ** (bits - 1)) for number in numbers]
    assert list(zip(top.tolist(), rest.tolist(), strict=True)) == expected


def test_the_parts_of_a_format_fit_together() -> None:
    default = Precision()
    default.check()
    assert (default.truncated_bits, default.digits) == (28, 6)
    assert max(digit_widths(MAX_COMPARED_BITS, default.digits)) <= MAX_WIDTH
    assert default.largest == (2**41 - 2**14) / 2**28


def test_only_formats_that_the_kernels_support_pass() -> None:
    passed = set()
    for fraction_bits in range(-2, 50):
        for value_bits in range(-2, 70):
            try:
                Precision(fraction_bits, value_bits).check()
            except ProtocolError:
                continue
            passed.add((fraction_bits, value_bits))
    assert passed == {(f, k) for k in range(1, 47) for f in range(1, k) if 2 <= k - f <= 28}
    for wrong in ({"digits": 0}, {"digits": 5}, {"digits": 7}):
        with pytest.raises(ProtocolError):
            replace(Precision(), **wrong).check()


def test_rounding_errors_cancel_over_places() -> None:
    values = np.random.default_rng(4).normal(0.0, 1.0, (6, 5, 3, 2))
    unit = 2.0**-8
    apart, together = rounded(values, 8), rounded(values, 8, 30)
    for found in (apart, together):
        assert np.array_equal(found, np.rint(found / unit) * unit)
    assert np.abs(apart - values).max() <= unit / 2
    assert np.abs(together - values).max() <= unit
    assert np.abs((together - values).sum(axis=(0, 1))).max() <= unit / 2 * (1 + 1e-9)
    assert np.abs((apart - values).sum(axis=(0, 1))).max() > unit / 2
