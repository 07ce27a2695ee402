"""Functions of one variable that are linear between knots: ReLU of a masked value, clipping, curves; and steps.

x is known as m to server0 and server1; its signs against every knot come from bits.py in two delays, whatever their
number. With X = x - t, [X >= 0]·X = a·X + (1 - 2a)·(tau·(m - t) - tau·lambda), so each server sums its shares over the
knots with the public factors and sends nothing in between. An exact result is swapped under the next mask (three
delays; two in the form of answer.py for one knot); one with more fraction bits is truncated (four delays). Where no
swap has led to x, hashes are compared first (one delay more; bits.py says why).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from syfr.program import Program
from syfr.protocol import answer, bits
from syfr.protocol.after import Truncate
from syfr.protocol.channel import Channel, Like
from syfr.protocol.combine import element
from syfr.protocol.cost import Cost
from syfr.protocol.operation import Dealing, Messages, Operation, Preparing, Streams
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import LayerShare
from syfr.protocol.transcript import DIGEST_BYTES, Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Words
from syfr.ring.lines import share_of_lines
from syfr.ring.streams import Bytes
from syfr.steps import Signs


@dataclass(frozen=True, repr=False)
class Prepared:
    """What is ready: lambda_i of x, what the compares need, and the next mask or what the truncation needs."""

    mask: Words
    comparing: bits.Prepared
    after: Any


class SignsOperation(Operation[Signs]):
    """A function that is linear between knots."""

    dealer_answers = True
    agrees_first = True

    def __init__(self, program: Program, step: Signs, number: int, padded: bool) -> None:
        super().__init__(program, step, number, padded)
        self.knots = len(step.knots)
        self.products = not step.bits
        taking = self.precision.taking_off(step.scale_bits)
        self.truncation = Truncate(number, self.values, taking) if step.scale_bits else None
        self.padded = padded and self.knots == 1 and self.truncation is None

    def cost(self) -> Cost:
        """The compares, the answers, and a swap or a truncation."""
        compared = bits.cost(self.values, self.knots, self.products, self.precision)
        if self.padded:
            return compared + answer.cost(self.values, padded=True)
        answers = Cost(1, self.knots * answer.given_bytes(self.values))
        swap = Cost(1, 2 * self.values * WIRE_BYTES)
        return compared + answers + (swap if self.truncation is None else self.truncation.cost())

    def hash_bytes(self) -> int:
        """Of one swap, or of the truncation's."""
        return 2 * DIGEST_BYTES if self.truncation is None else self.truncation.hash_bytes()

    def row_bytes(self) -> int:
        """What the compares need, two masks, and the truncation."""
        after = 0 if self.truncation is None else self.truncation.row_bytes()
        return bits.row_bytes(self.values, self.knots, self.products, self.precision) + 16 * self.values + after

    def dealt_like(self, rows: int) -> list[Like]:
        """For the compares, and for the truncation."""
        found = bits.dealt_like((rows, self.knots, self.values), self.products, self.precision)
        return found if self.truncation is None else [*found, *self.truncation.dealt_like(rows)]

    def deal(self, masks: Sequence[Words], share: LayerShare | None, streams: Streams) -> Dealing:
        """For the compares, and for the truncation."""
        rows = masks[0].shape[0]
        flat = masks[0].reshape(rows, self.values)
        with0, with1 = (streams.common(peer, self.number, "bits") for peer in (Role.SERVER0, Role.SERVER1))
        kept, arrays = bits.deal(
            flat, self.knots, self.products, self.precision, with0, with1, streams.own(), self.padded
        )
        if self.truncation is not None:
            arrays = [*arrays, *self.truncation.deal(rows, streams)[1]]
        return Dealing(self.dealer_mask(rows, streams), kept, arrays)

    def prepare(
        self, role: Role, masks: Sequence[Words], share: LayerShare | None, streams: Streams, messages: Messages
    ) -> Preparing:
        """For the compares, and for the truncation."""
        rows = masks[0].shape[0]
        dealer, partner = (streams.common(peer, self.number, "bits") for peer in (DEALER, role.partner))
        message = None if messages is None else [next(messages), next(messages)]
        shape = rows, self.knots, self.values
        comparing = bits.prepare(shape, self.products, self.precision, dealer, partner, message, self.padded)
        mask = self.server_mask(rows, streams)
        after: Any = mask.reshape(rows, self.values)
        if self.truncation is not None:
            after = self.truncation.prepare(role, rows, streams, mask, messages)
        return Preparing(mask, Prepared(masks[0].reshape(rows, self.values), comparing, after))

    async def online(
        self, channel: Channel, transcript: Transcript, share: LayerShare | None, ready: Any, values: Sequence[Words]
    ) -> Any:
        """From m, (rows, ...), to the masked result, (rows, n)."""
        mask, comparing, after = ready.mask, ready.comparing, ready.after
        rows = values[0].shape[0]
        masked = values[0].reshape(rows, self.values)
        shifted = [masked - element(knot) for knot in self.step.knots]
        await transcript.agree(channel, (self.number, "agree"))
        known = bits.ask(channel, self.number, self.precision, comparing, shifted)
        first = channel.role is Role.SERVER0

        def share_for(answers: Bytes) -> Words:
            return self._share(first, masked, mask, comparing, known, answers.reshape(known.shape))

        if comparing.pads is not None:
            return await answer.online(
                channel,
                transcript,
                self.number,
                (rows, self.values),
                comparing.pads,
                lambda answers: share_for(answers) + after,
            )
        shape = rows, self.knots, self.values
        z = share_for(await bits.answered(channel, transcript, self.number, shape))
        if self.truncation is None:
            return await answer.swap_masked(channel, transcript, self.number, z + after)
        if first:
            z += np.uint64(self.truncation.constant())
        return await self.truncation.online(channel, transcript, after, z)

    def _share(
        self,
        first: bool,
        masked: Words,
        mask: Words,
        comparing: bits.Prepared,
        known: Bytes,
        answers: Bytes,
    ) -> Words:
        """This server's share of slope·x + constant + sum of factor·g(x - knot)."""
        step = self.step
        knots, factors = (np.array([element(one) for one in found], np.uint64) for found in (step.knots, step.factors))
        slope, constant = element(step.slope), element(step.constant)
        return share_of_lines(masked, mask, known ^ answers, comparing.dealt, knots, factors, slope, constant, first)

    async def online_dealer(self, channel: Channel, kept: Any) -> None:
        """Answers the compares."""
        await bits.online_dealer(channel, self.number, self.precision, kept)
