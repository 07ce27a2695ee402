"""Truncation and ReLU in four message delays, or in three.

server0 and server1 hold additive shares of z + 2^f - 1 (scale 2f) and want ReLU(floor or ceil of z / 2^f), masked.

1. *Truncate, then swap.* Each reduces its share modulo 2^k, shifts it right by f and adds R_i; both learn
   C = Z + R modulo 2^kappa, the dealer knows R. With p the top bit of R, and C', R' what is below the top bits:
   sign(Z) = C_top xor p xor [C' < R'], and for Z >= 0: Z = C + G·p - R with G = 2^kappa·(1 - C_top).
   R is shared already but for w = [R_0 + R_1 >= 2^kappa]: R = R_0 + R_1 - 2^kappa·w.
2. *Private compare* (compare.py): the dealer learns beta' = [C' < R'] xor beta, a uniform bit.
3. *Answer.* The dealer sends both T = p xor beta' xor tau, with tau a fresh bit of its own, which hides the sign.
4. *Swap y + lambda'*, the masked value that the next layer reads. (In three delays: answer.py.)

The truncation descends from Escudero et al., CRYPTO 2020; the compare from SecureNN (PoPETs 2019), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syfr.protocol import answer, compare
from syfr.protocol.channel import Array, Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import Role
from syfr.protocol.transcript import DIGEST_BYTES, Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Precision, Words, top_and_rest
from syfr.ring.packing import Octets, Thirds, octets_above, thirds_in
from syfr.ring.planes import pack_bits, unpack_bits
from syfr.ring.selection import add_selected, deal_selection, masked_quotient, opened_sum
from syfr.ring.streams import Bytes, Source

Packed = NDArray[np.uint32]

WHOLE, LIFTED = 2, 3
"""Shares dealt for each value beside the comparisons: tau and tau·R modulo 2^48; p, w and tau·p, which are only ever
multiplied by 2^kappa, in as many bytes as are then left of 2^48."""


@dataclass(frozen=True, repr=False)
class Prepared(compare.Prepared):
    """What server0 or server1 has ready for n values a row; all arrays have the rows first.

    Attributes:
        mask: R_i, (rows, n).
        whole: shares of tau and tau·R, (rows, 3, 2, n); see ring/packing.py.
        lifted: shares of p, w and tau·p, (rows, bytes, 3, n).
        next_mask: lambda'_i of the result, (rows, n).
        pads: see answer.py; None in the form of four delays.
    """

    mask: Packed
    whole: Thirds
    lifted: Octets
    next_mask: Words
    pads: Words | None = None


@dataclass(frozen=True, repr=False)
class Dealt:
    """What the dealer keeps for n values a row: p xor tau, a plane a row, and the pads of both servers, if any."""

    answer_mask: Bytes
    pads: tuple[Words, Words] | None = None


def cost(values: int, precision: Precision, padded: bool = False) -> Cost:
    """For one row of ``values`` values; the hashes of the two swaps are counted once a query in :func:`hash_bytes`."""
    opening = Cost(1, 2 * values * 4, values * dealt_bytes(precision))
    compared = compare.cost(values, precision.compared_bits, precision)
    return opening + compared + answer.cost(values, padded)


def dealt_bytes(precision: Precision) -> int:
    """Bytes dealt for one value beside the comparisons."""
    return WIRE_BYTES * WHOLE + octets_above(precision.truncated_bits) * LIFTED


def row_bytes(values: int, precision: Precision) -> int:
    """Memory of one prepared row, in bytes: the compare's, R, what is dealt, the mask."""
    return compare.row_bytes(values, precision.compared_bits, precision) + values * (4 + dealt_bytes(precision) + 8)


def hash_bytes() -> int:
    """Bytes of the running hash in the swaps of one step, whatever the number of rows."""
    return 4 * DIGEST_BYTES


