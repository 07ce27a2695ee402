"""Which operation a step of a Program is."""

from __future__ import annotations

from typing import Any

from syfr.program import Program
from syfr.protocol.combine import ArrangeOperation, CombineOperation, SumOperation
from syfr.protocol.linear import LinearOperation
from syfr.protocol.operation import Operation
from syfr.protocol.product import ProductOperation
from syfr.protocol.ranks import RanksOperation
from syfr.protocol.signs import SignsOperation
from syfr.steps import Combine, Linear, Product, Ranks, Signs, Step


def operation_of(program: Program, step: Step, number: int, padded: bool) -> Operation[Any]:
    """The operation of step ``number``."""
    if isinstance(step, Linear):
        return LinearOperation(program, step, number, padded)
    if isinstance(step, Combine):
        kind = SumOperation if step.then == "nothing" else CombineOperation
        return kind(program, step, number, padded)
    if isinstance(step, Product):
        return ProductOperation(program, step, number, padded)
    if isinstance(step, Signs):
        return SignsOperation(program, step, number, padded)
    if isinstance(step, Ranks):
        return RanksOperation(program, step, number, padded)
    return ArrangeOperation(program, step, number, padded)


def operations(program: Program, padded: bool = False) -> list[Operation[Any]]:
    """The operations of all steps, in order."""
    return [operation_of(program, step, number, padded) for number, step in enumerate(program.steps)]
