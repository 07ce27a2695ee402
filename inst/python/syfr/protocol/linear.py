"""Linear layers: one product online, whatever was pooled, normalised or padded into it.

With W = E - B, B = B0 + B1 and x = m - lambda, lambda = lambda0 + lambda1 (signs as in the sharing):

    x·W = m·(E - B0) - m·B1 - lambda0·E - lambda1·E + lambda·B

server0 computes m·(E - B0) - lambda0·E + c0, server1 computes -m·B1 - lambda1·E + c1, where c0 + c1 = lambda·B: c0
comes from the key of server0 and the dealer, c1 is sent to server1. All but the products with m is preprocessing.
"""

from __future__ import annotations

import math

import numpy as np

from syfr.protocol.channel import Like
from syfr.protocol.cost import Cost
from syfr.protocol.sharing import LayerShare
from syfr.ring.fixedpoint import WIRE_BYTES, Precision, Words
from syfr.ring.packing import pack_elements, unpack_elements
from syfr.ring.products import convolve_onto, matmul_onto
from syfr.ring.streams import Bytes, Source
from syfr.steps import Linear


def multiply_onto(step: Linear, x: Words, kernel: Words, out: Words) -> Words:
    """Add x·kernel, a convolution or a matrix product, onto ``out``: (rows, *step.output_shape)."""
    place = step.geometry
    if place is None:
        return matmul_onto(x, kernel, out)
    return convolve_onto(x, kernel, place.strides, place.padding, place.dilation, place.groups, out)


def cost(step: Linear) -> Cost:
    """c1 alone, for one row."""
    return Cost(preprocessing_bytes=WIRE_BYTES * math.prod(step.output_shape))


def deal(step: Linear, share: LayerShare, mask: Words, with0: Source) -> Bytes:
    """The dealer's c1 for server1, as it goes on the wire; ``mask`` is lambda0 + lambda1 of the step's input."""
    rows = mask.shape[0]
    out = np.zeros((rows, *step.output_shape), np.uint64)
    multiply_onto(step, mask, share.factor, out)
    out -= with0.elements("c0", out.shape)
    return pack_elements(out).reshape(rows, -1)


def dealt_like(step: Linear, rows: int) -> Like:
    """The array that :func:`deal` sends."""
    return Like("uint8", (rows, WIRE_BYTES * math.prod(step.output_shape)))


def prepare0(step: Linear, share: LayerShare, mask: Words, precision: Precision, with_dealer: Source) -> Words:
    """All of server0's share that does not need m: -lambda0·E + c0 + bias, and the constant of the truncation."""
    offset = with_dealer.elements("c0", (mask.shape[0], *step.output_shape))
    offset += np.uint64(_truncation_constant(step, precision))
    return _add_own_part(step, share, mask, offset)


def prepare1(step: Linear, share: LayerShare, mask: Words, dealt: Bytes) -> Words:
    """All of server1's share that does not need m: -lambda1·E + c1 + bias."""
    offset = unpack_elements(dealt.reshape(-1), (mask.shape[0], *step.output_shape))
    return _add_own_part(step, share, mask, offset)


def _add_own_part(step: Linear, share: LayerShare, mask: Words, offset: Words) -> Words:
    if share.masked is None or share.bias is None:
        raise ValueError("Only server0 and server1 prepare a linear layer.")
    multiply_onto(step, np.uint64(0) - mask, share.masked, offset)
    offset += share.bias
    return offset


def _truncation_constant(step: Linear, precision: Precision) -> int:
    """2^f - 1 makes the sum of two shifted shares floor or ceil; a signed value is lifted by 2^(k - 2) besides."""
    lift = 1 << (precision.value_bits - 2) if step.then == "truncate" else 0
    return (1 << precision.fraction_bits) - 1 + lift


def online(step: Linear, share: LayerShare, offset: Words, masked_input: Words) -> Words:
    """This server's additive share of z + constant at scale 2f; the only work that waits for the input.

    ``offset`` was prepared for this query and is used up.
    """
    return multiply_onto(step, masked_input, share.factor, offset)


