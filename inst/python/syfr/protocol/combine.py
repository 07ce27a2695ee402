"""Sums of values with public factors, and what moves numbers without changing them.

All of these act alike on m and on each lambda, so every party does them alone; a public constant is added to m. Where
the sum has more fraction bits than a value, it is truncated like a product: m and the lambdas are additive shares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from syfr.program import Program
from syfr.protocol.after import Followed
from syfr.protocol.channel import Channel
from syfr.protocol.cost import Cost
from syfr.protocol.operation import Dealing, Messages, Operation, Preparing, Streams, Summed
from syfr.protocol.roles import Role
from syfr.protocol.sharing import LayerShare
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import Words
from syfr.steps import Combine, Concatenate, Reshape, Slice, Step, Take, Transpose, Weigh

RING = (1 << 64) - 1


def element(number: int) -> np.uint64:
    """A public whole number as a ring element."""
    return np.uint64(number & RING)


def arranged(step: Reshape | Slice | Transpose | Take | Concatenate | Weigh, values: Sequence[Words]) -> Words:
    """A local step on m, on a lambda or on their sum, (rows, ...)."""
    value = values[0]
    if isinstance(step, Slice):
        size = math.prod(step.output_shape)
        return value[:, step.start : step.start + size].reshape(value.shape[0], *step.output_shape)
    if isinstance(step, Reshape):
        return value.reshape(value.shape[0], *step.output_shape)
    if isinstance(step, Transpose):
        return np.ascontiguousarray(value.transpose(0, *(axis + 1 for axis in step.axes)))
    if isinstance(step, Take):
        places = np.array(step.indices, np.intp)
        taken = value.take(places, axis=step.axis + 1)
        if step.indices and min(step.indices) < 0:
            np.moveaxis(taken, step.axis + 1, 0)[places < 0] = 0
        return taken
    if isinstance(step, Concatenate):
        return np.concatenate(values, axis=step.axis + 1)
    factors = np.array([element(factor) for factor in step.factors], np.uint64)
    return np.asarray((value * factors).sum(axis=-1, keepdims=True, dtype=np.uint64))


def weighted(factors: Sequence[int], values: Sequence[Words]) -> Words:
    """The sum of factor·value, as a new array."""
    total = values[0] * element(factors[0])
    for factor, value in zip(factors[1:], values[1:], strict=True):
        total += value * element(factor)
    return total


LocalStep = TypeVar("LocalStep", bound=Step)


class LocalOperation(Operation[LocalStep]):
    """A step that nobody needs a message for."""

    local = True

    def cost(self) -> Cost:
        """Nothing."""
        return Cost()

    def apply(self, values: Sequence[Words], public: bool) -> Words:
        """The step on m (``public``: constants are added), on a lambda or on their sum."""
        raise NotImplementedError

    def deal(self, masks: Sequence[Words], share: LayerShare | None, streams: Streams) -> Dealing:
        """On lambda0 + lambda1."""
        return Dealing(self.apply(masks, public=False), None)

    def prepare(
        self, role: Role, masks: Sequence[Words], share: LayerShare | None, streams: Streams, messages: Messages
    ) -> Preparing:
        """On lambda_i."""
        return Preparing(self.apply(masks, public=False), None)

    async def online(
        self, channel: Channel, transcript: Transcript, share: LayerShare | None, ready: Any, values: Sequence[Words]
    ) -> Any:
        """On m."""
        return self.apply(values, public=True)


class ArrangeOperation(LocalOperation[Reshape | Slice | Transpose | Take | Concatenate | Weigh]):
    """Numbers in other places, or their sums."""

    def apply(self, values: Sequence[Words], public: bool) -> Words:
        """See :func:`arranged`."""
        return arranged(self.step, values)


class SumOperation(LocalOperation[Combine]):
    """An exact sum."""

    def apply(self, values: Sequence[Words], public: bool) -> Words:
        """The sum, and the constant on m."""
        total = weighted(self.step.factors, values)
        if public and self.step.constant:
            total += element(self.step.constant)
        return total


class CombineOperation(Followed[Combine]):
    """A sum that is truncated, or goes to the client. What is ready: the offset, and what follows' own."""

    def __init__(self, program: Program, step: Combine, number: int, padded: bool) -> None:
        super().__init__(program, step, number, padded, step.scale_bits)

    def deal(self, masks: Sequence[Words], share: LayerShare | None, streams: Streams) -> Dealing:
        """Of what follows."""
        return self.dealing(masks[0].shape[0], streams)

    def prepare(
        self, role: Role, masks: Sequence[Words], share: LayerShare | None, streams: Streams, messages: Messages
    ) -> Preparing:
        """-sum of factor·lambda_i, the constants at server0, and what follows."""
        offset = np.uint64(0) - weighted(self.step.factors, masks)
        if role is Role.SERVER0:
            offset += element(self.step.constant + self.after.constant())
        mask, after = self.preparing(role, masks[0].shape[0], streams, messages)
        return Preparing(mask, Summed(offset, after))

    async def online(
        self, channel: Channel, transcript: Transcript, share: LayerShare | None, ready: Any, values: Sequence[Words]
    ) -> Any:
        """The sum, and what follows."""
        z = ready.offset
        if channel.role is Role.SERVER0:
            z += weighted(self.step.factors, values)
        return await self.ending(channel, transcript, ready, z)
