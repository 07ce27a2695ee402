"""Preprocessing of a block of rows: everything that does not depend on the input, made before it is known.

The dealer makes a block and sends server1 its arrays; server0 and server1 then make their parts from the keys they have
in common with others. What was made is handed out row by row, each row once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from syfr.errors import ProtocolError
from syfr.party.streams import Streams
from syfr.program import Program
from syfr.protocol import lift, linear, output, relu, truncation
from syfr.protocol.channel import Array, Like
from syfr.protocol.cost import Cost
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import LayerShare, low_bits
from syfr.ring.fixedpoint import Words
from syfr.steps import Linear

Layers = Mapping[int, LayerShare]
Part = TypeVar("Part")


@dataclass(frozen=True, repr=False)
class StepPrepared:
    """What one linear step needs online: the share that does not depend on m, and what follows the product."""

    offset: Words
    after: relu.Prepared | truncation.Prepared | Words


ServerBlock = dict[int, StepPrepared | lift.Prepared]
DealerBlock = dict[int, relu.Dealt | lift.Dealt]


def step_cost(program: Program, step: Linear, padded: bool = False) -> Cost:
    """Delays and bytes of one step for one row, hashes not counted."""
    values = math.prod(step.output_shape)
    after = {
        "relu": relu.cost(values, program.precision, padded),
        "truncate": truncation.cost(values),
        "output": Cost(),
    }
    return linear.cost(step) + after[step.then]


def flat(step: Linear, rows: int) -> tuple[int, int]:
    """Rows and values a row of a step's result."""
    return rows, math.prod(step.output_shape)


def lift_number(program: Program) -> int:
    """The number under which the lift of the input goes: that of a step more than the program has."""
    return len(program.steps)


def program_cost(program: Program, padded: bool = False) -> Cost:
    """Delays and bytes of one query of one row, hashes not counted; ``padded`` in the form of fewer delays."""
    total = Cost()
    if program.input_bits is not None:
        total += lift.cost(math.prod(program.input_shape), program.precision, padded)
    for _, step in program.linear_steps():
        total += step_cost(program, step, padded)
    return total if total.delays else total + output.agreement()


def deal_block(
    program: Program, layers: Layers, streams: Streams, input_mask: Words, padded: bool = False
) -> tuple[DealerBlock, list[Array]]:
    """The dealer's side. ``input_mask`` is lambda0 + lambda1 of the block's rows; ``padded`` chooses the form of the
    answers (answer.py).

    Returns:
        What the dealer keeps, by step, and the arrays for server1, in the order of :func:`dealt_like`.
    """
    rows = input_mask.shape[0]
    precision = program.precision
    keeps: DealerBlock = {}
    message: list[Array] = []
    if program.input_bits is not None:
        number, shape = lift_number(program), (rows, math.prod(program.input_shape))
        small = low_bits(input_mask, program.input_bits).reshape(shape)
        with0, with1 = (streams.common(peer, number, "after") for peer in (Role.SERVER0, Role.SERVER1))
        own = streams.own()
        keeps[number], arrays = lift.deal(small, program.input_bits, precision, with0, with1, own, padded)
        message.extend(arrays)
        input_mask = _dealer_mask((rows, *program.input_shape), streams, number)
    masks = [input_mask]
    for number, step in enumerate(program.steps):
        mask = masks[step.source]
        if not isinstance(step, Linear):
            masks.append(mask.reshape(rows, *step.output_shape))
            continue
        message.append(linear.deal(step, layers[number], mask, streams.common(Role.SERVER0, number, "linear")))
        if step.then == "output":
            break
        masks.append(_dealer_mask((rows, *step.output_shape), streams, number))
        with0, with1 = (streams.common(peer, number, "after") for peer in (Role.SERVER0, Role.SERVER1))
        if step.then == "relu":
            keeps[number], arrays = relu.deal(flat(step, rows), precision, with0, with1, streams.own(), padded)
        else:
            arrays = truncation.deal(flat(step, rows), precision, with0, with1)
        message.extend(arrays)
    return keeps, message


def _dealer_mask(shape: tuple[int, ...], streams: Streams, number: int) -> Words:
    both = [streams.common(peer, number, "mask").elements("mask", shape) for peer in (Role.SERVER0, Role.SERVER1)]
    return both[0] + both[1]


def dealt_like(program: Program, rows: int) -> list[Like]:
    """The arrays of a block that the dealer sends to server1."""
    expected: list[Like] = []
    if program.input_bits is not None:
        expected.extend(lift.dealt_like((rows, math.prod(program.input_shape)), program.precision))
    for _, step in program.linear_steps():
        expected.append(linear.dealt_like(step, rows))
        if step.then == "relu":
            expected.extend(relu.dealt_like(flat(step, rows), program.precision))
        elif step.then == "truncate":
            expected.extend(truncation.dealt_like(flat(step, rows)))
    return expected


