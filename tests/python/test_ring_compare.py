"""The kernels of the private compare against plain Python, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from syfr.ring.compare import (
    add_selected,
    any_zero_digit,
    blinded_words,
    masked_quotient,
    opened_sum,
    threshold_shares,
)
from syfr.ring.packing import unpack_digits

Array = NDArray[Any]
FORMATS = [(1, 1, 3), (2, 1, 5), (3, 1, 5), (2, 2, 3), (2, 3, 5), (3, 2, 7), (9, 3, 11)]
"""Number of digits, bits of a digit, prime."""


def draw(seed: int, low: int, high: int, shape: tuple[int, ...], kind: str) -> Array:
    """Random integers of a type."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(kind)


def digit(value: int, place: int, bits: int) -> int:
    """One digit of ``bits`` bits."""
    return value >> (place * bits) & ((1 << bits) - 1)


def some_pairs(digits: int, bits: int, size: int) -> tuple[Array, Array]:
    """Opened and dealt values: all pairs if there are few, else random ones and every relation at the edges."""
    top = 1 << (digits * bits)
    if top <= 64:
        both = np.indices((top, top)).reshape(2, 1, -1)
        return both[0].astype(np.uint32), both[1].astype(np.uint32)
    rng = np.random.default_rng(5)
    dealt = rng.integers(0, top, size)
    opened = np.where(rng.random(size) < 0.5, rng.integers(0, top, size), dealt + rng.integers(-1, 2, size))
    # Equal from some digit up: the relation is decided anywhere.
    shared = rng.integers(0, digits + 1, size) * bits
    opened = np.where(rng.random(size) < 0.3, opened % (1 << shared) | dealt >> shared << shared, opened)
    dealt[:6] = [0, 0, top - 1, top - 1, top - 1, 1]
    opened[:6] = [0, top - 1, 0, top - 1, top - 2, 0]
    return (opened % top)[None].astype(np.uint32), dealt[None].astype(np.uint32)


@pytest.mark.parametrize(("digits", "bits", "prime"), FORMATS)
def test_threshold_shares_sum_to_the_comparisons(digits: int, bits: int, prime: int) -> None:
    values = draw(1, 0, 1 << (digits * bits), (2, 300), "uint32")
    first = draw(2, 0, prime, (2, digits, (1 << bits) - 1, 300), "uint8")
    second = threshold_shares(values, first, bits, prime)
    assert int(second.max()) < prime
    total = (first.astype(int) + second) % prime
    for row, place, value, i in np.ndindex(*total.shape):
        assert total[row, place, value, i] == (digit(int(values[row, i]), place, bits) > value)


def plain_tests(opened: int, dealt: int, flip: int, digits: int, bits: int) -> list[int]:
    """u of one value, from the lowest digit up, as the docstring of the kernel writes it."""
    found = []
    above = 0
    for place in reversed(range(digits)):
        c, r = digit(opened, place, bits), digit(dealt, place, bits)
        less, greater = int(c < r), int(c > r)
        if flip and place == 0:
            found.append(less + above)
        else:
            found.append(1 - (greater if flip else less) + above)
        above += less + greater
    return found[::-1]


@pytest.mark.parametrize(("digits", "bits", "prime"), FORMATS)
def test_blinded_words_open_to_the_blinded_tests(digits: int, bits: int, prime: int) -> None:
    opened, dealt = some_pairs(digits, bits, 2_000)
    size = opened.shape[1]
    first_shares = draw(3, 0, prime, (1, digits, (1 << bits) - 1, size), "uint8")
    second_shares = threshold_shares(dealt, first_shares, bits, prime)
    flip = draw(4, 0, 2, (1, size), "uint8")
    multipliers = draw(5, 1, prime, (1, digits, size), "uint8")
    masks = draw(6, 0, prime, (1, digits, size), "uint8")
    rotation = draw(7, 0, digits, (1, size), "uint8")
    common = flip, multipliers, masks, rotation, bits, prime
    left = blinded_words(opened, True, first_shares, *common)
    right = blinded_words(opened, False, second_shares, *common)
    assert max(int(left.max()), int(right.max())) < prime**digits
    opened_digits = (
        unpack_digits(left[None], digits, prime).astype(int) + unpack_digits(right[None], digits, prime)
    )[0, :, 0] % prime
    found = any_zero_digit(left, right, digits, prime)
    for i in range(size):
        u = plain_tests(int(opened[0, i]), int(dealt[0, i]), int(flip[0, i]), digits, bits)
        blinded = [value * int(factor) % prime for value, factor in zip(u, multipliers[0, :, i], strict=True)]
        turn = int(rotation[0, i])
        assert opened_digits[:, i].tolist() == blinded[digits - turn :] + blinded[: digits - turn]
        # Sums stay below the prime, so a zero is a decision: one at most, and there iff C < R, or R <= C.
        assert max(u) < prime
        assert u.count(0) == ((opened[0, i] >= dealt[0, i]) if flip[0, i] else (opened[0, i] < dealt[0, i]))
        assert found[0, i] == u.count(0)


