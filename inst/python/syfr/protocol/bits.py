"""Signs of masked values: from m, known to server0 and server1, and lambda, known to the dealer, to shares of [x >= t].

A masked value needs no opening: for any public t, C = m - t and R = lambda modulo 2^kappa are what relu.py gets by its
first swap, so one compare (compare.py) and one answer are enough, two delays. With p the top bit of R and C', R' what
is below the top bits,

    [x >= t] = 1 xor C_top xor p xor [C' < R']

The dealer finds beta' = [C' < R'] xor beta, a uniform bit, and answers T = p xor beta' xor tau with a fresh bit tau of
its own. With a = 1 xor C_top xor beta xor T, [x >= t] = a xor tau = a + (1 - 2a)·tau, linear in what was dealt. Several
t for one x share what is dealt of R'; flip, multipliers, masks, rotation and tau are fresh for each.

Why nobody learns anything, whatever R is:

- *server0 and server1* know m, so every C. Of the thresholds and of what is dealt each holds one share, uniform alone;
  they send each other none of it and may look up the same shares for as many C as there are. Every T is uniform,
  since its tau is fresh.
- *The dealer* knows lambda and both shares of the thresholds. Of each compare it sees s·u turned by the rotation, and
  nothing else, since the masks g are fresh. At most one digit of u is zero: it then stands anywhere, and all others are
  uniform and not zero. So it sees beta' alone, which the flip makes uniform. This holds for every single C' and R',
  so compares of one R' with several t, and of differences whose masks depend on each other (ranks.py), show no more
  together. Where a difference has no mask, both are the same number: C is public then.
- *Unequal inputs.* All this needs one C. Were a client to give server0 and server1 two, the dealer would see
  s·u of a u that depends on both, with any number of zeros, and where tensors of several owners meet the one who
  cheats and the dealer would learn of another's. So a step that compares before any swap of its values compares hashes
  first (transcript.py: agree).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syfr.protocol import answer, compare
from syfr.protocol.channel import Array, Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import DEALER
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Precision, Words, top_and_rest
from syfr.ring.packing import pack_elements, unpack_elements
from syfr.ring.planes import pack_bits, plane_bytes, unpack_bits
from syfr.ring.streams import Bytes, Source

Packed = NDArray[np.uint32]
Shape = tuple[int, int, int]
"""Rows, compares of one value, values a row."""


@dataclass(frozen=True, repr=False)
class Prepared:
    """What server0 or server1 has ready; all arrays have the rows first.

    Attributes:
        thresholds: shares of [digit of R' > v], planes (rows, thresholds, ceil(n / 8)).
        flip, rotation, multipliers, masks: for each compare, planes (rows, knots, ..., ceil(n / 8)); see compare.py.
        dealt: shares of tau and, for what is multiplied by the bit, of tau·lambda: (rows, 1 or 2, knots, n).
        pads: see answer.py; None in the form of two delays.
    """

    thresholds: Bytes
    flip: Bytes
    rotation: Bytes
    multipliers: Bytes
    masks: Bytes
    dealt: Words
    pads: Words | None = None


@dataclass(frozen=True, repr=False)
class Dealt:
    """What the dealer keeps: p xor tau, planes (rows, knots, ceil(n / 8)), and the pads of both servers, if any."""

    answer_mask: Bytes
    pads: tuple[Words, Words] | None = None


def ring_of(values: Words, kappa: int) -> Packed:
    """The low kappa bits."""
    low: Packed = (values & np.uint64((1 << kappa) - 1)).astype(np.uint32)
    return low


def cost(values: int, knots: int, products: bool, precision: Precision) -> Cost:
    """Of the compare and what is dealt, for one row; the answer is counted where it is used."""
    once = compare.cost(values, precision.compared_bits, precision)
    dealt = WIRE_BYTES * values * knots * (2 if products else 1)
    return Cost(once.delays, once.online_bytes * knots, once.preprocessing_bytes + dealt)


def row_bytes(values: int, knots: int, products: bool, precision: Precision) -> int:
    """Memory of one prepared row, in bytes."""
    bits = precision.compared_bits
    common = (knots - 1) * compare.common_planes(bits, precision) * plane_bytes(values)
    return compare.row_bytes(values, bits, precision) + common + values * knots * 8 * (2 if products else 1)


def dealt_like(shape: Shape, products: bool, precision: Precision) -> list[Like]:
    """The arrays that :func:`deal` sends."""
    rows, knots, values = shape
    dealt = WIRE_BYTES * values * knots * (2 if products else 1)
    compared = compare.dealt_like((rows, values), precision.compared_bits, precision)
    return [compared, Like("uint8", (rows, dealt))]


def deal(
    mask: Words,
    knots: int,
    products: bool,
    precision: Precision,
    with0: Source,
    with1: Source,
    own: Source,
    padded: bool,
) -> tuple[Dealt, list[Array]]:
    """The dealer's part; ``mask`` is lambda of the compared values, (rows, n)."""
    rows, values = mask.shape
    kappa = precision.truncated_bits
    shape = rows, knots, values
    top, below_top = top_and_rest(ring_of(mask, kappa), kappa)
    thresholds = compare.deal(below_top, precision.compared_bits, precision, with0)
    tau = own.below("tau", shape, 2)
    wide = tau.astype(np.uint64)
    parts = [wide, wide * mask[:, None]] if products else [wide]
    dealt = np.stack(parts, axis=1) - with0.elements("dealt", (rows, len(parts), knots, values))
    kept = pack_bits(top[:, None] ^ tau)
    pads = answer.draw_both_pads(with0, with1, (rows, values), padded)
    return Dealt(kept, pads), [thresholds, pack_elements(dealt).reshape(rows, -1)]


def prepare(
    shape: Shape,
    products: bool,
    precision: Precision,
    with_dealer: Source,
    with_partner: Source,
    message: Sequence[Array] | None,
    padded: bool,
) -> Prepared:
    """The part of server0 (``message`` is None) or server1 (what the dealer sent)."""
    rows, knots, values = shape
    bits = precision.compared_bits
    # A copy, because a part of the dealer's frame would keep all of it, most of which is unpacked below and not needed.
    given = None if message is None else message[0].copy()
    thresholds = compare.thresholds((rows, values), bits, precision, with_dealer, given)
    size = rows, 2 if products else 1, knots, values
    dealt = (
        with_dealer.elements("dealt", size) if message is None else unpack_elements(message[1].reshape(-1), size)
    )
    common = compare.draw_common(shape, bits, precision, with_partner)
    return Prepared(thresholds, **common, dealt=dealt, pads=answer.draw_pads(with_dealer, (rows, values), padded))


def ask(channel: Channel, number: int, precision: Precision, ready: Prepared, compared: Sequence[Words]) -> Bytes:
    """server0 and server1 send the dealer their compares of m - t, an array (rows, n) for each t.

    Returns:
        1 xor C_top xor beta, (rows, knots, n): together with T it gives a.
    """
    kappa, rows = precision.truncated_bits, compared[0].shape[0]
    messages, tops = [], []
    for knot, values in enumerate(compared):
        top, below_top = top_and_rest(ring_of(values, kappa), kappa)
        common = [part[:, knot] for part in (ready.flip, ready.multipliers, ready.masks, ready.rotation)]
        one = compare.Prepared(ready.thresholds, *[np.ascontiguousarray(part) for part in common])
        blinded = compare.blind(channel.role, precision.compared_bits, precision, one, below_top)
        messages.append(blinded.reshape(rows, -1))
        tops.append(top)
    channel.send(DEALER, (number, "compare"), np.concatenate(messages, axis=1))
    return np.stack(tops, axis=1) ^ unpack_bits(ready.flip, compared[0].shape[1]) ^ np.uint8(1)


async def answered(channel: Channel, transcript: Transcript, number: int, shape: Shape) -> Bytes:
    """T of every compare, (rows, knots, n), in the form of two delays."""
    return await answer.receive(channel, transcript, number, shape)


def signed_bits(known: Bytes, bits: Bytes) -> tuple[Words, Words]:
    """a and 1 - 2a, from what :func:`ask` returned and from T."""
    a = (known ^ bits).astype(np.uint64)
    return a, np.uint64(1) - (a << np.uint64(1))


async def online_dealer(channel: Channel, number: int, precision: Precision, ready: Dealt) -> None:
    """The dealer's part."""
    found = await compare.find(channel, number, precision.compared_bits, precision, ready.answer_mask.shape)
    answer.give(channel, number, found ^ ready.answer_mask, ready.pads)
