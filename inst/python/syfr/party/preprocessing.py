"""Preprocessing of a block of rows: everything that does not depend on the input, made before it is known.

The dealer makes a block and sends server1 its arrays; server0 and server1 then make their parts from the keys they have
in common with others. What was made is handed out row by row, each row once. All three walk over the same steps in the
same order, at once or piece by piece (pieces.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from syfr.errors import ProtocolError
from syfr.party import pieces
from syfr.party.pieces import Filling
from syfr.program import Program
from syfr.protocol import lift, output
from syfr.protocol.channel import Array, Like
from syfr.protocol.cost import Cost
from syfr.protocol.operation import Operation, Streams
from syfr.protocol.operations import operations
from syfr.protocol.roles import DEALER, Role
from syfr.protocol.sharing import ELEMENT_BYTES, LayerShare, low_bits
from syfr.protocol.transcript import DIGEST_BYTES
from syfr.ring.fixedpoint import Words
from syfr.steps import Step, is_output

Layers = Mapping[int, LayerShare]
Part = TypeVar("Part")

ServerBlock = dict[int, Any]
"""What server0 or server1 has ready, by step."""

DealerBlock = dict[int, Any]
"""What the dealer keeps, by step."""


class Plan:
    """How a Program is run: the operations of its steps.

    Attributes:
        padded: whether answers take the form of fewer delays (protocol/answer.py).
        sources: the values that each step reads, each once.
        readers: the steps that read each value.
        goes_on: whether a step goes on with the running hash of what it reads, since no other step adds to that.
        pieces: the steps of each piece of a row's preprocessing; one piece of all steps where a row is small.
    """

    def __init__(self, program: Program, padded: bool = False) -> None:
        self.program, self.padded = program, padded
        self.operations: list[Operation[Any]] = operations(program, padded)
        self._last_reader = [0] * (len(program.steps) + 1)
        self.readers: list[list[int]] = [[] for _ in self._last_reader]
        self.sources = [tuple(dict.fromkeys(step.sources)) for step in program.steps]
        for number, sources in enumerate(self.sources):
            for source in sources:
                self._last_reader[source] = number
                self.readers[source].append(number)
        self.goes_on = self._going_on()
        self.pieces = pieces.split([operation.row_bytes() for operation in self.operations], pieces.PIECE_BYTES)
        self._piece_of = [piece for piece, steps in enumerate(self.pieces) for _ in steps]

    def piece_of(self, number: int) -> int:
        """The piece that step ``number`` belongs to."""
        return self._piece_of[number]

    def piece_bytes(self, piece: int) -> int:
        """Memory of a piece of one row at server0 or server1, in bytes, nearly."""
        return sum(self.operations[number].row_bytes() for number in self.pieces[piece])

    def _going_on(self) -> list[bool]:
        chains, added = [0], Counter[int]()
        read = []
        for operation, sources in zip(self.operations, self.sources, strict=True):
            read.append({chains[source] for source in sources})
            if operation.local and len(read[-1]) == 1:
                chains.append(*read[-1])
            else:
                added.update(read[-1])
                chains.append(operation.number + 1)
        return [
            len(found) == 1 and (operation.local or added[min(found)] == 1)
            for operation, found in zip(self.operations, read, strict=True)
        ]

    def ends_with(self, number: int, step: Step) -> list[int]:
        """The values that nothing reads after step ``number``."""
        return [source for source in set(step.sources) if self._last_reader[source] == number]

    @property
    def input_values(self) -> int:
        """Elements of a row of the input."""
        return math.prod(self.program.input_shape)


def lift_number(program: Program) -> int:
    """The number under which the lift of the input goes: that of a step more than the program has."""
    return len(program.steps)


def program_cost(program: Program, padded: bool = False) -> Cost:
    """Delays and bytes of one query of one row, hashes not counted; ``padded`` in the form of fewer delays.

    Steps that do not wait for each other share their delays: the longest way through the graph counts.
    """
    plan = Plan(program, padded)
    total = _lift_cost(plan)
    at = [total.delays]
    for operation, agrees in zip(plan.operations, agreeing(plan), strict=True):
        own = operation.cost()
        total += own
        before = max(at[source] for source in operation.step.sources)
        at.append(before + own.delays + agrees * output.agreement().delays)
    return Cost(max(at), total.online_bytes, total.preprocessing_bytes)


def agreeing(plan: Plan) -> list[bool]:
    """Which steps compare hashes by themselves: outputs and compares that no swap led to."""
    swapped, found = [plan.program.input_bits is not None], []
    for operation, step in zip(plan.operations, plan.program.steps, strict=True):
        before = any(swapped[source] for source in step.sources)
        found.append((is_output(step) or operation.agrees_first) and not before)
        swapped.append(before or operation.hash_bytes() > 0)
    return found


def hash_bytes(program: Program, padded: bool = False) -> int:
    """Bytes of the running hash in one part of a query, whatever the number of its rows."""
    plan = Plan(program, padded)
    total = 2 * DIGEST_BYTES * (program.input_bits is not None)
    total += sum(operation.hash_bytes() for operation in plan.operations)
    return total + output.agreement().online_bytes * sum(agreeing(plan))


def _lift_cost(plan: Plan) -> Cost:
    if plan.program.input_bits is None:
        return Cost()
    return lift.cost(plan.input_values, plan.program.input_bits, plan.program.precision, plan.padded)


class _Masks:
    """The masks of the values of a block; those that no later step reads are let go."""

    def __init__(self, plan: Plan, input_mask: Words) -> None:
        self._plan, self._masks = plan, {0: input_mask}

    def walk(self, steps: range, one: Callable[[Operation[Any], Sequence[Words]], Words | None]) -> None:
        """Call ``one`` for these operations with the masks of the values that each reads."""
        plan, masks = self._plan, self._masks
        for number in steps:
            step = plan.program.steps[number]
            mask = one(plan.operations[number], [masks[source] for source in step.sources])
            for source in plan.ends_with(number, step):
                del masks[source]
            if mask is not None:
                masks[number + 1] = mask

    def lifted(self, mask: Words) -> None:
        """The mask of the input once it was lifted."""
        self._masks[0] = mask


class Dealer:
    """The dealer's side of one block. ``input_mask`` is lambda0 + lambda1 of the block's rows."""

    def __init__(self, plan: Plan, layers: Layers, streams: Streams, input_mask: Words) -> None:
        self._plan, self._layers, self._streams, self._input_mask = plan, layers, streams, input_mask
        self._masks = _Masks(plan, input_mask)

    def deal(self, steps: range) -> tuple[DealerBlock, list[Array]]:
        """The next steps.

        Returns:
            What the dealer keeps, by step, and the arrays for server1, in the order of :func:`dealt_like`.
        """
        keeps: DealerBlock = {}
        message: list[Array] = []
        if self._plan.program.input_bits is not None and steps.start == 0:
            self._masks.lifted(_deal_lift(self._plan, self._streams, self._input_mask, keeps, message))

        def one(operation: Operation[Any], masks: Sequence[Words]) -> Words | None:
            dealing = operation.deal(masks, self._layers.get(operation.number), self._streams)
            message.extend(dealing.sent)
            if operation.dealer_answers:
                keeps[operation.number] = dealing.kept
            return dealing.mask

        self._masks.walk(steps, one)
        return keeps, message


def deal_block(
    plan: Plan, layers: Layers, streams: Streams, input_mask: Words
) -> tuple[DealerBlock, list[Array]]:
    """The dealer's side of a whole block, see :class:`Dealer`."""
    return Dealer(plan, layers, streams, input_mask).deal(range(len(plan.operations)))


