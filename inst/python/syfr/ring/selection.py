"""Compiled kernels around a compare and an answer: shares truncated, opened, selected; the parts of an answer added."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import Words
from syfr.ring.packing import Octets, Thirds

Bytes = NDArray[np.uint8]
Packed = NDArray[np.uint32]
Reals = NDArray[np.float64]

CHUNK = 2048
"""Values that are worked on at a time, so that what is made of them on the way is in the nearest cache."""


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


@compiled("void(uint32[::1], uint32[::1], int64, float64, float64[::1])")
def _summed_parts(first: Packed, second: Packed, bits: int, unit: float, out: Reals) -> None:
    shift = np.int64(64 - bits)
    for i in range(out.size):
        total = np.uint64(first[i]) + np.uint64(second[i])
        out[i] = np.float64(np.int64(total << np.uint64(shift)) >> shift) * unit


def summed_parts(first: Packed, second: Packed, bits: int, unit: float) -> Reals:
    """Both parts of an answer added modulo 2^bits and read signed, in units of ``unit``."""
    out = np.empty(first.shape, np.float64)
    _summed_parts(first.reshape(-1), second.reshape(-1), bits, unit, out.reshape(-1))
    return out


@compiled("uint64(uint16, uint16, uint16)")
def _whole(low: np.uint16, middle: np.uint16, high: np.uint16) -> np.uint64:
    """An element from its thirds."""
    return np.uint64(low) | (np.uint64(middle) << np.uint64(16)) | (np.uint64(high) << np.uint64(32))


@compiled("uint64(uint8[:,:,:,::1], int64, int64, int64)")
def _number(octets: Octets, row: int, what: int, i: int) -> np.uint64:
    """A number from its bytes, however many."""
    found = np.uint64(0)
    for part in range(octets.shape[1]):
        found |= np.uint64(octets[row, part, what, i]) << np.uint64(8 * part)
    return found


@compiled("void(uint64[::1], int64, int64, int64, uint8[:,:,:,::1])")
def _subtract(numbers: Words, row: int, what: int, begin: int, octets: Octets) -> None:
    """Put the numbers less what the octets hold in its place. Three bytes, as there usually are, go side by side."""
    if octets.shape[1] == 3:
        end = begin + numbers.size
        low, middle = octets[row, 0, what, begin:end], octets[row, 1, what, begin:end]
        high = octets[row, 2, what, begin:end]
        for j in range(numbers.size):
            share = np.uint32(low[j]) | (np.uint32(middle[j]) << np.uint32(8)) | (np.uint32(high[j]) << np.uint32(16))
            value = np.uint32(numbers[j]) - share
            low[j] = np.uint8(value)
            middle[j] = np.uint8(value >> np.uint32(8))
            high[j] = np.uint8(value >> np.uint32(16))
    else:
        for j in range(numbers.size):
            value = numbers[j] - _number(octets, row, what, begin + j)
            for part in range(octets.shape[1]):
                octets[row, part, what, begin + j] = np.uint8(value >> np.uint64(8 * part))


@compiled("void(uint32[:,::1], uint8[:,::1], uint8[:,::1], int64, uint16[:,:,:,::1], uint8[:,:,:,::1])")
def _deal_selection(masks: Packed, wraps: Bytes, tau: Bytes, bits: int, whole: Thirds, lifted: Octets) -> None:
    rows, size = masks.shape
    numbers = np.empty((3, CHUNK), np.uint64)
    for row in range(rows):
        for what in range(2):
            for i in range(size):
                t = np.uint64(tau[row, i])
                value = t * np.uint64(masks[row, i]) if what == 1 else t
                value -= _whole(whole[row, 0, what, i], whole[row, 1, what, i], whole[row, 2, what, i])
                whole[row, 0, what, i] = np.uint16(value)
                whole[row, 1, what, i] = np.uint16(value >> np.uint64(16))
                whole[row, 2, what, i] = np.uint16(value >> np.uint64(32))
        for begin in range(0, size, CHUNK):
            end = min(size, begin + CHUNK)
            some, turned, hiding = masks[row, begin:end], wraps[row, begin:end], tau[row, begin:end]
            for j in range(end - begin):
                top = np.uint64(some[j]) >> np.uint64(bits - 1)
                numbers[0, j] = top
                numbers[1, j] = np.uint64(turned[j])
                numbers[2, j] = top * np.uint64(hiding[j])
            for what in range(3):
                _subtract(numbers[what, : end - begin], row, what, begin, lifted)


def deal_selection(
    masks: Packed, wraps: Bytes, tau: Bytes, bits: int, whole: Thirds, lifted: Octets
) -> tuple[Thirds, Octets]:
    """The other shares of what :func:`add_selected` needs, in place of the first ones.

    Args:
        masks: R, (rows, n), of ``bits`` bits; p is the top one.
        wraps: w, (rows, n): whether R_0 + R_1 is R + 2^bits.
        tau: (rows, n), 0 or 1.
        whole: the first shares of tau and tau·R modulo 2^48, (rows, 3, 2, n); changed in place.
        lifted: the first shares of p, w, tau·p, (rows, bytes, 3, n): see packing.py; changed in place.
    """
    _deal_selection(masks, wraps, tau, bits, whole, lifted)
    return whole, lifted


@compiled("void(uint8[:,:,:,::1], int64, int64, uint64[:,::1])")
def _three_numbers(octets: Octets, row: int, begin: int, out: Words) -> None:
    """The three numbers of the next values of a row, from ``begin`` on."""
    for what in range(3):
        low, middle = octets[row, 0, what, begin : begin + CHUNK], octets[row, 1, what, begin : begin + CHUNK]
        if octets.shape[1] == 3:
            high = octets[row, 2, what, begin : begin + CHUNK]
            for j in range(low.size):
                lower = np.uint64(low[j]) | (np.uint64(middle[j]) << np.uint64(8))
                out[what, j] = lower | (np.uint64(high[j]) << np.uint64(16))
        else:
            for j in range(low.size):
                out[what, j] = _number(octets, row, what, begin + j)


@compiled(
    "void(uint32[:,::1], uint8[:,::1], uint8[:,::1], uint32[:,::1], uint16[:,:,:,::1], uint8[:,:,:,::1],"
    " boolean, int64, uint64[:,::1])"
)
def _selected(
    opened: Packed,
    answer: Bytes,
    flip: Bytes,
    mask: Packed,
    whole: Thirds,
    lifted: Octets,
    first: bool,
    bits: int,
    out: Words,
) -> None:
    rows, size = opened.shape
    own = np.uint64(1) if first else np.uint64(0)
    numbers = np.empty((3, CHUNK), np.uint64)
    for row in range(rows):
        for begin in range(0, size, CHUNK):
            end = min(size, begin + CHUNK)
            _three_numbers(lifted, row, begin, numbers)
            public, known, turned = opened[row, begin:end], answer[row, begin:end], flip[row, begin:end]
            r, sums = mask[row, begin:end], out[row, begin:end]
            t0, t1, t2 = whole[row, 0, 0, begin:end], whole[row, 1, 0, begin:end], whole[row, 2, 0, begin:end]
            s0, s1, s2 = whole[row, 0, 1, begin:end], whole[row, 1, 1, begin:end], whole[row, 2, 1, begin:end]
            for j in range(end - begin):
                c, one = np.uint64(public[j]), np.uint64(1)
                below = one ^ (c >> np.uint64(bits - 1))
                a = below ^ np.uint64(turned[j]) ^ np.uint64(known[j])
                tau, tau_r = _whole(t0[j], t1[j], t2[j]), _whole(s0[j], s1[j], s2[j])
                value = own * c - np.uint64(r[j]) + ((below * numbers[0, j] + numbers[1, j]) << np.uint64(bits))
                chosen = c * tau - tau_r + ((below * numbers[2, j]) << np.uint64(bits))
                sums[j] += a * value + (one - (a << one)) * chosen


def add_selected(
    opened: Packed,
    answer: Bytes,
    flip: Bytes,
    mask: Packed,
    whole: Thirds,
    lifted: Octets,
    first: bool,
    bits: int,
    out: Words,
) -> Words:
    """Add one server's share of ReLU(Z), modulo 2^48, onto ``out``.

    With C opened, G = 2^bits·(1 - C_top), T the dealer's answer and a = 1 ⊕ C_top ⊕ flip ⊕ T:

        y = a·(C + G·p - R) + (1 - 2a)·(C·tau + G·tau·p - tau·R)

    Each server knows its R_i, and R = R_0 + R_1 - 2^bits·w. What is multiplied by 2^bits is shared in the few bits
    that are then left of 2^48.

    Args:
        opened: C, (rows, n).
        answer: T, (rows, n).
        flip: beta, (rows, n).
        mask: R_i, (rows, n).
        whole: shares of tau and tau·R modulo 2^48, (rows, 3, 2, n): see packing.py.
        lifted: shares of p, w, tau·p, (rows, bytes, 3, n): see packing.py.
        first: whether this is server0, which adds the public C.
        bits: kappa.
        out: (rows, n), changed in place.
    """
    _selected(opened, answer, flip, mask, whole, lifted, first, bits, out)
    return out