def prepare_block(
    program: Program,
    role: Role,
    layers: Layers,
    streams: Streams,
    input_mask: Words,
    message: Sequence[Array] | None,
    padded: bool = False,
) -> ServerBlock:
    """The side of server0 (``message`` is None) and of server1 (the arrays that the dealer sent).

    ``input_mask`` is this server's lambda of the block's rows.
    """
    rows = input_mask.shape[0]
    if message is not None and [Like.of(array) for array in message] != dealt_like(program, rows):
        raise ProtocolError("The dealer sent preprocessing of another shape than the program has.")
    arrays = None if message is None else iter(message)
    block: ServerBlock = {}
    if program.input_bits is not None:
        input_mask = _prepare_lift(program, role, block, rows, streams, arrays, padded)
    masks = [input_mask]
    for number, step in enumerate(program.steps):
        mask = masks[step.source]
        if not isinstance(step, Linear):
            masks.append(mask.reshape(rows, *step.output_shape))
            continue
        if arrays is None:
            source = streams.common(DEALER, number, "linear")
            offset = linear.prepare0(step, layers[number], mask, program.precision, source)
        else:
            offset = linear.prepare1(step, layers[number], mask, next(arrays))
        after, next_mask = _prepare_after(program, role, step, number, rows, streams, arrays, padded)
        block[number] = StepPrepared(offset, after)
        masks.append(next_mask)
    return block


def _prepare_lift(
    program: Program, role: Role, block: ServerBlock, rows: int, streams: Streams, arrays: Any, padded: bool
) -> Words:
    number = lift_number(program)
    dealer, partner = (streams.common(peer, number, "after") for peer in (DEALER, role.partner))
    next_mask = streams.common(DEALER, number, "mask").elements("mask", (rows, *program.input_shape))
    shape = (rows, math.prod(program.input_shape))
    message = None if arrays is None else [next(arrays), next(arrays)]
    bits = program.input_bits or 0
    block[number] = lift.prepare(
        shape, bits, program.precision, dealer, partner, next_mask.reshape(shape), message, padded
    )
    return next_mask


def _prepare_after(
    program: Program, role: Role, step: Linear, number: int, rows: int, streams: Streams, arrays: Any, padded: bool
) -> tuple[relu.Prepared | truncation.Prepared | Words, Words]:
    partner = streams.common(role.partner, number, "after")
    shape = flat(step, rows)
    if step.then == "output":
        return output.prepare((rows, *step.output_shape), role, partner), np.empty(0, np.uint64)
    dealer = streams.common(DEALER, number, "after")
    next_mask = streams.common(DEALER, number, "mask").elements("mask", (rows, *step.output_shape))
    # The online part adds its result onto the mask; preprocessing of the next layer still needs it unchanged.
    onto = next_mask.reshape(shape).copy()
    if step.then == "relu":
        message = None if arrays is None else [next(arrays), next(arrays)]
        return relu.prepare(shape, program.precision, dealer, partner, onto, message, padded), next_mask
    message = None if arrays is None else [next(arrays)]
    return truncation.prepare(shape, program.precision, dealer, onto, message), next_mask


def take_rows(part: Part, start: int, stop: int) -> Part:
    """Rows ``start`` to ``stop - 1`` of a block or any part of one, as views."""
    taken: Any
    if isinstance(part, np.ndarray):
        taken = part[start:stop]
    elif part is None:
        taken = None
    elif isinstance(part, tuple):
        taken = tuple(take_rows(value, start, stop) for value in part)
    elif isinstance(part, dict):
        taken = {key: take_rows(value, start, stop) for key, value in part.items()}
    elif is_dataclass(part) and not isinstance(part, type):
        values = {field.name: getattr(part, field.name) for field in fields(part)}
        taken = replace(part, **{name: take_rows(value, start, stop) for name, value in values.items()})
    else:
        raise TypeError(f"A block holds arrays only, not {type(part).__name__}.")
    same: Part = taken
    return same


def row_bytes(program: Program) -> int:
    """Memory of one prepared row at server0 or server1, in bytes, nearly."""
    precision = program.precision
    small = precision.digits * (precision.thresholds + 2) + 6
    total = 1
    if program.input_bits is not None:
        total += math.prod(program.input_shape) * (small + 8 * (lift.DEALT + 1))
    for _, step in program.linear_steps():
        values = math.prod(step.output_shape)
        total += 8 * values
        if step.then == "relu":
            total += values * (small + 8 * (relu.DEALT + 1))
        elif step.then == "truncate":
            total += values * (4 + 8 * (truncation.DEALT + 1))
    return total
