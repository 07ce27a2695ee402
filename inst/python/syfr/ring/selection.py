"""Compiled kernels around the compare of a ReLU: shares truncated and opened, and the share that its answer selects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import Words

Bytes = NDArray[np.uint8]
Packed = NDArray[np.uint32]
Thirds = NDArray[np.uint16]


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


@compiled("uint64(uint16, uint16, uint16)")
def _whole(low: np.uint16, middle: np.uint16, high: np.uint16) -> np.uint64:
    """An element from its thirds."""
    return np.uint64(low) | (np.uint64(middle) << np.uint64(16)) | (np.uint64(high) << np.uint64(32))


@compiled("void(uint32[:,::1], uint8[:,::1], int64, uint16[:,:,:,::1])")
def _deal_selection(masks: Packed, tau: Bytes, bits: int, shares: Thirds) -> None:
    rows, size = masks.shape
    for row in range(rows):
        for what in range(shares.shape[2]):
            # tau·(p or R) for the last two, in the order of DEALT.
            product = what > 2
            for i in range(size):
                r, t = np.uint64(masks[row, i]), np.uint64(tau[row, i])
                p = r >> np.uint64(bits - 1)
                value = r if what == 1 or what == 3 else p
                value = t if what == 2 else value
                value = value * t if product else value
                value -= _whole(shares[row, 0, what, i], shares[row, 1, what, i], shares[row, 2, what, i])
                shares[row, 0, what, i] = np.uint16(value)
                shares[row, 1, what, i] = np.uint16(value >> np.uint64(16))
                shares[row, 2, what, i] = np.uint16(value >> np.uint64(32))


def deal_selection(masks: Packed, tau: Bytes, bits: int, shares: Thirds) -> Thirds:
    """The other shares of what :func:`add_selected` needs, in place of the first ones.

    Args:
        masks: R, (rows, n), of ``bits`` bits; p is the top one.
        tau: (rows, n), 0 or 1.
        shares: the first shares of p, R, tau, tau·R, tau·p modulo 2^48, (rows, 3, 5, n); changed in place.
    """
    _deal_selection(masks, tau, bits, shares)
    return shares


@compiled("void(uint32[:,::1], uint8[:,::1], uint8[:,::1], uint16[:,:,:,::1], boolean, int64, uint64[:,::1])")
def _selected(
    opened: Packed, answer: Bytes, flip: Bytes, dealt: Thirds, first: bool, bits: int, out: Words
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
            p = _whole(dealt[row, 0, 0, i], dealt[row, 1, 0, i], dealt[row, 2, 0, i])
            r = _whole(dealt[row, 0, 1, i], dealt[row, 1, 1, i], dealt[row, 2, 1, i])
            tau = _whole(dealt[row, 0, 2, i], dealt[row, 1, 2, i], dealt[row, 2, 2, i])
            tau_r = _whole(dealt[row, 0, 3, i], dealt[row, 1, 3, i], dealt[row, 2, 3, i])
            tau_p = _whole(dealt[row, 0, 4, i], dealt[row, 1, 4, i], dealt[row, 2, 4, i])
            value = own * c + lift * p - r
            chosen = c * tau + lift * tau_p - tau_r
            out[row, i] += a * value + (one - (a << one)) * chosen


def add_selected(
    opened: Packed, answer: Bytes, flip: Bytes, dealt: Thirds, first: bool, bits: int, out: Words
) -> Words:
    """Add one server's share of ReLU(Z) onto ``out``.

    With C opened, G = 2^bits·(1 - C_top), T the dealer's answer and a = 1 ⊕ C_top ⊕ flip ⊕ T:

        y = a·(C + G·p - R) + (1 - 2a)·(C·tau + G·tau·p - tau·R)

    Args:
        opened: C, (rows, n).
        answer: T, (rows, n).
        flip: beta, (rows, n).
        dealt: shares of p, R, tau, tau·R, tau·p modulo 2^48, (rows, 3, 5, n): see packing.py.
        first: whether this is server0, which adds the public C.
        bits: kappa.
        out: (rows, n), changed in place.
    """
    _selected(opened, answer, flip, dealt, first, bits, out)
    return out
