"""Compiled kernels of the private compare (Damgård, Geisler, Krøigaard, ACISP 2007, as in SecureNN's private compare).

All work on planes: for each row and each digit the values stand side by side, so that the inner loops vectorise.
A comparison of digit d with v is looked up by walking the planes of all v, which touches every one of them and
vectorises where an indexed load would not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import Words

Bytes = NDArray[np.uint8]
Packed = NDArray[np.uint32]


@compiled("void(uint32[:,::1], uint32, uint32, uint8[:,:,:,::1], uint8[:,:,:,::1])")
def _threshold_shares(values: Packed, digit_bits: int, modulus: int, shares: Bytes, out: Bytes) -> None:
    rows, digits, planes, size = shares.shape
    low = np.uint32((np.uint32(1) << digit_bits) - np.uint32(1))
    prime = np.uint8(modulus)
    for row in range(rows):
        for digit in range(digits):
            shift = np.uint32(np.uint32(digit) * digit_bits)
            for plane in range(planes):
                for i in range(size):
                    value = np.uint8((values[row, i] >> shift) & low)
                    above = np.uint8(value > plane)
                    difference = np.uint8(above + prime - shares[row, digit, plane, i])
                    out[row, digit, plane, i] = difference if difference < prime else np.uint8(difference - prime)


def threshold_shares(values: Packed, shares: Bytes, digit_bits: int, modulus: int) -> Bytes:
    """The other share of [digit > v] for every digit of ``values`` and every v but the largest.

    Args:
        values: (rows, n).
        shares: the first shares, (rows, digits, thresholds, n), below ``modulus``.

    Returns:
        Shares of the same shape: [digit > v] - shares, modulo ``modulus``.
    """
    out = np.empty_like(shares)
    _threshold_shares(values, digit_bits, modulus, shares, out)
    return out


@compiled("void(uint8[:,::1], uint8[::1], uint8, uint8[::1], uint8[::1])")
def _look_up(thresholds: Bytes, value: Bytes, one: int, less: Bytes, reached: Bytes) -> None:
    planes, size = thresholds.shape
    for i in range(size):
        less[i] = 0
        reached[i] = one  # [d > C - 1] for C = 0 is [d > -1] = 1
    for plane in range(planes):
        here = np.uint8(plane)
        after = np.uint8(plane + 1)
        for i in range(size):
            share = thresholds[plane, i]
            less[i] = share if value[i] == here else less[i]
            reached[i] = share if value[i] == after else reached[i]


@compiled("void(uint8[::1], uint8[::1], uint8[::1], uint8[::1], uint8, uint8, boolean, uint8[::1])")
def _test(
    less: Bytes, reached: Bytes, flip: Bytes, above: Bytes, one: int, prime: int, lowest: bool, term_out: Bytes
) -> None:
    for i in range(less.size):
        greater = np.uint8(one + prime - reached[i])
        greater = np.uint8(greater - prime) if greater >= prime else greater
        tested = greater if flip[i] else less[i]
        term = np.uint8(one + prime - tested)
        term = less[i] if lowest and flip[i] else term
        term = np.uint8(term + above[i])
        term = np.uint8(term - prime) if term >= prime else term
        term_out[i] = np.uint8(term - prime) if term >= prime else term
        total = np.uint8(less[i] + greater + above[i])
        total = np.uint8(total - prime) if total >= prime else total
        above[i] = np.uint8(total - prime) if total >= prime else total


@compiled("void(uint8[::1], uint8[::1], uint8[::1], boolean, uint32, uint32[::1])")
def _blind_onto(term: Bytes, multiplier: Bytes, mask: Bytes, first: bool, modulus: int, word: Packed) -> None:
    magic = np.uint32(65536 // modulus + 1)
    for i in range(term.size):
        added = np.uint32(mask[i]) if first else np.uint32(modulus - mask[i])
        wide = np.uint32(np.uint32(term[i]) * np.uint32(multiplier[i]) + added)
        digit = np.uint32(wide - ((wide * magic) >> np.uint32(16)) * modulus)
        word[i] = np.uint32(word[i] * modulus + digit)


@compiled("void(uint32[::1], uint8[::1], uint32[::1], int64)")
def _rotate(word: Packed, rotation: Bytes, powers: Packed, digits: int) -> None:
    for i in range(word.size):
        turn = np.int64(rotation[i])
        if turn:
            upper = word[i] // powers[digits - turn]
            word[i] = (word[i] - upper * powers[digits - turn]) * powers[turn] + upper


@compiled(
    "void(uint32[:,::1], boolean, uint32, uint32, uint8[:,:,:,::1], uint8[:,::1], uint8[:,:,::1], uint8[:,:,::1],"
    " uint8[:,::1], uint32[::1], uint32[:,::1])"
)
def _blinded_words(
    opened: Packed,
    first: bool,
    digit_bits: int,
    modulus: int,
    thresholds: Bytes,
    flip: Bytes,
    multipliers: Bytes,
    masks: Bytes,
    rotation: Bytes,
    powers: Packed,
    out: Packed,
) -> None:
    rows, digits, _, size = thresholds.shape
    low = np.uint32((np.uint32(1) << digit_bits) - np.uint32(1))
    prime: Any = np.uint8(modulus)
    one: Any = np.uint8(1) if first else np.uint8(0)
    value = np.empty(size, np.uint8)
    less = np.empty(size, np.uint8)
    reached = np.empty(size, np.uint8)
    above = np.empty(size, np.uint8)
    term = np.empty(size, np.uint8)
    for row in range(rows):
        for i in range(size):
            above[i] = 0
            out[row, i] = 0
        for digit in range(digits - 1, -1, -1):
            shift = np.uint32(np.uint32(digit) * digit_bits)
            for i in range(size):
                value[i] = np.uint8((opened[row, i] >> shift) & low)
            _look_up(thresholds[row, digit], value, one, less, reached)
            _test(less, reached, flip[row], above, one, prime, digit == 0, term)
            _blind_onto(term, multipliers[row, digit], masks[row, digit], first, modulus, out[row])
        _rotate(out[row], rotation[row], powers, digits)


def blinded_words(
    opened: Packed,
    first: bool,
    thresholds: Bytes,
    flip: Bytes,
    multipliers: Bytes,
    masks: Bytes,
    rotation: Bytes,
    digit_bits: int,
    modulus: int,
) -> Packed:
    """One server's message of the compare: its shares of s·u, masked by ±g and rotated, as base-p words.

    With C the opened value and R the dealt one, digit by digit from the top, less = [C < R], greater = [C > R]:

        flip = 0:  u_j = 1 - less_j + sum over i > j of (less_i + greater_i)
        flip = 1:  u_j = 1 - greater_j + the same sum, and u_0 = less_0 + the same sum

    A u_j is zero somewhere iff C < R (flip = 0), or iff R <= C (flip = 1).

    Args:
        opened: C, without its top bit, (rows, n).
        first: whether this is server0, which adds the constants and +g; server1 adds -g.
        thresholds: shares of [digit of R > v], (rows, digits, thresholds, n).
        flip: beta, (rows, n).
        multipliers: s, nonzero modulo p, (rows, digits, n).
        masks: g, modulo p, (rows, digits, n).
        rotation: below the number of digits, (rows, n).

    Returns:
        (rows, n) words whose base-p digits are the blinded shares.
    """
    digits = thresholds.shape[1]
    powers = np.array([modulus**digit for digit in range(digits)], np.uint32)
    out = np.empty(opened.shape, np.uint32)
    _blinded_words(
        opened, first, digit_bits, modulus, thresholds, flip, multipliers, masks, rotation, powers, out
    )
    return out


@compiled("void(uint32[::1], uint32[::1], int64, uint32, uint8[::1])")
def _any_zero_digit(left: Packed, right: Packed, digits: int, modulus: int, out: Bytes) -> None:
    size = left.size
    magic = np.uint64((np.uint64(1) << np.uint64(35)) // np.uint64(modulus) + np.uint64(1))
    a = left.copy()
    b = right.copy()
    for i in range(size):
        out[i] = 0
    for _ in range(digits):
        for i in range(size):
            quotient_a = np.uint32((np.uint64(a[i]) * magic) >> np.uint64(35))
            quotient_b = np.uint32((np.uint64(b[i]) * magic) >> np.uint64(35))
            total = np.uint32(a[i] - quotient_a * modulus + b[i] - quotient_b * modulus)
            out[i] |= np.uint8((total == 0) | (total == modulus))
            a[i] = quotient_a
            b[i] = quotient_b


def any_zero_digit(left: Packed, right: Packed, digits: int, modulus: int) -> Bytes:
    """Whether the sum modulo ``modulus`` of two words' digits is zero in any place: 0 or 1 for each value."""
    out = np.empty(left.shape, np.uint8)
    _any_zero_digit(left.reshape(-1), right.reshape(-1), digits, modulus, out.reshape(-1))
    return out


