"""Compiled kernels of the private compare: which of two numbers is larger, a digit at a time, on shared bits.

Everything is bits of many values side by side (planes.py). A comparison of a digit with a public one is a choice among
the dealt bits [digit > v], made by halving: every bit of the public digit takes half of them away, so that no step
depends on a value and all work on whole planes.

Elements of GF(2^d) are d planes, in the basis that makes multiplying by x a step along a sequence (:func:`_multiply`);
d is the number of digits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled
from syfr.ring.planes import plane_bytes, to_planes

Bytes = NDArray[np.uint8]
Packed = NDArray[np.uint32]
Integers = NDArray[np.int64]
Place = np.uint64
"""Where something stands in a flat array; without a sign, or every index would be looked at for being negative."""

CHUNK = 512
"""Bytes of each plane that are worked on at a time, so that they are in the processor's nearest cache."""

MAX_WIDTH = 5
"""The most bits of a digit that the kernels have room for."""

TURNS = 3
"""Bits of a rotation, which is below the number of digits, at most six."""

# x^d = x^t + 1 in GF(2^d), for d = 1 to 6: the trinomials that are irreducible (Lidl and Niederreiter, Finite Fields,
# table C). For d = 1 there is no middle term: x = 1.
MIDDLE = (0, 0, 1, 1, 1, 2, 1)