def _deal_lift(
    plan: Plan, streams: Streams, input_mask: Words, keeps: DealerBlock, message: list[Array]
) -> Words:
    program, rows = plan.program, input_mask.shape[0]
    number, bits = lift_number(program), program.input_bits or 0
    small = low_bits(input_mask, bits).reshape(rows, plan.input_values)
    with0, with1 = (streams.common(peer, number, "after") for peer in (Role.SERVER0, Role.SERVER1))
    own = streams.own()
    keeps[number], arrays = lift.deal(small, bits, program.precision, with0, with1, own, plan.padded)
    message.extend(arrays)
    shape = (rows, *program.input_shape)
    both = [streams.common(peer, number, "mask").elements("mask", shape) for peer in (Role.SERVER0, Role.SERVER1)]
    return both[0] + both[1]


def dealt_like(plan: Plan, rows: int, steps: range | None = None) -> list[Like]:
    """The arrays of a block, or of some steps of one, that the dealer sends to server1."""
    steps = range(len(plan.operations)) if steps is None else steps
    expected: list[Like] = []
    if plan.program.input_bits is not None and steps.start == 0:
        expected.extend(lift.dealt_like((rows, plan.input_values), plan.program.input_bits, plan.program.precision))
    for number in steps:
        expected.extend(plan.operations[number].dealt_like(rows))
    return expected