@compiled("void(uint64[::1], uint32[::1], int64, int64, uint32[::1])")
def _masked_quotient(z: Words, mask: Packed, shift: int, value_bits: int, out: Packed) -> None:
    keep = np.uint64((np.uint64(1) << np.uint64(value_bits)) - np.uint64(1))
    low = np.uint32((np.uint64(1) << np.uint64(value_bits - shift)) - np.uint64(1))
    for i in range(z.size):
        out[i] = np.uint32((np.uint32((z[i] & keep) >> np.uint64(shift)) + mask[i]) & low)


def masked_quotient(z: Words, mask: Packed, shift: int, value_bits: int) -> Packed:
    """A share reduced modulo 2^k and shifted right by f, plus a mask, modulo 2^(k - f).

    The sum of two such shares of z + 2^f - 1 is floor or ceil of z / 2^f (Escudero et al., CRYPTO 2020, who let the
    modulus shrink with the shift); there is no large error, only a wrap that the sign resolves.
    """
    out = np.empty(z.shape, np.uint32)
    _masked_quotient(z.reshape(-1), mask.reshape(-1), shift, value_bits, out.reshape(-1))
    return out


@compiled("void(uint32[::1], uint32[::1], int64, uint32[::1], uint32[::1])")
def _opened(mine: Packed, theirs: Packed, bits: int, opened: Packed, below_top: Packed) -> None:
    keep = (np.uint32(1) << np.uint32(bits)) - np.uint32(1)
    for i in range(mine.size):
        total = np.uint32((mine[i] + theirs[i]) & keep)
        opened[i] = total
        below_top[i] = total & (keep >> np.uint32(1))


