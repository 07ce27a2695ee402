"""From the dealer's masked bit T to a masked value: the end of every operation that compares.

server0 and server1 can make shares of the result y for either T. There are two forms:

- *Two delays.* The dealer answers T; each makes its share for it, adds its half of the next mask, and they swap.
- *One delay*, for links whose latency matters more than 24 bytes a value. While the compare is on its way, each sends
  the other its shares for T = 0 and for T = 1, each under a pad w^T from its key with the dealer. The dealer answers T
  and, to each, the other's pad for that T. The share that is not opened stays masked. Pads never serve a second run:
  with another T both would open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from syfr.protocol.channel import Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.transcript import DIGEST, Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Words
from syfr.ring.packing import add_packed, pack_elements, unpack_elements
from syfr.ring.planes import plane_bytes, unpack_bits
from syfr.ring.streams import Bytes, Source

Shape = tuple[int, int]
ShareFor = Callable[[Bytes], Words]
"""From T, (rows, n), a share of y plus half of the next mask, as a new array."""


def cost(values: int, padded: bool) -> Cost:
    """For one row of ``values`` values, hashes not counted."""
    bits, swap = given_bytes(values), 2 * values * WIRE_BYTES
    return Cost(1, bits + 3 * swap) if padded else Cost(2, bits + swap)


def given_bytes(values: int) -> int:
    """Bytes of T for both servers, for one row."""
    return 2 * plane_bytes(values)


def _bits_like(shape: Sequence[int]) -> Like:
    """T as it travels: a plane of bits for each n of ``shape``, (rows, ..., n)."""
    return Like("uint8", (shape[0], math.prod(shape[1:-1]) * plane_bytes(shape[-1])))


def draw_pads(with_dealer: Source, shape: Shape, padded: bool) -> Words | None:
    """Pads of one server for T = 0 and T = 1, (rows, 2, n); None in the form of two delays."""
    return with_dealer.elements("pads", (shape[0], 2, shape[1])) if padded else None


def draw_both_pads(with0: Source, with1: Source, shape: Shape, padded: bool) -> tuple[Words, Words] | None:
    """The dealer's copy of both servers' pads."""
    first, second = (draw_pads(source, shape, padded) for source in (with0, with1))
    return None if first is None or second is None else (first, second)


async def online(
    channel: Channel, transcript: Transcript, number: int, shape: Shape, pads: Words | None, share_for: ShareFor
) -> Words:
    """server0 and server1: the masked value y + lambda', (rows, n), modulo 2^48."""
    if pads is None:
        answer = await receive(channel, transcript, number, shape)
        return await swap_masked(channel, transcript, number, share_for(answer))
    both = np.stack([share_for(np.full(shape, bit, np.uint8)) for bit in (0, 1)], axis=1)
    partner, tag, wire = channel.role.partner, (number, "masked"), (shape[0], 2 * WIRE_BYTES * shape[1])
    digest = transcript.digest
    channel.send(partner, tag, digest, pack_elements(both + pads).reshape(wire))
    one = Like("uint8", (shape[0], WIRE_BYTES * shape[1]))
    packed, pad = await channel.receive(DEALER, (number, "answer"), _bits_like(shape), one)
    theirs_digest, theirs = await channel.receive(partner, tag, DIGEST, Like("uint8", wire))
    transcript.require(theirs_digest)
    transcript.absorb(packed)
    answer = unpack_bits(packed, shape[1])
    masked = _chosen(both, answer) - unpack_elements(pad.reshape(-1), shape)
    masked += _chosen(unpack_elements(theirs.reshape(-1), both.shape), answer)
    masked &= np.uint64((1 << (8 * WIRE_BYTES)) - 1)
    transcript.absorb(masked)
    return masked


async def receive(channel: Channel, transcript: Transcript, number: int, shape: Sequence[int]) -> Bytes:
    """server0 and server1: T for every value, (rows, ..., n), in the form of two delays."""
    (packed,) = await channel.receive(DEALER, (number, "answer"), _bits_like(shape))
    transcript.absorb(packed)
    return unpack_bits(packed.reshape(*shape[:-1], -1), shape[-1])


def _chosen(both: Words, answer: Bytes) -> Words:
    return np.where(answer == 0, both[:, 0], both[:, 1])


async def swap_masked(channel: Channel, transcript: Transcript, number: int, share: Words) -> Words:
    """Swap shares of y + lambda' so that both know it."""
    mine = pack_elements(share).reshape(share.shape[0], -1)
    theirs = await transcript.swap(channel, (number, "masked"), mine)
    masked = add_packed(share, theirs)
    transcript.absorb(masked)
    return masked


def give(channel: Channel, number: int, answer: Bytes, pads: tuple[Words, Words] | None) -> None:
    """The dealer sends T, planes (rows, ..., bytes), and in the padded form each server the other's pads for it."""
    bits = answer.reshape(answer.shape[0], -1)
    for server in (Role.SERVER0, Role.SERVER1):
        if pads is None:
            channel.send(server, (number, "answer"), bits)
        else:
            both = pads[server.partner]
            opened = _chosen(both, unpack_bits(bits, both.shape[2]))
            channel.send(server, (number, "answer"), bits, pack_elements(opened).reshape(bits.shape[0], -1))