@functools.cache
def digit_widths(bits: int, digits: int) -> tuple[int, ...]:
    """How many bits each digit of a number of ``bits`` bits has, the highest first; they differ by one at most."""
    digits = min(bits, digits)
    return tuple(bits // digits + (digit < bits % digits) for digit in range(digits))


@functools.cache
def thresholds_of(widths: tuple[int, ...]) -> int:
    """Comparisons dealt for one number: [digit > v] for every digit and every v but its largest."""
    return sum((1 << width) - 1 for width in widths)


@compiled("void(uint8[:,:,::1], int64[::1], uint8[:,:,::1], uint8[:,:,::1])")
def _threshold_shares(planes: Bytes, widths: Integers, shares: Bytes, out: Bytes) -> None:
    rows, bits, size = planes.shape
    for row in range(rows):
        first, top = 0, bits
        for width in widths:
            top -= width
            known = 0
            for place in range(width):
                for v in range(known):
                    for j in range(size):
                        out[row, first + known + 1 + v, j] = planes[row, top + place, j] & out[row, first + v, j]
                        out[row, first + v, j] |= planes[row, top + place, j]
                for j in range(size):
                    out[row, first + known, j] = planes[row, top + place, j]
                known = 2 * known + 1
            for plane in range(first, first + known):
                for j in range(size):
                    out[row, plane, j] ^= shares[row, plane, j]
            first += known


def threshold_shares(values: Packed, bits: int, widths: Sequence[int], shares: Bytes) -> Bytes:
    """The other share of [digit > v] for every digit of ``values`` and every v but the largest.

    Args:
        values: (rows, n), of ``bits`` bits.
        widths: the bits of each digit, the highest first.
        shares: the first shares, (rows, thresholds, ceil(n / 8)).

    Returns:
        Shares of the same shape: the digits of a row from the highest, of each v = 0, 1, ...
    """
    out = np.empty_like(shares)
    _threshold_shares(to_planes(values, bits), np.array(widths, np.int64), shares, out)
    return out


@compiled("void(uint8[::1], uint64, uint64, int64, uint8, uint8[::1], uint64, int64, uint8[:,:,::1])")
def _choose_dealt(
    dealt: Bytes,
    begin: Place,
    stride: Place,
    values: int,
    one: int,
    public: Bytes,
    bits: Place,
    size: int,
    out: Bytes,
) -> None:
    """The first halvings, of both choices: two at a time where the digit has two bits."""
    every = np.uint8(0xFF)
    step = 4 if values > 1 else 2
    second = bits + (stride if values > 1 else Place(0))
    for group in range((values + 1) // step):
        at = group * step
        # [digit > -1] is one, and [digit > v] zero for the largest v.
        start, keep_start = (one, np.uint8(0)) if group == 0 else (np.uint8(0), every)
        keep_end = np.uint8(0) if at + step > values else every
        before = begin + Place(max(at - 1, 0)) * stride
        here = begin + Place(at) * stride
        last = begin + Place(min(at + step - 1, values - 1)) * stride
        for j in range(size):
            i = Place(j)
            low, high = public[bits + i], public[second + i]
            v0 = (dealt[before + i] & keep_start) ^ start
            v1 = dealt[here + i]
            if step == 2:
                out[0, group, j] = v1 & ~low
                out[1, group, j] = v0 ^ (low & (v0 ^ v1))
            else:
                v2, v3 = dealt[here + stride + i], dealt[here + stride + stride + i]
                v4 = dealt[last + i] & keep_end
                below, above = v1 ^ (low & (v1 ^ v2)), v3 ^ (low & (v3 ^ v4))
                out[0, group, j] = below ^ (high & (below ^ above))
                below, above = v0 ^ (low & (v0 ^ v1)), v2 ^ (low & (v2 ^ v3))
                out[1, group, j] = below ^ (high & (below ^ above))


@compiled("int64(uint8[::1], uint64, uint64, int64, int64, uint8[:,:,:,::1])")
def _choose_rest(public: Bytes, bits: Place, stride: Place, count: int, size: int, work: Bytes) -> int:
    """The other halvings; returns where in ``work`` what is left stands first."""
    here = 0
    while count > 1:
        count //= 2
        for choice in range(2):
            for group in range(count):
                for j in range(size):
                    left = work[here, choice, 2 * group, j]
                    right = work[here, choice, 2 * group + 1, j]
                    work[1 - here, choice, group, j] = left ^ (public[bits + Place(j)] & (left ^ right))
        bits += stride
        here = 1 - here
    return here


@compiled("void(uint8[:,::1], int64, uint8[:,::1], int64, uint8[::1], uint64, uint64, int64, uint8[:,::1])")
def _multiply(
    bits: Bytes,
    digit: int,
    factor: Bytes,
    middle: int,
    masks: Bytes,
    begin: Place,
    stride: Place,
    size: int,
    out: Bytes,
) -> None:
    """The product of ``factor`` and the element of the first digit + 1 ``bits``, plus the mask of this digit.

    An element s stands as the d values of a sequence with a[n + d] = a[n + t] + a[n], so x·s is the sequence one place
    further (the dual basis).
    """
    degree = factor.shape[0] // 2
    for power in range(digit):
        for j in range(size):
            factor[degree + power, j] = factor[power, j] ^ (factor[power + middle, j] if middle else np.uint8(0))
    for m in range(degree):
        at = begin + Place(m) * stride
        for j in range(size):
            out[digit * degree + m, j] = masks[at + Place(j)] ^ (bits[0, j] & factor[m, j])
        for power in range(1, digit + 1):
            for j in range(size):
                out[digit * degree + m, j] ^= bits[power, j] & factor[m + power, j]


@compiled("void(uint8[:,::1], int64, uint8[::1], uint64, uint64, int64, uint8[:,::1], uint8[::1], uint64)")
def _rotate(
    elements: Bytes,
    degree: int,
    rotation: Bytes,
    begin: Place,
    stride: Place,
    size: int,
    work: Bytes,
    out: Bytes,
    to: Place,
) -> None:
    for plane in range(degree * degree):
        element, m = plane // degree, plane % degree
        one = (element - 1) % degree * degree + m
        two = (element - 2) % degree * degree + m
        three = (element - 3) % degree * degree + m
        for j in range(size):
            i = Place(j)
            low, high = rotation[begin + i], rotation[begin + stride + i]
            none = elements[plane, j] ^ (low & (elements[plane, j] ^ elements[one, j]))
            some = elements[two, j] ^ (low & (elements[two, j] ^ elements[three, j]))
            work[plane, j] = none ^ (high & (none ^ some))
    for plane in range(degree * degree):
        four = (plane // degree - 4) % degree * degree + plane % degree
        at = to + Place(plane) * stride
        for j in range(size):
            i = Place(j)
            out[at + i] = work[plane, j] ^ (rotation[begin + stride + stride + i] & (work[plane, j] ^ work[four, j]))


@compiled("void(int64, int64, uint8[:,:,::1], uint8, uint8[::1], uint64, int64, uint8[:,::1])")
def _terms(
    digit: int, degree: int, chosen: Bytes, one: int, flip: Bytes, begin: Place, size: int, terms: Bytes
) -> None:
    alike = 0 if digit == degree - 1 else 1
    for j in range(size):
        not_less = one ^ chosen[0, 0, j]
        terms[0, j] = not_less ^ (flip[begin + Place(j)] & (not_less ^ chosen[alike, 0, j]))
    if digit + 1 < degree:
        for j in range(size):
            terms[digit + 1, j] = one ^ chosen[0, 0, j] ^ chosen[1, 0, j]


@compiled(
    "void(uint8[::1], uint8, int64[::1], uint8[::1], uint8[::1], uint8[::1], uint8[::1], uint8[::1], int64,"
    " int64[::1], uint8[::1])"
)
def _blinded(
    opened: Bytes,
    one: int,
    widths: Integers,
    dealt: Bytes,
    flip: Bytes,
    multipliers: Bytes,
    masks: Bytes,
    rotation: Bytes,
    middle: int,
    sizes: Integers,
    out: Bytes,
) -> None:
    rows, bits, thresholds, width = sizes
    degree = widths.size
    squared = degree * degree
    stride = Place(width)
    room = min(CHUNK, width)
    chosen = np.empty((2, 2, 1 << (MAX_WIDTH - 2), room), np.uint8)
    terms = np.empty((degree, room), np.uint8)
    factor = np.empty((2 * degree, room), np.uint8)
    elements = np.empty((squared, room), np.uint8)
    work = np.empty((squared, room), np.uint8)
    for row in range(rows):
        for low in range(0, width, CHUNK):
            size = min(CHUNK, width - low)
            top, first = bits, 0
            for digit in range(degree):
                top -= widths[digit]
                values = (1 << widths[digit]) - 1
                public = Place((row * bits + top) * width + low)
                at = Place((row * thresholds + first) * width + low)
                _choose_dealt(dealt, at, stride, values, one, opened, public, size, chosen[0])
                taken = min(widths[digit], 2)
                left = (values + 1) >> taken
                here = _choose_rest(opened, public + Place(taken) * stride, stride, left, size, chosen)
                _terms(digit, degree, chosen[here], one, flip, Place(row * width + low), size, terms)
                for m in range(degree):
                    at = Place(((row * degree + digit) * degree + m) * width + low)
                    for j in range(size):
                        factor[m, j] = multipliers[at + Place(j)]
                at = Place((row * squared + digit * degree) * width + low)
                _multiply(terms, digit, factor, middle, masks, at, stride, size, elements)
                first += values
            begin = Place(row * TURNS * width + low)
            to = Place(row * squared * width + low)
            _rotate(elements, degree, rotation, begin, stride, size, work, out, to)


def blinded(
    opened: Packed,
    bits: int,
    widths: Sequence[int],
    first: bool,
    thresholds: Bytes,
    flip: Bytes,
    multipliers: Bytes,
    masks: Bytes,
    rotation: Bytes,
) -> Bytes:
    """One server's message of the compare: its shares of s·u in GF(2^d), masked by g and rotated.

    With C the opened value and R the dealt one, less = [C < R] and greater = [C > R] of digit j, the highest being 0:

        flip = 0:  u_j = (1 + less_j) + sum over i < j of x^(i + 1)·(less_i + greater_i)
        flip = 1:  u_j = (1 + greater_j) + the same sum, but for the lowest digit: less_j + the same sum

    The powers of x are independent over bits, so u_j is zero only where every bit in it is. That is so for one j at
    most: iff C < R (flip = 0), or iff R <= C (flip = 1).

    Args:
        opened: C, (rows, n), of ``bits`` bits.
        widths: the bits of each of the d digits, the highest first.
        first: whether this is server0, which adds the constants.
        thresholds: shares of [digit of R > v], (rows, thresholds, ceil(n / 8)).
        flip: beta, (rows, ceil(n / 8)).
        multipliers: s, nonzero, (rows, d, d, ceil(n / 8)).
        masks: g, the same for both servers, (rows, d·d, ceil(n / 8)).
        rotation: below d, its bits from the lowest, (rows, 3, ceil(n / 8)).

    Returns:
        (rows, d·d, ceil(n / 8)), the digits one after the other.
    """
    degree = len(widths)
    rows, width = opened.shape[0], plane_bytes(opened.shape[1])
    out = np.empty((rows, degree * degree, width), np.uint8)
    _blinded(
        to_planes(opened, bits).reshape(-1),
        0xFF if first else 0,
        np.array(widths, np.int64),
        thresholds.reshape(-1),
        flip.reshape(-1),
        multipliers.reshape(-1),
        masks.reshape(-1),
        rotation.reshape(-1),
        MIDDLE[degree],
        np.array([rows, bits, thresholds.shape[1], width], np.int64),
        out.reshape(-1),
    )
    return out


@compiled("void(uint8[:,:,::1], uint8[:,:,::1], int64, uint8[:,::1])")
def _any_zero(left: Bytes, right: Bytes, degree: int, out: Bytes) -> None:
    rows, planes, size = left.shape
    seen = np.empty(size, np.uint8)
    for row in range(rows):
        for j in range(size):
            out[row, j] = 0
        for element in range(0, planes, degree):
            for j in range(size):
                seen[j] = left[row, element, j] ^ right[row, element, j]
            for plane in range(element + 1, element + degree):
                for j in range(size):
                    seen[j] |= left[row, plane, j] ^ right[row, plane, j]
            for j in range(size):
                out[row, j] |= ~seen[j]


def any_zero(left: Bytes, right: Bytes, degree: int) -> Bytes:
    """Whether any element of the sum of two messages, (rows, d·d, bytes), is zero: a plane a row, (rows, bytes)."""
    out = np.empty((left.shape[0], left.shape[2]), np.uint8)
    _any_zero(left, right, degree, out)
    return out
