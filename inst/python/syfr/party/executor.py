"""Walks a Program for one query, from each role's side."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from syfr.party.preprocessing import DealerBlock, Layers, ServerBlock, StepPrepared, flat, lift_number
from syfr.program import Program
from syfr.protocol import lift, linear, output, relu, truncation
from syfr.protocol.channel import Channel
from syfr.protocol.sharing import low_bits
from syfr.protocol.transcript import Transcript
from syfr.ring.fixedpoint import Words
from syfr.steps import Linear


async def run_server(
    channel: Channel,
    transcript: Transcript,
    program: Program,
    layers: Layers,
    prepared: ServerBlock,
    masked_input: Words,
) -> NDArray[np.uint32]:
    """server0 and server1: from m to their part of the answer, (rows, *output shape). ``prepared`` is used up."""
    transcript.absorb(masked_input)
    rows = masked_input.shape[0]
    if program.input_bits is not None:
        masked_input = await _lift(channel, transcript, program, prepared, masked_input)
    values = [masked_input]
    for number, step in enumerate(program.steps):
        source = values[step.source]
        if not isinstance(step, Linear):
            values.append(source.reshape(rows, *step.output_shape))
            continue
        ready = cast(StepPrepared, prepared[number])
        z = linear.online(step, layers[number], ready.offset, source)
        if step.then == "output":
            return await output.online(channel, transcript, number, program.precision, cast(Words, ready.after), z)
        flattened = z.reshape(flat(step, rows))
        if isinstance(ready.after, relu.Prepared):
            masked = await relu.online(channel, transcript, number, program.precision, ready.after, flattened)
        else:
            after = cast(truncation.Prepared, ready.after)
            masked = await truncation.online(channel, transcript, number, program.precision, after, flattened)
        values.append(masked.reshape(rows, *step.output_shape))
    raise ValueError("A program ends in an output step.")


async def _lift(
    channel: Channel, transcript: Transcript, program: Program, prepared: ServerBlock, masked_input: Words
) -> Words:
    number = lift_number(program)
    ready = cast(lift.Prepared, prepared[number])
    flattened = low_bits(masked_input, program.input_bits).reshape(masked_input.shape[0], -1)
    lifted = await lift.online(
        channel,
        transcript,
        number,
        program.input_bits or 0,
        program.input_offset,
        program.precision,
        ready,
        flattened,
    )
    return lifted.reshape(masked_input.shape)


async def run_dealer(channel: Channel, program: Program, dealt: DealerBlock) -> None:
    """The dealer: answers every compare of the query."""
    if program.input_bits is not None:
        number = lift_number(program)
        ready = cast(lift.Dealt, dealt[number])
        await lift.online_dealer(channel, number, program.input_bits, program.precision, ready)
    for number, step in program.linear_steps():
        if step.then == "relu":
            await relu.online_dealer(channel, number, program.precision, cast(relu.Dealt, dealt[number]))