class Preparer:
    """The side of server0 and of server1 of one block. ``input_mask`` is this server's lambda of its rows."""

    def __init__(self, plan: Plan, role: Role, layers: Layers, streams: Streams, input_mask: Words) -> None:
        self._plan, self._role, self._layers, self._streams = plan, role, layers, streams
        self._rows, self._masks = input_mask.shape[0], _Masks(plan, input_mask)

    def prepare(self, steps: range, message: Sequence[Array] | None) -> ServerBlock:
        """The next steps; ``message`` are the arrays that the dealer sent to server1, None at server0."""
        plan, role = self._plan, self._role
        if message is not None and [Like.of(array) for array in message] != dealt_like(plan, self._rows, steps):
            raise ProtocolError("The dealer sent preprocessing of another shape than the program has.")
        messages = None if message is None else iter(message)
        block: ServerBlock = {}
        if plan.program.input_bits is not None and steps.start == 0:
            self._masks.lifted(_prepare_lift(plan, role, block, self._rows, self._streams, messages))

        def one(operation: Operation[Any], masks: Sequence[Words]) -> Words | None:
            preparing = operation.prepare(role, masks, self._layers.get(operation.number), self._streams, messages)
            if not operation.local:
                block[operation.number] = preparing.ready
            return preparing.mask

        self._masks.walk(steps, one)
        return block


def prepare_block(
    plan: Plan,
    role: Role,
    layers: Layers,
    streams: Streams,
    input_mask: Words,
    message: Sequence[Array] | None,
) -> ServerBlock:
    """The side of server0 or server1 of a whole block, see :class:`Preparer`."""
    return Preparer(plan, role, layers, streams, input_mask).prepare(range(len(plan.operations)), message)


def _prepare_lift(
    plan: Plan, role: Role, block: ServerBlock, rows: int, streams: Streams, messages: Iterator[Array] | None
) -> Words:
    program, number = plan.program, lift_number(plan.program)
    dealer, partner = (streams.common(peer, number, "after") for peer in (DEALER, role.partner))
    next_mask = streams.common(DEALER, number, "mask").elements("mask", (rows, *program.input_shape))
    shape = (rows, plan.input_values)
    message = None if messages is None else [next(messages), next(messages)]
    block[number] = lift.prepare(
        shape,
        program.input_bits or 0,
        program.precision,
        dealer,
        partner,
        next_mask.reshape(shape),
        message,
        plan.padded,
    )
    return next_mask


def take_rows(part: Part, start: int, stop: int) -> Part:
    """Rows ``start`` to ``stop - 1`` of a block or any part of one, as views; a row that comes in pieces as it is."""
    taken: Any
    if isinstance(part, np.ndarray):
        taken = part[start:stop]
    elif part is None or isinstance(part, Filling):  # of which there is one row
        taken = part
    elif isinstance(part, tuple):
        taken = tuple(take_rows(value, start, stop) for value in part)
    elif isinstance(part, dict):
        taken = {key: take_rows(value, start, stop) for key, value in part.items()}
    elif is_dataclass(part) and not isinstance(part, type):
        # Not by replace(), which takes longer than all the rest.
        taken = object.__new__(type(part))
        taken.__dict__.update({name: take_rows(value, start, stop) for name, value in vars(part).items()})
    else:
        raise TypeError(f"A block holds arrays only, not {type(part).__name__}.")
    same: Part = taken
    return same


class Cell(NamedTuple):
    """One prepared row: its block, and which row of that."""

    block: Any
    row: int

    def rows(self) -> Any:
        """As :func:`take_rows` gives it."""
        return take_rows(self.block, self.row, self.row + 1)


def join_rows(cells: Sequence[Cell]) -> Any:
    """Rows of several blocks of one program as one block, copied."""
    if len(cells) == 1:
        return cells[0].rows()
    return _join([cell.block for cell in cells], [slice(cell.row, cell.row + 1) for cell in cells])


def _join(parts: Sequence[Any], rows: Sequence[slice]) -> Any:
    """The rows of each part, which are all of one kind."""
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, np.ndarray):
        return np.concatenate([part[row] for part, row in zip(parts, rows, strict=True)])
    if isinstance(first, tuple):
        return tuple(_join(values, rows) for values in zip(*parts, strict=True))
    if isinstance(first, dict):
        return {key: _join([part[key] for part in parts], rows) for key in first}
    joined = object.__new__(type(first))
    joined.__dict__.update({name: _join([vars(part)[name] for part in parts], rows) for name in vars(first)})
    return joined


def row_bytes(plan: Plan) -> int:
    """Memory of one prepared row at server0 or server1, in bytes, nearly."""
    program = plan.program
    total = 1
    if program.input_bits is not None:
        total += lift.row_bytes(plan.input_values, program.input_bits, program.precision)
    if program.takes_tokens:  # masks as long as the vocabulary, while a block is made
        total += ELEMENT_BYTES * plan.input_values
    return total + sum(operation.row_bytes() for operation in plan.operations)
