"""What follows a product or a sum: truncation, with or without max(0, .), or truncation towards the client.

A step that makes additive shares of z ends in one of these; z has more fraction bits than a value, which go here.
"""

from __future__ import annotations

from typing import Any, Protocol

from syfr.program import Program
from syfr.protocol import output, relu, truncation
from syfr.protocol.channel import Array, Channel, Like
from syfr.protocol.cost import Cost
from syfr.protocol.operation import Dealing, Kind, Messages, Operation, Streams, Summed
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import ELEMENT_BYTES
from syfr.protocol.transcript import DIGEST_BYTES, Transcript
from syfr.ring.fixedpoint import Precision, Words
from syfr.steps import follows


class After(Protocol):
    """One of the three."""

    precision: Precision
    """Its fraction_bits are the bits that are taken off, its value_bits those that z must fit."""

    def constant(self) -> int:
        """What server0 adds to its share of z beforehand."""

    def cost(self) -> Cost:
        """For one row."""

    def hash_bytes(self) -> int:
        """In its swaps."""

    def row_bytes(self) -> int:
        """Memory of a prepared row."""

    def dealt_like(self, rows: int) -> list[Like]:
        """What the dealer sends."""

    def deal(self, rows: int, streams: Streams) -> tuple[Any, list[Array]]:
        """What the dealer keeps, and what it sends."""

    def prepare(self, role: Role, rows: int, streams: Streams, mask: Words | None, messages: Messages) -> Any:
        """What server0 or server1 has ready; ``mask`` is lambda'_i of the result."""

    async def online(self, channel: Channel, transcript: Transcript, ready: Any, z: Words) -> Any:
        """From additive shares of z + constant, (rows, n), to the masked value or the part of the answer."""

    async def online_dealer(self, channel: Channel, kept: Any) -> None:
        """The dealer's part."""


class Relu:
    """Truncation and max(0, .)."""

    def __init__(self, number: int, values: int, precision: Precision, padded: bool) -> None:
        self.number, self.values, self.precision, self.padded = number, values, precision, padded

    def constant(self) -> int:
        """2^s - 1 makes the sum of two shifted shares floor or ceil."""
        return (1 << self.precision.fraction_bits) - 1

    def cost(self) -> Cost:
        """Four delays, or three."""
        return relu.cost(self.values, self.precision, self.padded)

    def hash_bytes(self) -> int:
        """Of two swaps."""
        return relu.hash_bytes()

    def row_bytes(self) -> int:
        """Thresholds, what hides the compare, R, what is dealt, the mask."""
        return relu.row_bytes(self.values, self.precision)

    def dealt_like(self, rows: int) -> list[Like]:
        """Thresholds and products."""
        return relu.dealt_like((rows, self.values), self.precision)

    def deal(self, rows: int, streams: Streams) -> tuple[Any, list[Array]]:
        """See relu.py."""
        with0, with1 = (streams.common(peer, self.number, "after") for peer in (Role.SERVER0, Role.SERVER1))
        return relu.deal((rows, self.values), self.precision, with0, with1, streams.own(), self.padded)

    def prepare(self, role: Role, rows: int, streams: Streams, mask: Words | None, messages: Messages) -> Any:
        """See relu.py."""
        dealer, partner = (streams.common(peer, self.number, "after") for peer in (DEALER, role.partner))
        shape = rows, self.values
        message = None if messages is None else [next(messages) for _ in range(3)]
        return relu.prepare(shape, self.precision, dealer, partner, own_copy(mask, shape), message, self.padded)

    async def online(self, channel: Channel, transcript: Transcript, ready: Any, z: Words) -> Any:
        """See relu.py."""
        return await relu.online(channel, transcript, self.number, self.precision, ready, z)

    async def online_dealer(self, channel: Channel, kept: Any) -> None:
        """Answers the compare."""
        await relu.online_dealer(channel, self.number, self.precision, kept)


class Truncate:
    """Truncation alone."""

    def __init__(self, number: int, values: int, precision: Precision) -> None:
        self.number, self.values, self.precision = number, values, precision

    def constant(self) -> int:
        """As for a ReLU; a signed value is lifted by a quarter of the modulus besides."""
        return (1 << self.precision.fraction_bits) - 1 + (1 << (self.precision.value_bits - 2))

    def cost(self) -> Cost:
        """Two delays."""
        return truncation.cost(self.values, self.precision)

    def hash_bytes(self) -> int:
        """Of two swaps."""
        return 4 * DIGEST_BYTES

    def row_bytes(self) -> int:
        """R, what is dealt, the mask."""
        return self.values * (4 + 8 * (truncation.DEALT + 1))

    def dealt_like(self, rows: int) -> list[Like]:
        """p and w."""
        return truncation.dealt_like((rows, self.values), self.precision)

    def deal(self, rows: int, streams: Streams) -> tuple[Any, list[Array]]:
        """See truncation.py."""
        with0, with1 = (streams.common(peer, self.number, "after") for peer in (Role.SERVER0, Role.SERVER1))
        return None, truncation.deal((rows, self.values), self.precision, with0, with1)

    def prepare(self, role: Role, rows: int, streams: Streams, mask: Words | None, messages: Messages) -> Any:
        """See truncation.py."""
        shape = rows, self.values
        message = None if messages is None else [next(messages)]
        dealer = streams.common(DEALER, self.number, "after")
        return truncation.prepare(shape, self.precision, dealer, own_copy(mask, shape), message)

    async def online(self, channel: Channel, transcript: Transcript, ready: Any, z: Words) -> Any:
        """See truncation.py."""
        return await truncation.online(channel, transcript, self.number, self.precision, ready, z)

    async def online_dealer(self, channel: Channel, kept: Any) -> None:
        """Nothing."""


