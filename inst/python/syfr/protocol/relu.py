"""Truncation and ReLU in four message delays.

server0 and server1 hold additive shares of z + 2^f - 1 (scale 2f) and want ReLU(floor or ceil of z / 2^f), masked.

1. *Truncate, then swap.* Each reduces its share modulo 2^k, shifts it right by f and adds R_i; both learn
   C = Z + R modulo 2^kappa, the dealer knows R. With p the top bit of R, and C', R' what is below the top bits:
   sign(Z) = C_top xor p xor [C' < R'], and for Z >= 0: Z = C + G·p - R with G = 2^kappa·(1 - C_top).
2. *Private compare* (compare.py): the dealer learns beta' = [C' < R'] xor beta, a uniform bit.
3. *Answer.* The dealer sends both T = p xor beta' xor tau, with tau a fresh bit of its own, which hides the sign.
4. *Swap y + lambda'*, the masked value that the next layer reads.

The truncation descends from Escudero et al., CRYPTO 2020; the compare from SecureNN (PoPETs 2019), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syfr.protocol import compare
from syfr.protocol.channel import Array, Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import Role
from syfr.protocol.transcript import DIGEST_BYTES, Transcript
from syfr.ring.compare import add_selected, masked_quotient
from syfr.ring.fixedpoint import WIRE_BYTES, Precision, Words
from syfr.ring.packing import pack_elements, unpack_elements
from syfr.ring.streams import Bytes, Source

Packed = NDArray[np.uint32]

DEALT = 5
"""Shares dealt for each value beside the comparisons: p, R, tau, tau·R, tau·p."""


@dataclass(frozen=True, repr=False)
class Prepared(compare.Prepared):
    """What server0 or server1 has ready for n values a row; all arrays have the rows first.

    Attributes:
        mask: R_i, (rows, n).
        dealt: shares of p, R, tau, tau·R, tau·p, (rows, 5, n).
        next_mask: lambda'_i of the result, (rows, n).
    """

    mask: Packed
    dealt: Words
    next_mask: Words


@dataclass(frozen=True, repr=False)
class Dealt:
    """What the dealer keeps for n values a row: p xor tau, (rows, n)."""

    answer_mask: Bytes


def cost(values: int, precision: Precision) -> Cost:
    """For one row of ``values`` values; the hashes of the two swaps are counted once a query in :func:`hash_bytes`."""
    swaps = Cost(2, 2 * values * (4 + WIRE_BYTES), values * WIRE_BYTES * DEALT)
    return swaps + compare.cost(values, precision)


def hash_bytes() -> int:
    """Bytes of the running hash in the swaps of one step, whatever the number of rows."""
    return 4 * DIGEST_BYTES


def deal(
    shape: tuple[int, int], precision: Precision, with0: Source, with1: Source, own: Source
) -> tuple[Dealt, list[Array]]:
    """The dealer's part: what it keeps, and the arrays for server1.

    ``with0`` and ``with1`` are its common streams with server0 and server1, ``own`` its own generator.
    """
    kappa = precision.truncated_bits
    total = _draw_mask(with0, shape, kappa) + _draw_mask(with1, shape, kappa)
    total &= np.uint32((1 << kappa) - 1)
    top = (total >> np.uint32(kappa - 1)).astype(np.uint8)
    tau = own.below("tau", shape, 2)
    below_top = total & np.uint32((1 << (kappa - 1)) - 1)
    thresholds = compare.deal(below_top, kappa - 1, precision, with0)
    r, p, t = (array.astype(np.uint64) for array in (total, top, tau))
    dealt = np.stack([p, r, t, t * r, t * p], axis=1) - _draw_dealt(with0, shape)
    return Dealt(top ^ tau), [thresholds, pack_elements(dealt).reshape(shape[0], -1)]


def dealt_like(shape: tuple[int, int], precision: Precision) -> list[Like]:
    """The arrays that :func:`deal` sends."""
    return [compare.dealt_like(shape, precision), Like("uint8", (shape[0], WIRE_BYTES * DEALT * shape[1]))]


def prepare(
    shape: tuple[int, int],
    precision: Precision,
    with_dealer: Source,
    with_partner: Source,
    next_mask: Words,
    message: Sequence[Array] | None,
) -> Prepared:
    """The part of server0 (``message`` is None) or server1 (what the dealer sent)."""
    kappa = precision.truncated_bits
    mask = _draw_mask(with_dealer, shape, kappa)
    thresholds = None if message is None else message[0]
    comparing = compare.prepare(shape, kappa - 1, precision, with_dealer, with_partner, thresholds)
    if message is None:
        dealt = _draw_dealt(with_dealer, shape)
    else:
        dealt = unpack_elements(message[1].reshape(-1), (shape[0], DEALT, shape[1]))
    return Prepared(**comparing, mask=mask, dealt=dealt, next_mask=next_mask)


def _draw_mask(with_dealer: Source, shape: tuple[int, int], kappa: int) -> Packed:
    return with_dealer.integers("R", shape, kappa)


def _draw_dealt(with_dealer: Source, shape: tuple[int, int]) -> Words:
    return with_dealer.elements("dealt", (shape[0], DEALT, shape[1]))


async def online(
    channel: Channel, transcript: Transcript, number: int, precision: Precision, ready: Prepared, z: Words
) -> Words:
    """server0 and server1: from additive shares of z, (rows, n), to the masked m' = ReLU(Z) + lambda'."""
    kappa = precision.truncated_bits
    first = channel.role is Role.SERVER0
    mine = masked_quotient(z, ready.mask, precision.fraction_bits, precision.value_bits)
    opened = mine + await transcript.swap(channel, (number, "opened"), mine)
    opened &= np.uint32((1 << kappa) - 1)
    transcript.absorb(opened)
    below_top = opened & np.uint32((1 << (kappa - 1)) - 1)
    answer = await compare.online(channel, transcript, number, precision, ready, below_top)
    share = add_selected(opened, answer, ready.flip, ready.dealt, first, kappa, ready.next_mask)
    return await swap_masked(channel, transcript, number, share)


async def swap_masked(channel: Channel, transcript: Transcript, number: int, share: Words) -> Words:
    """Swap shares of y + lambda' so that both know it: the last delay of what ends in a masked value."""
    mine = pack_elements(share).reshape(share.shape[0], -1)
    theirs = await transcript.swap(channel, (number, "masked"), mine)
    masked = unpack_elements(mine.reshape(-1), share.shape)
    masked += unpack_elements(theirs.reshape(-1), share.shape)
    masked &= np.uint64((1 << (8 * WIRE_BYTES)) - 1)
    transcript.absorb(masked)
    return masked


async def online_dealer(channel: Channel, number: int, precision: Precision, ready: Dealt) -> None:
    """The dealer's two delays."""
    await compare.online_dealer(channel, number, precision.truncated_bits - 1, precision, ready.answer_mask)