def deal(
    shape: tuple[int, int], precision: Precision, with0: Source, with1: Source, own: Source, padded: bool = False
) -> tuple[Dealt, list[Array]]:
    """The dealer's part: what it keeps, and the arrays for server1.

    ``with0`` and ``with1`` are its common streams with server0 and server1, ``own`` its own generator.
    """
    kappa = precision.truncated_bits
    total = _draw_mask(with0, shape, kappa) + _draw_mask(with1, shape, kappa)
    wraps = (total >> np.uint32(kappa)).astype(np.uint8)
    total &= np.uint32((1 << kappa) - 1)
    top, below_top = top_and_rest(total, kappa)
    tau = own.below("tau", shape, 2)
    thresholds = compare.deal(below_top, precision.compared_bits, precision, with0)
    whole, lifted = deal_selection(total, wraps, tau, kappa, *_draw_dealt(with0, shape, kappa))
    pads = answer.draw_both_pads(with0, with1, shape, padded)
    rows = shape[0]
    message = [thresholds, whole.view(np.uint8).reshape(rows, -1), lifted.reshape(rows, -1)]
    return Dealt(pack_bits(top ^ tau), pads), message


def dealt_like(shape: tuple[int, int], precision: Precision) -> list[Like]:
    """The arrays that :func:`deal` sends."""
    rows, values = shape
    return [
        compare.dealt_like(shape, precision.compared_bits, precision),
        Like("uint8", (rows, WIRE_BYTES * WHOLE * values)),
        Like("uint8", (rows, octets_above(precision.truncated_bits) * LIFTED * values)),
    ]


def prepare(
    shape: tuple[int, int],
    precision: Precision,
    with_dealer: Source,
    with_partner: Source,
    next_mask: Words,
    message: Sequence[Array] | None,
    padded: bool = False,
) -> Prepared:
    """The part of server0 (``message`` is None) or server1 (what the dealer sent)."""
    kappa = precision.truncated_bits
    mask = _draw_mask(with_dealer, shape, kappa)
    thresholds = None if message is None else message[0]
    comparing = compare.prepare(shape, precision.compared_bits, precision, with_dealer, with_partner, thresholds)
    if message is None:
        whole, lifted = _draw_dealt(with_dealer, shape, kappa)
    else:
        rows, values = shape
        whole = thirds_in(message[1], (rows, WHOLE, values))
        lifted = message[2].reshape(rows, octets_above(kappa), LIFTED, values)
    pads = answer.draw_pads(with_dealer, shape, padded)
    return Prepared(**comparing, mask=mask, whole=whole, lifted=lifted, next_mask=next_mask, pads=pads)


def _draw_mask(with_dealer: Source, shape: tuple[int, int], kappa: int) -> Packed:
    return with_dealer.integers("R", shape, kappa)


def _draw_dealt(with_dealer: Source, shape: tuple[int, int], kappa: int) -> tuple[Thirds, Octets]:
    rows, values = shape
    whole = with_dealer.thirds("whole", (rows, WHOLE, values))
    return whole, with_dealer.octets("lifted", (rows, LIFTED, values), octets_above(kappa))


async def online(
    channel: Channel, transcript: Transcript, number: int, precision: Precision, ready: Prepared, z: Words
) -> Words:
    """server0 and server1: from additive shares of z, (rows, n), to the masked m' = ReLU(Z) + lambda'."""
    kappa = precision.truncated_bits
    first = channel.role is Role.SERVER0
    mine = masked_quotient(z, ready.mask, precision.fraction_bits, precision.value_bits)
    opened, below_top = opened_sum(mine, await transcript.swap(channel, (number, "opened"), mine), kappa)
    compare.ask(channel, number, precision.compared_bits, precision, ready, below_top)
    transcript.absorb(opened)  # while the dealer looks
    flip = unpack_bits(ready.flip, z.shape[1])

    def share_for(bits: Bytes) -> Words:
        out = ready.next_mask.copy()
        return add_selected(opened, bits, flip, ready.mask, ready.whole, ready.lifted, first, kappa, out)

    return await answer.online(channel, transcript, number, (z.shape[0], z.shape[1]), ready.pads, share_for)


async def online_dealer(channel: Channel, number: int, precision: Precision, ready: Dealt) -> None:
    """The dealer's part."""
    found = await compare.find(channel, number, precision.compared_bits, precision, ready.answer_mask.shape)
    answer.give(channel, number, found ^ ready.answer_mask, ready.pads)