def test_the_masks_walk_each_word_through_all_digits_and_cancel() -> None:
    prime = 5
    masks = np.arange(prime, dtype=np.uint8).reshape(1, 1, -1)
    shares = np.ones((1, 1, 1, prime), np.uint8)
    none = np.zeros((1, prime), np.uint8)
    opened = none.astype(np.uint32)
    left, right = (
        blinded_words(opened, first, shares, none, shares[0], masks, none, 1, prime) for first in (True, False)
    )
    assert sorted(left[0].tolist()) == sorted(right[0].tolist()) == list(range(prime))
    assert len(set(((left + right) % prime)[0].tolist())) == 1


def test_a_zero_is_found_in_any_place_of_any_words() -> None:
    left, right = draw(8, 0, 2**32, (3, 5_000), "uint32"), draw(9, 0, 2**32, (3, 5_000), "uint32")
    left[0, :4], right[0, :4] = [0, 11**9 - 1, 2**32 - 1, 1], [0, 1, 2**32 - 1, 11**9 - 1]
    expected = np.zeros(left.shape, bool)
    for place in range(9):
        expected |= (left.astype(np.uint64) // 11**place + right.astype(np.uint64) // 11**place) % 11 == 0
    found = any_zero_digit(left, right, 9, 11)
    assert np.array_equal(found, expected)
    assert 0 < found.mean() < 1


@pytest.mark.parametrize(("fraction_bits", "value_bits"), [(1, 3), (2, 5), (14, 42), (14, 40), (18, 46), (1, 29)])
def test_quotients_are_reduced_shifted_and_masked(fraction_bits: int, value_bits: int) -> None:
    kappa = value_bits - fraction_bits
    z = np.random.default_rng(10).integers(0, 2**64, (3, 500), np.uint64)
    z[0, :4] = 0, 2**64 - 1, 2**value_bits - 1, 2**value_bits
    mask = draw(11, 0, 1 << kappa, (3, 500), "uint32")
    found = masked_quotient(z, mask, fraction_bits, value_bits)
    assert found.dtype == np.uint32
    for value, r, got in zip(z.reshape(-1).tolist(), mask.reshape(-1).tolist(), found.reshape(-1), strict=True):
        assert got == ((value % 2**value_bits >> fraction_bits) + r) % 2**kappa


@pytest.mark.parametrize("bits", [2, 3, 28])
def test_what_is_opened_is_the_sum_with_and_without_its_top_bit(bits: int) -> None:
    mine, theirs = (np.random.default_rng(seed).integers(0, 2**32, (3, 70), np.uint32) for seed in (17, 18))
    opened, below_top = opened_sum(mine, theirs, bits)
    total = (mine.astype(np.uint64) + theirs) % np.uint64(1 << bits)
    assert np.array_equal(opened, total)
    assert np.array_equal(below_top, total % np.uint64(1 << (bits - 1)))


@pytest.mark.parametrize("bits", [2, 3, 28])
def test_the_selected_share_is_the_formula(bits: int) -> None:
    shape = (2, 400)
    opened = draw(12, 0, 1 << bits, shape, "uint32")
    answer, flip = draw(13, 0, 2, shape, "uint8"), draw(14, 0, 2, shape, "uint8")
    dealt = np.random.default_rng(15).integers(0, 2**64, (2, 5, 400), np.uint64)
    onto = np.random.default_rng(16).integers(0, 2**64, shape, np.uint64)
    for first in (True, False):
        out = onto.copy()
        assert add_selected(opened, answer, flip, dealt, first, bits, out) is out
        for row, i in np.ndindex(*shape):
            c = int(opened[row, i])
            p, r, tau, tau_r, tau_p = (int(dealt[row, k, i]) for k in range(5))
            top = c >> (bits - 1)
            lift = (1 << bits) * (1 - top)
            a = 1 ^ top ^ int(flip[row, i]) ^ int(answer[row, i])
            # The public C is added by one of the two; C·tau is a product with a share and is added by both.
            value = (c if first else 0) + lift * p - r
            y = a * value + (1 - 2 * a) * (c * tau + lift * tau_p - tau_r)
            assert int(out[row, i]) == (int(onto[row, i]) + y) % 2**64
