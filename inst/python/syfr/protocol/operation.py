"""What every step of a Program offers: its cost, its preprocessing at each party, and its work online.

One class a kind of step, beside the protocol it runs; a party walks a Program without knowing what its steps are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from syfr.program import Program
from syfr.protocol.channel import Array, Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import LayerShare
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import Words
from syfr.ring.streams import Source
from syfr.steps import Step

Kind = TypeVar("Kind", bound=Step)
Messages = Iterator[Array] | None
"""What the dealer sent for this step and those behind it; None at server0, to whom it sends nothing."""


class Streams(Protocol):
    """The sources of one party for one block of rows."""

    def common(self, peer: Role, number: int, purpose: str) -> Source:
        """The source that this party and ``peer`` have in common for one step and purpose."""

    def own(self) -> Source:
        """A source that no other party has."""


@dataclass(frozen=True, repr=False)
class Dealing:
    """What came of a step at the dealer: the mask of its value, what it keeps for the online phase, what it sends."""

    mask: Words | None
    kept: Any
    sent: Sequence[Array] = ()


@dataclass(frozen=True, repr=False)
class Preparing:
    """What came of a step at server0 or server1: its mask of the step's value, and what it has ready."""

    mask: Words | None
    ready: Any


@dataclass(frozen=True, repr=False)
class Summed:
    """What is ready for a sum or a product: all of the share that does not need m, and what follows' own."""

    offset: Words
    after: Any


class Operation(ABC, Generic[Kind]):
    """One step of a Program.

    Attributes:
        number: of the step; its value is one more.
        padded: whether answers take the form of fewer delays (answer.py).
        values: elements of a row of its result.
    """

    dealer_answers = False
    """Whether the dealer has a part in the online phase."""

    agrees_first = False
    """Whether server0 and server1 compare hashes before its first message, if nothing has led them to before."""

    local = False
    """Whether every party does it alone, on what it holds."""

    def __init__(self, program: Program, step: Kind, number: int, padded: bool) -> None:
        self.program, self.step, self.number, self.padded = program, step, number, padded
        self.precision = program.precision
        self.values = math.prod(step.output_shape)

    def shape(self, rows: int) -> tuple[int, ...]:
        """The shape of its result."""
        return (rows, *self.step.output_shape)

    @abstractmethod
    def cost(self) -> Cost:
        """Delays and bytes for one row, hashes not counted."""

    def hash_bytes(self) -> int:
        """Bytes of the running hash in its swaps, whatever the number of rows."""
        return 0

    def row_bytes(self) -> int:
        """Memory of one prepared row at server0 or server1, in bytes, nearly."""
        return 0

    def dealt_like(self, rows: int) -> list[Like]:
        """The arrays that the dealer sends to server1."""
        return []

    @abstractmethod
    def deal(self, masks: Sequence[Words], share: LayerShare | None, streams: Streams) -> Dealing:
        """The dealer's preprocessing; ``masks`` are lambda0 + lambda1 of the values that the step reads."""

    @abstractmethod
    def prepare(
        self, role: Role, masks: Sequence[Words], share: LayerShare | None, streams: Streams, messages: Messages
    ) -> Preparing:
        """The preprocessing of server0 and server1; ``masks`` are the server's lambda of the values it reads."""

    @abstractmethod
    async def online(
        self, channel: Channel, transcript: Transcript, share: LayerShare | None, ready: Any, values: Sequence[Words]
    ) -> Any:
        """server0 and server1: the masked result, or the part of the answer, from the masked ``values`` it reads.

        ``ready`` was prepared for this query and is used up.
        """

    async def online_dealer(self, channel: Channel, kept: Any) -> None:
        """The dealer's part."""

    def dealer_mask(self, rows: int, streams: Streams) -> Words:
        """lambda' of the result at the dealer."""
        both = [self._mask(peer, rows, streams) for peer in (Role.SERVER0, Role.SERVER1)]
        return both[0] + both[1]

    def server_mask(self, rows: int, streams: Streams) -> Words:
        """lambda'_i of the result at a server."""
        return self._mask(DEALER, rows, streams)

    def _mask(self, peer: Role, rows: int, streams: Streams) -> Words:
        return streams.common(peer, self.number, "mask").elements("mask", self.shape(rows))
