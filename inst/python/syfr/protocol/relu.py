"""Truncation and ReLU in four message delays.

server0 and server1 hold additive shares of z + 2^f - 1 (scale 2f) and want ReLU(floor or ceil of z / 2^f), masked.

1. *Truncate, then swap.* Each reduces its share modulo 2^k, shifts it right by f and adds R_i; both learn
   C = Z + R modulo 2^kappa, the dealer knows R. With p the top bit of R, and C', R' what is below the top bits:
   sign(Z) = C_top xor p xor [C' < R'], and for Z >= 0: Z = C + G·p - R with G = 2^kappa·(1 - C_top).
2. *Private compare* (see ring/compare.py). The dealer has dealt shares of [digit of R' > v]; it receives blinded
   digits and learns beta' = [C' < R'] xor beta, a uniform bit.
3. *Answer.* The dealer sends both T = p xor beta' xor tau, with tau a fresh bit of its own, which hides the sign.
4. *Swap y + lambda'*, the masked value that the next layer reads.

The truncation descends from Escudero et al., CRYPTO 2020; the compare from SecureNN (PoPETs 2019), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syfr.protocol.channel import Array, Channel, Like, bits_like, pack_bits, unpack_bits
from syfr.protocol.cost import Cost
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.transcript import DIGEST_BYTES, Transcript
from syfr.ring.compare import add_selected, any_zero_digit, blinded_words, masked_quotient, threshold_shares
from syfr.ring.fixedpoint import WIRE_BYTES, Precision, Words
from syfr.ring.packing import pack_digits, pack_elements, unpack_digits, unpack_elements
from syfr.ring.streams import Bytes, Source

Packed = NDArray[np.uint32]

DEALT = 5
"""Shares dealt for each value beside the comparisons: p, R, tau, tau·R, tau·p."""


@dataclass(frozen=True, repr=False)
class Prepared:
    """What server0 or server1 has ready for n values a row; all arrays have the rows first.

    Attributes:
        mask: R_i, (rows, n).
        thresholds: shares of [digit of R' > v], (rows, digits, thresholds, n).
        dealt: shares of p, R, tau, tau·R, tau·p, (rows, 5, n).
        flip, multipliers, masks, rotation: beta, s, g and the rotation, common to server0 and server1.
        next_mask: lambda'_i of the result, (rows, n).
    """

    mask: Packed
    thresholds: Bytes
    dealt: Words
    flip: Bytes
    multipliers: Bytes
    masks: Bytes
    rotation: Bytes
    next_mask: Words


@dataclass(frozen=True, repr=False)
class Dealt:
    """What the dealer keeps for n values a row: p xor tau, (rows, n)."""

    answer_mask: Bytes


def cost(values: int, precision: Precision) -> Cost:
    """For one row of ``values`` values; the hashes of the two swaps are counted once a query in :func:`hash_bytes`."""
    swap = 4 + WIRE_BYTES
    words = 4
    return Cost(
        delays=4,
        online_bytes=2 * values * (swap + words) + 2 * -(-values // 8),
        preprocessing_bytes=values * (4 * precision.thresholds + WIRE_BYTES * DEALT),
    )


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
    shares = threshold_shares(
        below_top, _draw_thresholds(with0, shape, precision), precision.digit_bits, precision.modulus
    )
    r, p, t = (array.astype(np.uint64) for array in (total, top, tau))
    dealt = np.stack([p, r, t, t * r, t * p], axis=1) - _draw_dealt(with0, shape)
    message: list[Array] = [pack_digits(shares, precision.modulus), pack_elements(dealt).reshape(shape[0], -1)]
    return Dealt(top ^ tau), message


def dealt_like(shape: tuple[int, int], precision: Precision) -> list[Like]:
    """The arrays that :func:`deal` sends."""
    rows, size = shape
    return [
        Like("uint32", (rows, precision.thresholds, size)),
        Like("uint8", (rows, WIRE_BYTES * DEALT * size)),
    ]


def prepare(
    shape: tuple[int, int],
    precision: Precision,
    with_dealer: Source,
    with_partner: Source,
    next_mask: Words,
    message: Sequence[Array] | None,
) -> Prepared:
    """The part of server0 (``message`` is None) or server1 (what the dealer sent)."""
    mask = _draw_mask(with_dealer, shape, precision.truncated_bits)
    if message is None:
        thresholds = _draw_thresholds(with_dealer, shape, precision)
        dealt = _draw_dealt(with_dealer, shape)
    else:
        thresholds = unpack_digits(message[0], precision.digits, precision.modulus)
        dealt = unpack_elements(message[1].reshape(-1), (shape[0], DEALT, shape[1]))
    per_digit = (shape[0], precision.digits, shape[1])
    return Prepared(
        mask=mask,
        thresholds=thresholds,
        dealt=dealt,
        flip=with_partner.below("flip", shape, 2),
        multipliers=with_partner.below("multipliers", per_digit, precision.modulus - 1, start=1),
        masks=with_partner.below("masks", per_digit, precision.modulus),
        rotation=with_partner.below("rotation", shape, precision.digits),
        next_mask=next_mask,
    )


def _draw_mask(with_dealer: Source, shape: tuple[int, int], kappa: int) -> Packed:
    return with_dealer.integers("R", shape, kappa)


def _draw_thresholds(with_dealer: Source, shape: tuple[int, int], precision: Precision) -> Bytes:
    planes = (shape[0], precision.digits, precision.thresholds, shape[1])
    return with_dealer.below("thresholds", planes, precision.modulus)


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
    words = blinded_words(
        opened & np.uint32((1 << (kappa - 1)) - 1),
        first,
        ready.thresholds,
        ready.flip,
        ready.multipliers,
        ready.masks,
        ready.rotation,
        precision.digit_bits,
        precision.modulus,
    )
    channel.send(DEALER, (number, "compare"), words)
    transcript.absorb(opened)
    (packed,) = await channel.receive(DEALER, (number, "answer"), bits_like(opened.shape))
    transcript.absorb(packed)
    answer = unpack_bits(packed, opened.shape[1])
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


async def online_dealer(
    channel: Channel, number: int, precision: Precision, ready: Dealt, shape: tuple[int, int]
) -> None:
    """The dealer: find the zeros of the blinded digits and answer with one masked bit a value."""
    like = Like("uint32", shape)
    (left,) = await channel.receive(Role.SERVER0, (number, "compare"), like)
    (right,) = await channel.receive(Role.SERVER1, (number, "compare"), like)
    found = any_zero_digit(left, right, precision.digits, precision.modulus)
    answer = pack_bits(found ^ ready.answer_mask)
    for server in (Role.SERVER0, Role.SERVER1):
        channel.send(server, (number, "answer"), answer)