def opened_sum(mine: Packed, theirs: Packed, bits: int) -> tuple[Packed, Packed]:
    """The sum of two shares modulo 2^bits, and what is below its top bit."""
    opened, below_top = np.empty(mine.shape, np.uint32), np.empty(mine.shape, np.uint32)
    _opened(mine.reshape(-1), theirs.reshape(-1), bits, opened.reshape(-1), below_top.reshape(-1))
    return opened, below_top


@compiled("void(uint32[:,::1], uint8[:,::1], uint8[:,::1], uint64[:,:,::1], boolean, int64, uint64[:,::1])")
def _selected(
    opened: Packed, answer: Bytes, flip: Bytes, dealt: Words, first: bool, bits: int, out: Words
) -> None:
    rows, size = opened.shape
    top = np.uint32(bits - 1)
    modulus = np.uint64(1) << np.uint64(bits)
    own = np.uint64(1) if first else np.uint64(0)
    one = np.uint64(1)
    for row in range(rows):
        for i in range(size):
            c = np.uint64(opened[row, i])
            upper = np.uint64(opened[row, i] >> top)
            lift = modulus * (one - upper)
            a = (one ^ upper) ^ np.uint64(flip[row, i]) ^ np.uint64(answer[row, i])
            value = own * c + lift * dealt[row, 0, i] - dealt[row, 1, i]
            chosen = c * dealt[row, 2, i] + lift * dealt[row, 4, i] - dealt[row, 3, i]
            out[row, i] += a * value + (one - (a << one)) * chosen


def add_selected(
    opened: Packed, answer: Bytes, flip: Bytes, dealt: Words, first: bool, bits: int, out: Words
) -> Words:
    """Add one server's share of ReLU(Z) onto ``out``.

    With C opened, G = 2^bits·(1 - C_top), T the dealer's answer and a = 1 ⊕ C_top ⊕ flip ⊕ T:

        y = a·(C + G·p - R) + (1 - 2a)·(C·tau + G·tau·p - tau·R)

    Args:
        opened: C, (rows, n).
        answer: T, (rows, n).
        flip: beta, (rows, n).
        dealt: shares of p, R, tau, tau·R, tau·p, (rows, 5, n).
        first: whether this is server0, which adds the public C.
        bits: kappa.
        out: (rows, n), changed in place.
    """
    _selected(opened, answer, flip, dealt, first, bits, out)
    return out
