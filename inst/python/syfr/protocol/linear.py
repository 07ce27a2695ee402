"""Linear layers: one product online, whatever was pooled, normalised or padded into it.

With W = E - B, B = B0 + B1 and x = m - lambda, lambda = lambda0 + lambda1 (signs as in the sharing):

    x·W = m·(E - B0) - m·B1 - lambda0·E - lambda1·E + lambda·B

server0 computes m·(E - B0) - lambda0·E + c0, server1 computes -m·B1 - lambda1·E + c1, where c0 + c1 = lambda·B: c0
comes from the key of server0 and the dealer, c1 is sent to server1. All but the products with m is preprocessing.
Values that are added before the truncation, at scale f, are shares already: m - lambda0 and -lambda1, times 2^f.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from syfr.program import Program
from syfr.protocol.after import Followed
from syfr.protocol.channel import Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.operation import Dealing, Messages, Preparing, Streams, Summed
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import LayerShare
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Words
from syfr.ring.packing import pack_elements, unpack_elements
from syfr.ring.products import convolve_onto, matmul_onto
from syfr.ring.streams import Bytes, Source
from syfr.steps import Linear


def multiply_onto(step: Linear, x: Words, kernel: Words, out: Words) -> Words:
    """Add x·kernel, a convolution or a matrix product, onto ``out``: (rows, *step.output_shape)."""
    place = step.geometry
    if place is None:
        return matmul_onto(x, kernel, out)
    images = x.reshape(-1, *x.shape[-3:])
    into = out.reshape(-1, *out.shape[-3:])
    convolve_onto(images, kernel, place.strides, place.padding, place.dilation, place.groups, into)
    return out


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


def prepare0(step: Linear, share: LayerShare, mask: Words, constant: int, with_dealer: Source) -> Words:
    """All of server0's share that does not need m: -lambda0·E + c0 + bias, and the constant of what follows."""
    offset = with_dealer.elements("c0", (mask.shape[0], *step.output_shape))
    offset += np.uint64(constant)
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


def online(step: Linear, share: LayerShare, offset: Words, masked_input: Words) -> Words:
    """This server's additive share of z + constant at scale 2f; the only work that waits for the input.

    ``offset`` was prepared for this query and is used up.
    """
    return multiply_onto(step, masked_input, share.factor, offset)


class LinearOperation(Followed[Linear]):
    """A linear layer and what follows it. What is ready: the offset, and what follows' own."""

    def __init__(self, program: Program, step: Linear, number: int, padded: bool) -> None:
        super().__init__(program, step, number, padded, program.precision.fraction_bits)

    def cost(self) -> Cost:
        """c1, and what follows."""
        return Cost(preprocessing_bytes=WIRE_BYTES * self.values) + super().cost()

    def dealt_like(self, rows: int) -> list[Like]:
        """c1, and what follows."""
        return [dealt_like(self.step, rows), *super().dealt_like(rows)]

    def deal(self, masks: Sequence[Words], share: LayerShare | None, streams: Streams) -> Dealing:
        """c1, and what follows."""
        c1 = deal(self.step, _given(share), masks[0], streams.common(Role.SERVER0, self.number, "linear"))
        return self.dealing(masks[0].shape[0], streams, c1)

    def prepare(
        self, role: Role, masks: Sequence[Words], share: LayerShare | None, streams: Streams, messages: Messages
    ) -> Preparing:
        """The offset, and what follows."""
        step = self.step
        if messages is None:
            source = streams.common(DEALER, self.number, "linear")
            offset = prepare0(step, _given(share), masks[0], self.after.constant(), source)
        else:
            offset = prepare1(step, _given(share), masks[0], next(messages))
        for (_, factor), added in zip(step.plus, masks[1:], strict=True):
            offset -= added * self._at_scale(factor)
        mask, after = self.preparing(role, masks[0].shape[0], streams, messages)
        return Preparing(mask, Summed(offset, after))

    async def online(
        self, channel: Channel, transcript: Transcript, share: LayerShare | None, ready: Summed, values: Sequence[Words]
    ) -> Any:
        """The product, and what follows."""
        z = online(self.step, _given(share), ready.offset, values[0])
        if channel.role is Role.SERVER0:
            for (_, factor), value in zip(self.step.plus, values[1:], strict=True):
                z += value * self._at_scale(factor)
        return await self.ending(channel, transcript, ready, z)

    def _at_scale(self, factor: int) -> np.uint64:
        return np.uint64((factor << self.precision.fraction_bits) & _RING)


_RING = (1 << 64) - 1


def _given(share: LayerShare | None) -> LayerShare:
    if share is None:
        raise ValueError("A linear layer has weights.")
    return share
