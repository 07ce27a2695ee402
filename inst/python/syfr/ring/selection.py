"""Compiled kernels around the compare of a ReLU: shares truncated and opened, and the share that its answer selects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import Words

Bytes = NDArray[np.uint8]
Packed = NDArray[np.uint32]


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
