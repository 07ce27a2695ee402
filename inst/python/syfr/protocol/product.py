"""Products of two secret values, element by element or as matrices.

With x = m - lambda and y = n - mu:

    x·y = m·n - lambda·n - m·mu + lambda·mu

server0 computes m·n - lambda0·n - m·mu0 + c0, server1 computes -lambda1·n - m·mu1 + c1, where c0 + c1 = lambda·mu, all
of which the dealer knows: c0 comes from its key with server0, c1 is sent to server1 (ASTRA, CCSW 2019, section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from syfr.program import Program
from syfr.protocol.after import Followed
from syfr.protocol.channel import Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.operation import Dealing, Messages, Preparing, Streams, Summed
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import ELEMENT_BYTES, LayerShare
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Words
from syfr.ring.packing import pack_elements, unpack_elements
from syfr.ring.products import matmul_onto
from syfr.steps import Product


def multiply(left: Words, right: Words, matrices: bool) -> Words:
    """left·right, element by element or the matrices in the last two axes, as a new array."""
    if not matrices:
        return left * right
    out = np.zeros((*left.shape[:-1], right.shape[-1]), np.uint64)
    pairs = math.prod(left.shape[:-2])
    lefts, rights = left.reshape(pairs, *left.shape[-2:]), right.reshape(pairs, *right.shape[-2:])
    outs = out.reshape(pairs, *out.shape[-2:])
    for pair in range(pairs):
        matmul_onto(np.ascontiguousarray(lefts[pair]), np.ascontiguousarray(rights[pair]), outs[pair])
    return out


@dataclass(frozen=True, repr=False)
class Prepared(Summed):
    """What is ready: lambda_i and mu_i besides c_i with the constants."""

    left: Words
    right: Words


class ProductOperation(Followed[Product]):
    """A product and what follows it."""

    def __init__(self, program: Program, step: Product, number: int, padded: bool) -> None:
        super().__init__(program, step, number, padded, program.precision.fraction_bits + step.scale_bits)

    def cost(self) -> Cost:
        """c1, and what follows."""
        return Cost(preprocessing_bytes=WIRE_BYTES * self.values) + super().cost()

    def row_bytes(self) -> int:
        """Both masks besides, counted as large as the result."""
        return 2 * ELEMENT_BYTES * self.values + super().row_bytes()

    def dealt_like(self, rows: int) -> list[Like]:
        """c1, and what follows."""
        return [Like("uint8", (rows, WIRE_BYTES * self.values)), *super().dealt_like(rows)]

    def deal(self, masks: Sequence[Words], share: LayerShare | None, streams: Streams) -> Dealing:
        """c1, and what follows."""
        rows = masks[0].shape[0]
        total = multiply(masks[0], masks[1], self.step.matrices)
        total -= streams.common(Role.SERVER0, self.number, "linear").elements("c0", total.shape)
        return self.dealing(rows, streams, pack_elements(total).reshape(rows, -1))

    def prepare(
        self, role: Role, masks: Sequence[Words], share: LayerShare | None, streams: Streams, messages: Messages
    ) -> Preparing:
        """lambda_i, mu_i and c_i, and what follows."""
        rows = masks[0].shape[0]
        if messages is None:
            offset = streams.common(DEALER, self.number, "linear").elements("c0", self.shape(rows))
            offset += np.uint64(self.after.constant())
        else:
            offset = unpack_elements(next(messages).reshape(-1), self.shape(rows))
        mask, after = self.preparing(role, rows, streams, messages)
        return Preparing(mask, Prepared(offset, after, masks[0], masks[1]))

    async def online(
        self, channel: Channel, transcript: Transcript, share: LayerShare | None, ready: Any, values: Sequence[Words]
    ) -> Any:
        """The product, and what follows."""
        z = ready.offset
        left, right = values
        known = left - ready.left if channel.role is Role.SERVER0 else np.uint64(0) - ready.left
        z += multiply(known, right, self.step.matrices)
        z -= multiply(left, ready.right, self.step.matrices)
        return await self.ending(channel, transcript, ready, z)
