"""The private compare: server0 and server1 hold a public C, the dealer holds a mask R; nobody learns whether C < R.

One message delay. Ahead, the dealer deals bits [digit of R > v] for every digit and every v but the largest, shared so
that the two shares of a bit add to it modulo 2. Online, server0 and server1 blind u (see ring/compare.py) with nonzero
multipliers, masks, a rotation and a flip beta that they have in common and draw afresh for every value; the dealer
finds whether an element is zero, which tells it beta' = [C < R] xor beta, a uniform bit. What follows: answer.py.

It is SecureNN's private compare (PoPETs 2019, section 4), after Damgård, Geisler and Krøigaard (ACISP 2007), with
digits of several bits, and in GF(2^d) in place of the integers modulo a prime. There a sum of inequalities is zero only
if all are, since it stays below the prime; here since each has a power of x of its own, and those are independent over
bits. So what is dealt are bits, and all work is on bits of many values side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syfr.protocol.channel import Array, Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import DEALER, Role
from syfr.ring.compare import TURNS, any_zero, blinded, digit_widths, threshold_shares, thresholds_of
from syfr.ring.fixedpoint import Precision
from syfr.ring.planes import plane_bytes, to_planes
from syfr.ring.streams import Bytes, Source

Packed = NDArray[np.uint32]
Shape = tuple[int, int]


@dataclass(frozen=True, repr=False)
class Prepared:
    """What server0 or server1 has ready to compare n values a row; planes of bits (ring/planes.py), the rows first.

    Attributes:
        thresholds: shares of [digit of R > v], (rows, thresholds, ceil(n / 8)).
        flip, multipliers, masks, rotation: beta, s, g and the rotation, common to server0 and server1.
    """

    thresholds: Bytes
    flip: Bytes
    multipliers: Bytes
    masks: Bytes
    rotation: Bytes


def widths_of(bits: int, precision: Precision) -> tuple[int, ...]:
    """The bits of each digit of a number of ``bits`` bits, the highest digit first."""
    return digit_widths(bits, precision.digits)


def cost(values: int, bits: int, precision: Precision) -> Cost:
    """For one row of ``values`` values of ``bits`` bits."""
    widths, plane = widths_of(bits, precision), plane_bytes(values)
    return Cost(1, 2 * len(widths) ** 2 * plane, thresholds_of(widths) * plane)


def row_bytes(values: int, bits: int, precision: Precision) -> int:
    """Memory of what is ready for one row, in bytes."""
    return (thresholds_of(widths_of(bits, precision)) + common_planes(bits, precision)) * plane_bytes(values)


def common_planes(bits: int, precision: Precision) -> int:
    """Planes that server0 and server1 draw for one compare: flip, rotation, multipliers, masks."""
    return 1 + TURNS + 2 * len(widths_of(bits, precision)) ** 2


def deal(mask: Packed, bits: int, precision: Precision, with0: Source) -> Bytes:
    """The dealer's array for server1: its shares for R = ``mask``, (rows, n), of ``bits`` bits."""
    rows, values = mask.shape
    shares = _draw(with0, (rows, values), bits, precision)
    return threshold_shares(mask, bits, widths_of(bits, precision), shares).reshape(rows, -1)


def dealt_like(shape: Shape, bits: int, precision: Precision) -> Like:
    """The array that :func:`deal` makes."""
    return Like("uint8", (shape[0], thresholds_of(widths_of(bits, precision)) * plane_bytes(shape[1])))


def prepare(
    shape: Shape, bits: int, precision: Precision, with_dealer: Source, with_partner: Source, dealt: Array | None
) -> Mapping[str, Bytes]:
    """The fields of :class:`Prepared` for server0 (``dealt`` is None) or server1."""
    found = {"thresholds": thresholds(shape, bits, precision, with_dealer, dealt)}
    return {**found, **draw_common(shape, bits, precision, with_partner)}


def thresholds(shape: Shape, bits: int, precision: Precision, with_dealer: Source, dealt: Array | None) -> Bytes:
    """A server's shares of [digit of R > v], (rows, thresholds, ceil(n / 8)); ``dealt`` is None at server0."""
    if dealt is None:
        return _draw(with_dealer, shape, bits, precision)
    return dealt.reshape(shape[0], -1, plane_bytes(shape[1]))


def _draw(with_dealer: Source, shape: Shape, bits: int, precision: Precision) -> Bytes:
    planes = thresholds_of(widths_of(bits, precision))
    return with_dealer.bits("thresholds", (shape[0], planes, shape[1]))


def draw_common(shape: Sequence[int], bits: int, precision: Precision, with_partner: Source) -> dict[str, Bytes]:
    """What server0 and server1 draw together, for compares of the shape (rows, ..., n)."""
    degree = len(widths_of(bits, precision))
    before, values = tuple(shape[:-1]), shape[-1]
    flip = with_partner.bits("flip", (*before, values))
    multipliers = with_partner.below("multipliers", (*before, degree, values), (1 << degree) - 1, start=1)
    rotation = with_partner.below("rotation", (*before, values), degree)
    return {
        "flip": flip,
        "multipliers": to_planes(multipliers, degree),
        "masks": with_partner.bits("masks", (*before, degree * degree, values)),
        "rotation": to_planes(rotation, TURNS),
    }


def ask(channel: Channel, number: int, bits: int, precision: Precision, ready: Prepared, public: Packed) -> None:
    """server0 and server1 send the dealer their blinded elements for C = ``public``, (rows, n)."""
    message = blind(channel.role, bits, precision, ready, public)
    channel.send(DEALER, (number, "compare"), message.reshape(public.shape[0], -1))


def blind(role: Role, bits: int, precision: Precision, ready: Prepared, public: Packed) -> Bytes:
    """What server0 or server1 sends for C = ``public``, (rows, n): (rows, d·d, ceil(n / 8))."""
    return blinded(
        public,
        bits,
        widths_of(bits, precision),
        role is Role.SERVER0,
        ready.thresholds,
        ready.flip,
        ready.multipliers,
        ready.masks,
        ready.rotation,
    )


async def find(channel: Channel, number: int, bits: int, precision: Precision, shape: Sequence[int]) -> Bytes:
    """The dealer: beta' = [C < R] xor beta, as planes of ``shape``, (rows, ..., ceil(n / 8))."""
    degree, plane, many = len(widths_of(bits, precision)), shape[-1], math.prod(shape[1:-1])
    like = Like("uint8", (shape[0], many * degree * degree * plane))
    (left,) = await channel.receive(Role.SERVER0, (number, "compare"), like)
    (right,) = await channel.receive(Role.SERVER1, (number, "compare"), like)
    each = shape[0] * many, degree * degree, plane
    return any_zero(left.reshape(each), right.reshape(each), degree).reshape(shape)
