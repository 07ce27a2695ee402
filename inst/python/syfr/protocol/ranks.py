"""How many others each number of a row beats: all pairs are compared at once, in three message delays.

Differences of masked values are masked values, so each pair is one sign (bits.py). The sums of the bits are made on
shares; only they are swapped. Of equal numbers the first beats the others: [x_i >= x_j] counts for i < j. As in
signs.py, hashes are compared first where no swap has led to x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from syfr.program import Program
from syfr.protocol import answer, bits
from syfr.protocol.channel import Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.operation import Dealing, Messages, Operation, Preparing, Streams
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import LayerShare
from syfr.protocol.transcript import DIGEST_BYTES, Transcript
from syfr.ring.fixedpoint import WIRE_BYTES, Words
from syfr.steps import Ranks


@dataclass(frozen=True, repr=False)
class Prepared:
    """What is ready: what the compares of all pairs need, and the next mask."""

    comparing: bits.Prepared
    mask: Words


class RanksOperation(Operation[Ranks]):
    """The ranks of a row of numbers."""

    dealer_answers = True
    agrees_first = True

    def __init__(self, program: Program, step: Ranks, number: int, padded: bool) -> None:
        super().__init__(program, step, number, padded)
        self.ranked = step.output_shape[-1]
        self.left, self.right = np.triu_indices(self.ranked, 1)
        self.pairs = self.left.size * (self.values // self.ranked)

    def cost(self) -> Cost:
        """A compare for each pair, and one swap."""
        compared = bits.cost(self.pairs, 1, False, self.precision)
        answers = Cost(1, answer.given_bytes(self.pairs))
        return compared + answers + Cost(1, 2 * self.values * WIRE_BYTES)

    def hash_bytes(self) -> int:
        """Of one swap."""
        return 2 * DIGEST_BYTES

    def row_bytes(self) -> int:
        """What the compares need, and the next mask."""
        return bits.row_bytes(self.pairs, 1, False, self.precision) + 8 * self.values

    def dealt_like(self, rows: int) -> list[Like]:
        """For the compares."""
        return bits.dealt_like((rows, 1, self.pairs), False, self.precision)

    def deal(self, masks: Sequence[Words], share: LayerShare | None, streams: Streams) -> Dealing:
        """For the compares."""
        rows = masks[0].shape[0]
        with0, with1 = (streams.common(peer, self.number, "bits") for peer in (Role.SERVER0, Role.SERVER1))
        pairs = self._differences(masks[0])
        kept, arrays = bits.deal(pairs, 1, False, self.precision, with0, with1, streams.own(), padded=False)
        return Dealing(self.dealer_mask(rows, streams), kept, arrays)

    def prepare(
        self, role: Role, masks: Sequence[Words], share: LayerShare | None, streams: Streams, messages: Messages
    ) -> Preparing:
        """For the compares."""
        rows = masks[0].shape[0]
        dealer, partner = (streams.common(peer, self.number, "bits") for peer in (DEALER, role.partner))
        message = None if messages is None else [next(messages), next(messages)]
        shape = rows, 1, self.pairs
        comparing = bits.prepare(shape, False, self.precision, dealer, partner, message, padded=False)
        mask = self.server_mask(rows, streams)
        return Preparing(mask, Prepared(comparing, mask))

    async def online(
        self, channel: Channel, transcript: Transcript, share: LayerShare | None, ready: Any, values: Sequence[Words]
    ) -> Any:
        """From m, (rows, n), to the masked ranks."""
        comparing, mask = ready.comparing, ready.mask
        shape = values[0].shape[0], 1, self.pairs
        await transcript.agree(channel, (self.number, "agree"))
        known = bits.ask(channel, self.number, self.precision, comparing, [self._differences(values[0])])
        a, flipped = bits.signed_bits(known, await bits.answered(channel, transcript, self.number, shape))
        wins = flipped[:, 0] * comparing.dealt[:, 0, 0]
        first = channel.role is Role.SERVER0
        if first:
            wins += a[:, 0]
        share_of_ranks = self._ranks(wins, first) + mask.reshape(-1, self.values)
        return await answer.swap_masked(channel, transcript, self.number, share_of_ranks)

    async def online_dealer(self, channel: Channel, kept: Any) -> None:
        """Answers the compares."""
        await bits.online_dealer(channel, self.number, self.precision, kept)

    def _differences(self, values: Words) -> Words:
        """x_left - x_right of all pairs, (rows, pairs)."""
        lists = values.reshape(-1, self.ranked)
        return (lists.take(self.left, axis=1) - lists.take(self.right, axis=1)).reshape(values.shape[0], self.pairs)

    def _ranks(self, wins: Words, first: bool) -> Words:
        """Shares of the ranks from shares of [x_left >= x_right] of all pairs: the left wins, or else the right."""
        rows, wins = wins.shape[0], wins.reshape(-1, self.left.size)
        losses = (np.uint64(1) if first else np.uint64(0)) - wins
        ranks = np.zeros((self.ranked, wins.shape[0]), np.uint64)
        np.add.at(ranks, self.left, wins.T)
        np.add.at(ranks, self.right, losses.T)
        return np.ascontiguousarray(ranks.T).reshape(rows, self.values) << np.uint64(self.precision.fraction_bits)
