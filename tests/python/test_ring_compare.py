"""The kernels of the private compare against plain Python, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import blinded_elements
from layouts import draw, from_planes
from numpy.typing import NDArray
from syfr.ring.compare import (
    CHUNK,
    TURNS,
    any_zero,
    blinded,
    digit_widths,
    threshold_shares,
    thresholds_of,
)
from syfr.ring.planes import pack_bits, plane_bytes, to_planes, unpack_bits

Array = NDArray[Any]
FORMATS = [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (5, 1), (6, 3), (7, 4), (8, 6), (17, 4), (20, 5), (27, 6)]
"""Bits of a number, and its digits."""

POLYNOMIALS = {1: 0b11, 2: 0b111, 3: 0b1011, 4: 0b10011, 5: 0b100101, 6: 0b1000011}
"""What x^d is in GF(2^d), as a multiple of x^d + ..."""


def digits_of(value: int, widths: tuple[int, ...]) -> list[int]:
    """The digits of a number, the highest first."""
    found, left = [], sum(widths)
    for width in widths:
        left -= width
        found.append(value >> left & ((1 << width) - 1))
    return found


def times(a: int, b: int, degree: int) -> int:
    """The product of two elements of GF(2^d), their bits the powers of x."""
    product = 0
    for place in range(degree):
        product ^= (a << place) * (b >> place & 1)
    for place in range(2 * degree - 2, degree - 1, -1):
        product ^= (POLYNOMIALS[degree] << (place - degree)) * (product >> place & 1)
    return product


def some_pairs(bits: int, widths: tuple[int, ...], size: int) -> tuple[Array, Array]:
    """Opened and dealt values: all pairs if there are few, else random ones and every relation at the edges."""
    top = 1 << bits
    if top <= 64:
        both = np.indices((top, top)).reshape(2, 1, -1)
        return both[0].astype(np.uint32), both[1].astype(np.uint32)
    rng = np.random.default_rng(5)
    dealt = rng.integers(0, top, size)
    opened = np.where(rng.random(size) < 0.5, rng.integers(0, top, size), dealt + rng.integers(-1, 2, size))
    # Equal from some digit up: the relation is decided anywhere.
    shared = rng.choice(np.cumsum((0, *widths[::-1])), size)
    opened = np.where(rng.random(size) < 0.3, opened % (1 << shared) | dealt >> shared << shared, opened)
    dealt[:6] = [0, 0, top - 1, top - 1, top - 1, 1]
    opened[:6] = [0, top - 1, 0, top - 1, top - 2, 0]
    return (opened % top)[None].astype(np.uint32), dealt[None].astype(np.uint32)


def test_a_number_is_cut_into_digits_of_nearly_the_same_width() -> None:
    assert digit_widths(27, 6) == (5, 5, 5, 4, 4, 4)
    assert digit_widths(3, 2) == (2, 1)
    assert digit_widths(2, 6) == (1, 1)
    assert thresholds_of((5, 5, 5, 4, 4, 4)) == 138
    for bits, digits in FORMATS:
        widths = digit_widths(bits, digits)
        assert (sum(widths), len(widths)) == (bits, min(bits, digits))
        assert max(widths) - min(widths) <= 1


@pytest.mark.parametrize(("bits", "digits"), FORMATS)
def test_threshold_shares_sum_to_the_comparisons(bits: int, digits: int) -> None:
    widths = digit_widths(bits, digits)
    values = draw(1, 0, 1 << bits, (2, 300), "uint32")
    first = draw(2, 0, 256, (2, thresholds_of(widths), plane_bytes(300)), "uint8")
    second = threshold_shares(values, bits, widths, first)
    total = unpack_bits(first ^ second, 300)
    for row, i in np.ndindex(*values.shape):
        found = digits_of(int(values[row, i]), widths)
        expected = [digit > v for digit, width in zip(found, widths, strict=True) for v in range((1 << width) - 1)]
        assert total[row, :, i].tolist() == expected


def plain_tests(opened: int, dealt: int, flip: int, widths: tuple[int, ...]) -> list[int]:
    """u of one value, from the highest digit down, as the docstring of the kernel writes it."""
    found, sum_above = [], 0
    both = list(zip(digits_of(opened, widths), digits_of(dealt, widths), strict=True))
    for place, (c, r) in enumerate(both):
        less, greater = int(c < r), int(c > r)
        lowest = place == len(both) - 1
        own = less if flip and lowest else 1 - (greater if flip else less)
        found.append(own ^ sum_above)
        sum_above ^= (less + greater) << (place + 1)
    return found


def dual_to_powers(degree: int) -> dict[int, int]:
    """From the bits in which the kernels hold an element to its powers of x: a[n] = lowest bit of x^n times it."""
    found = {}
    for element in range(1 << degree):
        held, power = 0, element
        for place in range(degree):
            held |= (power & 1) << place
            power = times(power, 2, degree) if degree > 1 else power
        found[held] = element
    return found


@pytest.mark.parametrize(("bits", "digits"), FORMATS)
def test_blinded_elements_open_to_the_blinded_tests(bits: int, digits: int) -> None:
    widths = digit_widths(bits, digits)
    degree = len(widths)
    opened, dealt = some_pairs(bits, widths, 2_000)
    size = opened.shape[1]
    width = plane_bytes(size)
    first_shares = draw(3, 0, 256, (1, thresholds_of(widths), width), "uint8")
    second_shares = threshold_shares(dealt, bits, widths, first_shares)
    flip = draw(4, 0, 2, (1, size), "uint8")
    multipliers = draw(5, 1, 1 << degree, (1, degree, size), "uint8")
    masks = draw(6, 0, 256, (1, degree**2, width), "uint8")
    rotation = draw(7, 0, degree, (1, size), "uint8")
    common = pack_bits(flip), to_planes(multipliers, degree), masks, to_planes(rotation, TURNS)
    left = blinded(opened, bits, widths, True, first_shares, *common)
    right = blinded(opened, bits, widths, False, second_shares, *common)
    elements = from_planes((left ^ right).reshape(degree, degree, width), size)
    found = unpack_bits(any_zero(left, right, degree), size)
    powers = dual_to_powers(degree)
    assert len(powers) == 1 << degree
    for i in range(size):
        u = plain_tests(int(opened[0, i]), int(dealt[0, i]), int(flip[0, i]), widths)
        factors = [powers[int(factor)] for factor in multipliers[0, :, i]]
        expected = [times(value, factor, degree) for value, factor in zip(u, factors, strict=True)]
        turn = int(rotation[0, i])
        assert [powers[int(one)] for one in elements[:, i]] == expected[degree - turn :] + expected[: degree - turn]
        # A zero is a decision: one at most, and there iff C < R, or R <= C.
        assert u.count(0) == ((opened[0, i] >= dealt[0, i]) if flip[0, i] else (opened[0, i] < dealt[0, i]))
        assert found[0, i] == u.count(0)


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5, 6])
def test_multiplying_by_all_multipliers_reaches_every_element_but_zero_once(degree: int) -> None:
    # What the dealer must not tell apart: a product is uniform over all elements but zero, whichever the other factor.
    powers = dual_to_powers(degree)
    for value in range(1, 1 << degree):
        products = {times(value, powers[held], degree) for held in range(1, 1 << degree)}
        assert products == set(range(1, 1 << degree))


def test_the_masks_walk_each_message_through_all_elements_and_cancel() -> None:
    bits, widths, size = 2, (1, 1), 16
    masks = pack_bits((np.arange(size) >> np.arange(4)[:, None] & 1).astype(np.uint8))[None]
    shares = np.zeros((1, 2, 2), np.uint8)
    none = np.zeros((1, size), np.uint8)
    common = pack_bits(none), to_planes(np.ones((1, 2, size), np.uint8), 2), masks, to_planes(none, TURNS)
    left, right = (
        blinded(none.astype(np.uint32), bits, widths, first, shares, *common) for first in (True, False)
    )
    for message in (left, right):
        assert sorted(blinded_elements(message.reshape(1, -1), 2, size).reshape(-1).tolist()) == list(range(16))
    assert len(set(blinded_elements((left ^ right).reshape(1, -1), 2, size).reshape(-1).tolist())) == 1


def test_planes_longer_than_a_chunk_are_worked_on_to_their_end() -> None:
    bits, widths = 27, digit_widths(27, 6)
    size = 8 * (2 * CHUNK + 3) - 5
    opened, dealt = (draw(seed, 0, 1 << bits, (2, size), "uint32") for seed in (21, 22))
    width = plane_bytes(size)
    shares = draw(23, 0, 256, (2, 138, width), "uint8")
    flip = draw(24, 0, 2, (2, size), "uint8")
    common = (
        pack_bits(flip),
        to_planes(draw(25, 1, 64, (2, 6, size), "uint8"), 6),
        draw(26, 0, 256, (2, 36, width), "uint8"),
        to_planes(draw(27, 0, 6, (2, size), "uint8"), TURNS),
    )
    left = blinded(opened, bits, widths, True, shares, *common)
    right = blinded(opened, bits, widths, False, threshold_shares(dealt, bits, widths, shares), *common)
    assert np.array_equal(unpack_bits(any_zero(left, right, 6), size) ^ flip, opened < dealt)


def test_a_zero_is_found_in_any_place_of_any_messages() -> None:
    left, right = draw(8, 0, 256, (3, 36, 700), "uint8"), draw(9, 0, 256, (3, 36, 700), "uint8")
    right[0, :, 0] = left[0, :, 0]
    elements = blinded_elements((left ^ right).reshape(3, -1), 6, 5_600).reshape(3, -1)
    expected = np.zeros(elements.shape, bool)
    for place in range(6):
        expected |= (elements >> np.uint64(6 * place)) % np.uint64(64) == 0
    found = unpack_bits(any_zero(left, right, 6), 5_600)
    assert np.array_equal(found, expected)
    assert 0 < found.mean() < 1
