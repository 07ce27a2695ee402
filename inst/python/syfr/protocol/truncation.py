"""Truncation alone, in two message delays, for a linear layer that no ReLU follows.

The layer's constant lifts z by 2^(k - 2), so that Z + 2^(kappa - 2) is not negative; then, as in relu.py, C is opened
and Z = C - R + G·p - 2^(kappa - 2) with R = R_0 + R_1 - 2^kappa·w. Needs -2^(k - 2) <= z < 2^(k - 2): one bit more
room than ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syfr.protocol.answer import swap_masked
from syfr.protocol.channel import Array, Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import Role
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Precision, Words
from syfr.ring.packing import from_octets, octets_above, to_octets
from syfr.ring.selection import masked_quotient
from syfr.ring.streams import Source

DEALT = 2
"""Shares dealt for each value: p and w, which are only multiplied by 2^kappa."""


@dataclass(frozen=True, repr=False)
class Prepared:
    """What server0 or server1 has ready: R_i (rows, n), shares of p and w (rows, 2, n), lambda'_i (rows, n)."""

    mask: NDArray[np.uint32]
    dealt: Words
    next_mask: Words


def cost(values: int, precision: Precision) -> Cost:
    """For one row of ``values`` values."""
    return Cost(2, 2 * values * (4 + WIRE_BYTES), values * DEALT * octets_above(precision.truncated_bits))


def deal(shape: tuple[int, int], precision: Precision, with0: Source, with1: Source) -> list[Array]:
    """The dealer's arrays for server1; it keeps nothing."""
    kappa = precision.truncated_bits
    total = with0.integers("R", shape, kappa) + with1.integers("R", shape, kappa)
    top = total >> np.uint32(kappa - 1) & np.uint32(1)
    dealt = np.stack([top, total >> np.uint32(kappa)], axis=1).astype(np.uint64) - _draw_dealt(with0, shape, kappa)
    return [to_octets(dealt, octets_above(kappa)).reshape(shape[0], -1)]


def dealt_like(shape: tuple[int, int], precision: Precision) -> list[Like]:
    """The arrays that :func:`deal` sends."""
    return [Like("uint8", (shape[0], octets_above(precision.truncated_bits) * DEALT * shape[1]))]


def prepare(
    shape: tuple[int, int], precision: Precision, with_dealer: Source, next_mask: Words, message: list[Array] | None
) -> Prepared:
    """The part of server0 (``message`` is None) or server1 (what the dealer sent)."""
    kappa = precision.truncated_bits
    mask = with_dealer.integers("R", shape, kappa)
    if message is None:
        dealt = _draw_dealt(with_dealer, shape, kappa)
    else:
        dealt = from_octets(message[0].reshape(shape[0], octets_above(kappa), DEALT, shape[1]))
    return Prepared(mask, dealt, next_mask)


def _draw_dealt(with_dealer: Source, shape: tuple[int, int], kappa: int) -> Words:
    return from_octets(with_dealer.octets("dealt", (shape[0], DEALT, shape[1]), octets_above(kappa)))


async def online(
    channel: Channel, transcript: Transcript, number: int, precision: Precision, ready: Prepared, z: Words
) -> Words:
    """server0 and server1: from additive shares of z (rows, n) to the masked value Z + lambda', (rows, n)."""
    kappa = precision.truncated_bits
    mine = masked_quotient(z, ready.mask, precision.fraction_bits, precision.value_bits)
    opened = mine + await transcript.swap(channel, (number, "opened"), mine)
    opened &= np.uint32((1 << kappa) - 1)
    transcript.absorb(opened)
    below = np.uint64(1) - (opened >> np.uint32(kappa - 1))
    lifted = (below * ready.dealt[:, 0] + ready.dealt[:, 1]) << np.uint64(kappa)
    share = ready.next_mask + lifted - ready.mask
    if channel.role is Role.SERVER0:
        share += opened.astype(np.uint64) - np.uint64(1 << (kappa - 2))
    return await swap_masked(channel, transcript, number, share)
