"""Walks the graph of a Program for one query, from each role's side: a step begins when the values it reads are there.

Steps that do not wait for each other run side by side and share message delays. Each has a running hash of its own,
which begins with those of the values it reads (protocol/transcript.py), and a logical time of its own; a step that is
the only one to add to a hash goes on with that.

Where the preprocessing of a row comes in pieces (pieces.py), a step waits for its piece too, as for a message that the
party sends itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from syfr.party.pieces import Filling
from syfr.party.preprocessing import DealerBlock, Layers, Plan, ServerBlock, lift_number
from syfr.protocol import lift
from syfr.protocol.channel import Channel, Together
from syfr.protocol.sharing import low_bits
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import Words
from syfr.steps import is_output

PIECE = "prepared"
"""What the party calls a piece of preprocessing that has come, among the messages of a query."""

NEXT_PIECE = -1
"""The number under which the next piece is waited for, beside those of the steps."""


def pieces_here(plan: Plan, block: ServerBlock | DealerBlock) -> int:
    """How many pieces of a row's preprocessing have come."""
    return block.here if isinstance(block, Filling) else len(plan.pieces)


async def next_piece(channel: Channel, piece: int) -> None:
    """Wait for a piece; that is no message delay."""
    await channel.branch(0).receive(channel.role, (piece, PIECE))


@dataclass(repr=False, slots=True)
class _Value:
    """A masked value, the hash of all that led to it, and when it was there."""

    masked: Words
    transcript: Transcript
    clock: int


@dataclass
class _Walk:
    """One server's way through the graph."""

    channel: Channel
    plan: Plan
    layers: Layers
    prepared: ServerBlock
    rows: int
    values: dict[int, _Value] = field(default_factory=dict)
    parts: dict[int, NDArray[np.uint32]] = field(default_factory=dict)
    transcripts: dict[int, Transcript] = field(default_factory=dict)
    running: dict[int, tuple[Channel, Transcript]] = field(default_factory=dict)
    late: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.work = Together(self.channel)
        self.here = pieces_here(self.plan, self.prepared)
        self.waits_for = [len(sources) for sources in self.plan.sources]
        self.left = [len(readers) for readers in self.plan.readers]

    async def go(self, start: _Value) -> None:
        """Run every step."""
        self.expect_piece()
        self.found(0, start)
        while self.work:
            number, result = await self.work.next()
            if number == NEXT_PIECE:
                self.piece_came()
                continue
            channel, transcript = self.running.pop(number)
            self.transcripts[number] = transcript
            self.channel.clock = max(self.channel.clock, channel.clock)
            if isinstance(self.prepared, Filling):
                self.prepared.take(number)
            else:
                self.prepared.pop(number, None)
            step = self.plan.program.steps[number]
            for source in self.plan.sources[number]:
                self.let_go(source)
            result = result.reshape(self.rows, *step.output_shape)
            if is_output(step):
                self.parts[number] = result
            else:
                self.found(number + 1, _Value(result, transcript, channel.clock))

    def found(self, value: int, what: _Value) -> None:
        """A value is there: begin the steps that waited for nothing else."""
        self.values[value] = what
        for number in self.plan.readers[value]:
            self.waits_for[number] -= 1
            if not self.waits_for[number]:
                self.begin(number)

    def expect_piece(self) -> None:
        """Look out for the next piece, if one is to come."""
        if self.here < len(self.plan.pieces):
            self.work.start(NEXT_PIECE, next_piece(self.channel, self.here))

    def piece_came(self) -> None:
        """Begin the steps that waited for it."""
        self.here += 1
        late, self.late = self.late, []
        for number in late:
            self.begin(number)
        self.expect_piece()

    def begin(self, number: int) -> None:
        """Begin a step, if it is prepared."""
        if self.plan.piece_of(number) >= self.here:
            self.late.append(number)
            return
        operation = self.plan.operations[number]
        sources = [self.values[source] for source in operation.step.sources]
        channel = self.channel.branch(max([source.clock for source in sources]))
        if self.plan.goes_on[number]:
            transcript = sources[0].transcript
        else:
            chains = {id(source.transcript): source.transcript for source in sources}
            transcript = Transcript.following(number + 1, list(chains.values()))
        self.running[number] = channel, transcript
        masked = [source.masked for source in sources]
        ready, share = self.prepared.get(number), self.layers.get(number)
        self.work.start(number, operation.online(channel, transcript, share, ready, masked))

    def let_go(self, value: int) -> None:
        """A step has used a value; nobody keeps it longer than it is read."""
        self.left[value] -= 1
        if not self.left[value]:
            del self.values[value]


async def run_server(
    channel: Channel,
    transcript: Transcript,
    plan: Plan,
    layers: Layers,
    prepared: ServerBlock,
    masked_input: Words,
) -> NDArray[np.uint32]:
    """server0 and server1: from m to their part of the answer, (rows, *output shape). ``prepared`` is used up.

    ``transcript`` ends with the hashes of all steps.
    """
    transcript.absorb(masked_input)
    rows = masked_input.shape[0]
    if plan.program.input_bits is not None:
        masked_input = await _lift(channel, transcript, plan, prepared, masked_input)
    walk = _Walk(channel, plan, layers, prepared, rows)
    try:
        await walk.go(_Value(masked_input, transcript, channel.clock))
    finally:
        walk.work.close()
    transcript.join([walk.transcripts[number] for number in sorted(walk.transcripts)])
    parts = [walk.parts[number] for number in sorted(walk.parts)]
    return parts[0] if len(parts) == 1 else np.concatenate([part.reshape(rows, -1) for part in parts], axis=1)


async def _lift(
    channel: Channel, transcript: Transcript, plan: Plan, prepared: ServerBlock, masked_input: Words
) -> Words:
    program = plan.program
    number, bits = lift_number(program), program.input_bits or 0
    ready: lift.Prepared = prepared[number]
    flattened = low_bits(masked_input, bits).reshape(masked_input.shape[0], -1)
    lifted = await lift.online(
        channel,
        transcript,
        number,
        bits,
        program.input_offset,
        program.precision,
        ready,
        flattened,
    )
    return lifted.reshape(masked_input.shape)


async def run_dealer(channel: Channel, plan: Plan, dealt: DealerBlock) -> None:
    """The dealer: answers every compare of the query, in whatever order they come."""
    program, work = plan.program, Together(channel)
    channels: dict[int, Channel] = {}
    if program.input_bits is not None:
        number, bits = lift_number(program), program.input_bits
        branch = channels[number] = channel.branch(0)
        work.start(number, lift.online_dealer(branch, number, bits, program.precision, dealt[number]))

    def begin(piece: int) -> None:
        for operation in [plan.operations[number] for number in plan.pieces[piece]]:
            if operation.dealer_answers:
                branch = channels[operation.number] = channel.branch(0)
                work.start(operation.number, operation.online_dealer(branch, dealt[operation.number]))
        if piece + 1 == here and here < len(plan.pieces):
            work.start(NEXT_PIECE, next_piece(channel, here))

    here = pieces_here(plan, dealt)
    for piece in range(here):
        begin(piece)
    try:
        while work:
            number, _ = await work.next()
            if number == NEXT_PIECE:
                here += 1
                begin(here - 1)
            else:
                channel.clock = max(channel.clock, channels[number].clock)
    finally:
        work.close()