class Output:
    """Truncation towards the client."""

    def __init__(self, number: int, values: int, precision: Precision) -> None:
        self.number, self.values, self.precision = number, values, precision

    def constant(self) -> int:
        """As for a ReLU."""
        return (1 << self.precision.fraction_bits) - 1

    def cost(self) -> Cost:
        """Nothing between workers."""
        return Cost()

    def hash_bytes(self) -> int:
        """None; where no swap came before, see output.agreement()."""
        return 0

    def row_bytes(self) -> int:
        """The sharing of zero."""
        return 8 * self.values

    def dealt_like(self, rows: int) -> list[Like]:
        """Nothing."""
        return []

    def deal(self, rows: int, streams: Streams) -> tuple[Any, list[Array]]:
        """Nothing."""
        return None, []

    def prepare(self, role: Role, rows: int, streams: Streams, mask: Words | None, messages: Messages) -> Any:
        """Half of a sharing of zero."""
        return output.prepare((rows, self.values), role, streams.common(role.partner, self.number, "after"))

    async def online(self, channel: Channel, transcript: Transcript, ready: Any, z: Words) -> Any:
        """See output.py."""
        return await output.online(channel, transcript, self.number, self.precision, ready, z)

    async def online_dealer(self, channel: Channel, kept: Any) -> None:
        """Nothing."""


class Followed(Operation[Kind]):
    """A step that makes additive shares of z, which one of the three follows.

    ``scale_bits``: z has so many fraction bits more than a value.
    """

    def __init__(self, program: Program, step: Kind, number: int, padded: bool, scale_bits: int) -> None:
        super().__init__(program, step, number, padded)
        self.then = follows(step)
        self.after = what_follows(
            self.then, number, self.values, self.precision, scale_bits, program.output_digits, padded
        )
        self.dealer_answers = self.then == "relu"

    def cost(self) -> Cost:
        """Of what follows."""
        return self.after.cost()

    def hash_bytes(self) -> int:
        """Of what follows."""
        return self.after.hash_bytes()

    def row_bytes(self) -> int:
        """A share of z, and what follows."""
        return ELEMENT_BYTES * self.values + self.after.row_bytes()

    def dealt_like(self, rows: int) -> list[Like]:
        """Of what follows."""
        return self.after.dealt_like(rows)

    def dealing(self, rows: int, streams: Streams, *sent: Array) -> Dealing:
        """The dealer's arrays ``sent`` for z, and what follows."""
        kept, arrays = self.after.deal(rows, streams)
        mask = None if self.then == "output" else self.dealer_mask(rows, streams)
        return Dealing(mask, kept, [*sent, *arrays])

    def preparing(self, role: Role, rows: int, streams: Streams, messages: Messages) -> tuple[Words | None, Any]:
        """This server's mask of the result, and what is ready for what follows."""
        mask = None if self.then == "output" else self.server_mask(rows, streams)
        return mask, self.after.prepare(role, rows, streams, mask, messages)

    async def ending(self, channel: Channel, transcript: Transcript, ready: Summed, z: Words) -> Any:
        """What follows, on this server's share of z."""
        return await self.after.online(channel, transcript, ready.after, z.reshape(z.shape[0], self.values))

    async def online_dealer(self, channel: Channel, kept: Any) -> None:
        """Of what follows."""
        await self.after.online_dealer(channel, kept)


def own_copy(mask: Words | None, shape: tuple[int, int]) -> Words:
    """A mask that the online phase may add its result onto; preprocessing of later steps needs it unchanged."""
    if mask is None:
        raise ValueError("Only an output has no mask.")
    return mask.reshape(shape).copy()


def what_follows(
    then: str, number: int, values: int, precision: Precision, scale_bits: int, digits: int, padded: bool
) -> After:
    """What a step is followed by, whose z has f + ``scale_bits`` fraction bits; ``digits`` are those of an answer."""
    taking = precision.taking_off(scale_bits)
    if then == "relu":
        return Relu(number, values, taking, padded)
    if then == "truncate":
        return Truncate(number, values, taking)
    shift = precision.fraction_bits + scale_bits - digits
    return Output(number, values, Precision(shift, taking.value_bits, precision.digits))


