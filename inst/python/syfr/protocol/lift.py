"""Lifting an input from a ring of w bits, for clients that are not trusted: three message delays, or two.

In the ring of all values a client may send any number, and a huge one turns the signs of the first layer into bits of
its weights. Here it sends m = x + lambda0 + lambda1 modulo 2^w, whose every value stands for a legal input. server0
and server1 know m, the dealer knows R = lambda0 + lambda1 modulo 2^w, and x = m - R + 2^w·[m < R]: one compare, for
which the dealer answers T = beta' xor tau. With a = T xor beta, [m < R] = a xor tau = a + (1 - 2a)·tau, linear in what
was dealt. The result is a masked value in the ring of all values, under a mask of the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from syfr.protocol import answer, compare
from syfr.protocol.channel import Array, Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import Role
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Precision, Words
from syfr.ring.packing import pack_elements, unpack_elements
from syfr.ring.planes import pack_bits, unpack_bits
from syfr.ring.streams import Bytes, Source

DEALT = 2
"""Shares dealt for each value beside the comparisons: R and tau."""


@dataclass(frozen=True, repr=False)
class Prepared(compare.Prepared):
    """What server0 or server1 has ready: shares of R and tau, (rows, 2, n), and lambda'_i of the result, (rows, n)."""

    dealt: Words
    next_mask: Words
    pads: Words | None = None


@dataclass(frozen=True, repr=False)
class Dealt:
    """What the dealer keeps: tau, a plane a row, and the pads of both servers if there are any."""

    answer_mask: Bytes
    pads: tuple[Words, Words] | None = None


def cost(values: int, bits: int, precision: Precision, padded: bool = False) -> Cost:
    """For one row of ``values`` values of ``bits`` bits, hashes not counted."""
    dealt = Cost(preprocessing_bytes=values * WIRE_BYTES * DEALT)
    return dealt + compare.cost(values, bits, precision) + answer.cost(values, padded)


def row_bytes(values: int, bits: int, precision: Precision) -> int:
    """Memory of one prepared row, in bytes: the compare's, what is dealt, the mask."""
    return compare.row_bytes(values, bits, precision) + values * 8 * (DEALT + 1)


def deal(
    mask: Words, bits: int, precision: Precision, with0: Source, with1: Source, own: Source, padded: bool = False
) -> tuple[Dealt, list[Array]]:
    """The dealer's part; ``mask`` is R, (rows, n)."""
    shape = (mask.shape[0], mask.shape[1])
    tau = own.below("tau", shape, 2)
    thresholds = compare.deal(mask.astype(np.uint32), bits, precision, with0)
    dealt = np.stack([mask, tau.astype(np.uint64)], axis=1) - with0.elements("dealt", (shape[0], DEALT, shape[1]))
    pads = answer.draw_both_pads(with0, with1, shape, padded)
    return Dealt(pack_bits(tau), pads), [thresholds, pack_elements(dealt).reshape(shape[0], -1)]


def dealt_like(shape: tuple[int, int], bits: int, precision: Precision) -> list[Like]:
    """The arrays that :func:`deal` sends."""
    return [compare.dealt_like(shape, bits, precision), Like("uint8", (shape[0], WIRE_BYTES * DEALT * shape[1]))]


def prepare(
    shape: tuple[int, int],
    bits: int,
    precision: Precision,
    with_dealer: Source,
    with_partner: Source,
    next_mask: Words,
    message: Sequence[Array] | None,
    padded: bool = False,
) -> Prepared:
    """The part of server0 (``message`` is None) or server1 (what the dealer sent)."""
    thresholds = None if message is None else message[0]
    comparing = compare.prepare(shape, bits, precision, with_dealer, with_partner, thresholds)
    size = (shape[0], DEALT, shape[1])
    dealt = (
        with_dealer.elements("dealt", size) if message is None else unpack_elements(message[1].reshape(-1), size)
    )
    pads = answer.draw_pads(with_dealer, shape, padded)
    return Prepared(**comparing, dealt=dealt, next_mask=next_mask, pads=pads)


async def online(
    channel: Channel,
    transcript: Transcript,
    number: int,
    bits: int,
    offset: int,
    precision: Precision,
    ready: Prepared,
    masked: Words,
) -> Words:
    """server0 and server1: from m modulo 2^w, (rows, n), to the masked x - offset in the ring of all values."""
    wrapped = np.uint64(1 << bits)
    size = masked.shape[1]
    known = masked - np.uint64(offset) if channel.role is Role.SERVER0 else np.zeros_like(masked)

    compare.ask(channel, number, bits, precision, ready, masked.astype(np.uint32))
    flip = unpack_bits(ready.flip, size)

    def share_for(answered: Bytes) -> Words:
        a = (answered ^ flip).astype(np.uint64)
        signed = np.uint64(1) - (a << np.uint64(1))
        own = wrapped * a if channel.role is Role.SERVER0 else np.zeros_like(a)
        share: Words = known + ready.next_mask - ready.dealt[:, 0] + wrapped * (signed * ready.dealt[:, 1]) + own
        return share

    return await answer.online(channel, transcript, number, (masked.shape[0], size), ready.pads, share_for)


async def online_dealer(channel: Channel, number: int, bits: int, precision: Precision, ready: Dealt) -> None:
    """The dealer's part."""
    found = await compare.find(channel, number, bits, precision, ready.answer_mask.shape)
    answer.give(channel, number, found ^ ready.answer_mask, ready.pads)
