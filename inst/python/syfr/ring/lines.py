"""A compiled kernel for functions that are linear between knots: a server's share of all their pieces, in one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syfr.ring.compiled import compiled
from syfr.ring.fixedpoint import Words

Bytes = NDArray[np.uint8]


@compiled(
    "void(uint64[:,::1], uint64[:,::1], uint8[:,:,::1], uint64[:,:,:,::1], uint64[::1], uint64[::1], uint64, uint64,"
    " boolean, boolean, uint64[:,::1])"
)
def _share_of_lines(
    masked: Words,
    mask: Words,
    bits: Bytes,
    dealt: Words,
    knots: Words,
    factors: Words,
    slope: np.uint64,
    constant: np.uint64,
    first: bool,
    products: bool,
    out: Words,
) -> None:
    none, one = np.uint64(0), np.uint64(1)
    for row in range(out.shape[0]):
        m, own, total = masked[row], mask[row], out[row]
        for i in range(total.size):
            total[i] = ((m[i] if first else none) - own[i]) * slope + constant
        for place in range(knots.size):
            a, tau, knot, factor = bits[row, place], dealt[row, 0, place], knots[place], factors[place]
            rest = dealt[row, dealt.shape[1] - 1, place]
            for i in range(total.size):
                bit = np.uint64(a[i])
                sign = one - (bit << one)
                if products:
                    distance = (m[i] - knot if first else none) - own[i]
                    total[i] += factor * (bit * distance + sign * (tau[i] * (m[i] - knot) - rest[i]))
                else:
                    total[i] += factor * ((bit if first else none) + sign * tau[i])


def share_of_lines(
    masked: Words,
    mask: Words,
    bits: Bytes,
    dealt: Words,
    knots: Words,
    factors: Words,
    slope: np.uint64,
    constant: np.uint64,
    first: bool,
) -> Words:
    """One server's share of slope·x + constant + sum of factor·g(x - knot).

    With a bit, a share of [x >= knot] is a + (1 - 2a)·tau; g is that bit, or its product with x - knot.

    Args:
        masked, mask: m and this server's lambda, (rows, n).
        bits: a for every knot, (rows, knots, n).
        dealt: shares of tau and, where g is a product, of tau·lambda, (rows, 1 or 2, knots, n).
        knots, factors: of each knot.
        first: whether this is server0, which adds what is public.

    Returns:
        (rows, n), a new array.
    """
    out = np.empty(masked.shape, np.uint64)
    public = constant if first else np.uint64(0)
    m, own = np.ascontiguousarray(masked), np.ascontiguousarray(mask)
    shares = np.ascontiguousarray(dealt)
    _share_of_lines(m, own, bits, shares, knots, factors, slope, public, first, dealt.shape[1] == 2, out)
    return out
