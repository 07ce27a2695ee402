"""The private compare: server0 and server1 hold a public C, the dealer holds a mask R; nobody learns whether C < R.

One message delay. Ahead, the dealer deals shares modulo p of [digit of R > v] for every digit and every v but the
largest. Online, server0 and server1 blind u (see ring/compare.py) with nonzero multipliers, masks, a rotation and a
flip beta that they have in common and draw afresh for every value; the dealer finds whether a digit is zero, which
tells it beta' = [C < R] xor beta, a uniform bit. What it does with that bit: answer.py. It is SecureNN's private
compare (PoPETs 2019, section 4) in base 8, after Damgård, Geisler and Krøigaard (ACISP 2007).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syfr.protocol.channel import Array, Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import DEALER, Role
from syfr.ring.compare import any_zero_digit, blinded_words, threshold_shares
from syfr.ring.fixedpoint import Precision
from syfr.ring.packing import pack_digits, unpack_digits
from syfr.ring.streams import Bytes, Source

Packed = NDArray[np.uint32]
Shape = tuple[int, int]

WORD_BYTES = 4


@dataclass(frozen=True, repr=False)
class Prepared:
    """What server0 or server1 has ready to compare n values a row; all arrays have the rows first.

    Attributes:
        thresholds: shares of [digit of R > v], (rows, digits, thresholds, n).
        flip, multipliers, masks, rotation: beta, s, g and the rotation, common to server0 and server1.
    """

    thresholds: Bytes
    flip: Bytes
    multipliers: Bytes
    masks: Bytes
    rotation: Bytes


def digits_of(bits: int, precision: Precision) -> int:
    """Digits of a number of ``bits`` bits."""
    return -(-bits // precision.digit_bits)


def cost(values: int, precision: Precision) -> Cost:
    """For one row of ``values`` values."""
    return Cost(1, 2 * values * WORD_BYTES, WORD_BYTES * precision.thresholds * values)


def deal(mask: Packed, bits: int, precision: Precision, with0: Source) -> Packed:
    """The dealer's array for server1: its shares for R = ``mask``, (rows, n), of ``bits`` bits."""
    shares = _draw(with0, (mask.shape[0], mask.shape[1]), bits, precision)
    return pack_digits(threshold_shares(mask, shares, precision.digit_bits, precision.modulus), precision.modulus)


def dealt_like(shape: Shape, precision: Precision) -> Like:
    """The array that :func:`deal` makes."""
    return Like("uint32", (shape[0], precision.thresholds, shape[1]))


def prepare(
    shape: Shape, bits: int, precision: Precision, with_dealer: Source, with_partner: Source, dealt: Array | None
) -> Mapping[str, Bytes]:
    """The fields of :class:`Prepared` for server0 (``dealt`` is None) or server1."""
    digits = digits_of(bits, precision)
    per_digit = (shape[0], digits, shape[1])
    return {
        "thresholds": thresholds(shape, bits, precision, with_dealer, dealt),
        "flip": with_partner.below("flip", shape, 2),
        "multipliers": with_partner.below("multipliers", per_digit, precision.modulus - 1, start=1),
        "masks": with_partner.below("masks", per_digit, precision.modulus),
        "rotation": with_partner.below("rotation", shape, digits),
    }


def thresholds(shape: Shape, bits: int, precision: Precision, with_dealer: Source, dealt: Array | None) -> Bytes:
    """A server's shares of [digit of R > v], (rows, digits, thresholds, n); ``dealt`` is None at server0."""
    if dealt is None:
        return _draw(with_dealer, shape, bits, precision)
    return unpack_digits(dealt, digits_of(bits, precision), precision.modulus)


def _draw(with_dealer: Source, shape: Shape, bits: int, precision: Precision) -> Bytes:
    planes = (shape[0], digits_of(bits, precision), precision.thresholds, shape[1])
    return with_dealer.below("thresholds", planes, precision.modulus)


def ask(channel: Channel, number: int, precision: Precision, ready: Prepared, public: Packed) -> None:
    """server0 and server1 send the dealer their blinded digits for C = ``public``, (rows, n)."""
    words = blinded_words(
        public,
        channel.role is Role.SERVER0,
        ready.thresholds,
        ready.flip,
        ready.multipliers,
        ready.masks,
        ready.rotation,
        precision.digit_bits,
        precision.modulus,
    )
    channel.send(DEALER, (number, "compare"), words)


async def find(channel: Channel, number: int, bits: int, precision: Precision, shape: Shape) -> Bytes:
    """The dealer: beta' = [C < R] xor beta for every value, from the zeros of the blinded digits."""
    like = Like("uint32", shape)
    (left,) = await channel.receive(Role.SERVER0, (number, "compare"), like)
    (right,) = await channel.receive(Role.SERVER1, (number, "compare"), like)
    return any_zero_digit(left, right, digits_of(bits, precision), precision.modulus)
