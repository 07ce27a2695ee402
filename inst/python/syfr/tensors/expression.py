"""Expressions over private tensors, collected until a value is asked for, and the Program that they become.

A node knows its shape and the range of its elements. It makes its steps when a Program is built, each node once:
independent operations share message delays and preprocessing. A whole tensor is part of the one row of the Program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syfr.errors import RangeCheckError
from syfr.program import Part, Program
from syfr.ring.fixedpoint import Precision
from syfr.steps import Combine, Linear, Reshape, Shape, Slice, Step

Range = tuple[float, float]
Make = Callable[["Builder", Sequence[int]], int]
"""Adds the steps of a node, given the numbers of the values it reads; returns the number of its value."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of an expression.

    Attributes:
        name: for messages.
        sources: what it reads.
        shape: of its value; a single number has the shape (1,).
        range: no element is smaller or larger.
        make: its steps; None for an input.
    """

    name: str
    sources: tuple[Node, ...]
    shape: Shape
    range: Range
    make: Make | None = None

    def __post_init__(self) -> None:
        if max(map(abs, self.range)) >= LARGEST:
            low, high = self.range
            raise RangeCheckError(
                f"'{self.name}' can give numbers from {low:g} to {high:g}; magnitudes below {LARGEST:g} fit. "
                "Declare a tighter range of its inputs, or scale them."
            )


PRECISION = Precision()
ONE = 1 << PRECISION.fraction_bits
LARGEST = 2.0 ** (PRECISION.truncated_bits - 1 - PRECISION.fraction_bits)
"""Values stay below this in magnitude."""

Weights = tuple[str, int]
"""Where a linear step has its weights from: a model's number and one of its steps."""


class Builder:
    """Collects the steps of a Program."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.shapes: list[Shape] = [()]
        self.inputs: list[Node] = []
        self.weights: list[Weights] = []
        self._values: dict[int, int] = {}

    def add(self, step: Step) -> int:
        """Add a step; the number of its value."""
        self.steps.append(step)
        self.shapes.append(step.output_shape)
        return len(self.steps)

    def add_linear(self, step: Linear, weights: Weights) -> int:
        """Add a step with weights of a shared model."""
        self.weights.append(weights)
        return self.add(step)

    def reshape(self, name: str, value: int, shape: Shape) -> int:
        """The same numbers in another shape."""
        before = self.shapes[value]
        return value if before == shape else self.add(Reshape(name, value, before, shape))

    def value(self, node: Node) -> int:
        """The number of a node's value, whose steps are added when they are first asked for."""
        waiting = [node]
        while waiting:
            last = waiting[-1]
            missing = [source for source in last.sources if id(source) not in self._values]
            if missing:
                waiting.extend(missing)
                continue
            waiting.pop()
            if id(last) not in self._values and last.make is not None:
                self._values[id(last)] = last.make(self, [self._values[id(source)] for source in last.sources])
        return self._values[id(node)]

    def read(self, inputs: Sequence[Node]) -> None:
        """Slice the row into the inputs, in order."""
        start = 0
        for node in inputs:
            self.inputs.append(node)
            self._values[id(node)] = self.add(Slice(node.name, 0, node.shape, start))
            start += math.prod(node.shape)


def inputs_of(nodes: Sequence[Node]) -> list[Node]:
    """The inputs that expressions read, each once, in the order in which they are met."""
    found: dict[int, Node] = {}
    seen: set[int] = set()
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.make is None:
            found[id(node)] = node
        waiting.extend(reversed(node.sources))
    return list(found.values())


@dataclass(frozen=True)
class Compiled:
    """A Program for some expressions, the inputs that make up its row, and where its weights come from."""

    program: Program
    inputs: list[Node]
    weights: list[Weights]


def compile_nodes(nodes: Sequence[Node], digits: int | None = None) -> Compiled:
    """The Program whose outputs are the values of ``nodes``, in order."""
    builder = Builder()
    inputs = inputs_of(nodes)
    builder.read(inputs)
    for node in nodes:
        value = builder.value(node)
        builder.add(Combine(node.name, (value,), node.shape, (1,), then="output"))
    low, high = min(node.range[0] for node in inputs), max(node.range[1] for node in inputs)
    total = sum(math.prod(node.shape) for node in inputs)
    outputs = tuple(Part(node.name, node.shape) for node in nodes) if len(nodes) > 1 else ()
    span = (min(low, -1.0), max(high, 1.0))
    program = Program((total,), tuple(builder.steps), PRECISION, span, digits=digits, outputs=outputs)
    program.check()
    return Compiled(program, inputs, builder.weights)
