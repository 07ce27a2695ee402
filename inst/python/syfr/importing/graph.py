"""A network as a graph of operations: value 0 is the input, every node makes one value from others.

Nodes are only ever added and replaced; what no output needs any more is left behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from syfr.importing.elements import Bend, Curved, Jump, Known, Normalized, Relu, Softmax, Sum, Times
from syfr.importing.operations import Affine, Lookup, Scale
from syfr.importing.places import Join, MaxPool, NewShape, Order, Places
from syfr.steps import Ranks, Shape, Signs, Weigh

Unary: TypeAlias = (
    Affine | Scale | Relu | Bend | Jump | Curved | Softmax | Normalized | NewShape | Order | Places | MaxPool
)
"""Operations on one value; those on several are Sum, Times and Join, and Lookup is on an input alone."""


@dataclass(frozen=True)
class Exact:
    """A step that is put together already, of its own output shape; source 0 stands for its source."""

    step: Ranks | Signs | Weigh
    known: Known | None = None

    @property
    def layer(self) -> str:
        """The layer of the step."""
        return self.step.layer

    def output_shape(self, shape: Shape) -> Shape:
        """The shape that the step declares."""
        return self.step.output_shape


Operation: TypeAlias = Unary | Sum | Times | Join | Exact | Lookup


@dataclass(frozen=True, eq=False)
class Node:
    """An operation on the values with these numbers."""

    operation: Operation
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """A value that the client gets: its name, "" where predict() gives it none, and what the client applies to it.

    ``shape`` is what the client makes of it where that is another than the value has.
    """

    value: int
    name: str = ""
    head: str = "linear"
    shape: Shape | None = None


@dataclass(eq=False)
class Graph:
    """Operations by the number of the value that they make, and the values that are asked for."""

    input_shape: Shape
    nodes: dict[int, Node] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    last: int = 0

    def add(self, operation: Operation, *sources: int) -> int:
        """A new node; returns the number of its value."""
        self.last += 1
        self.nodes[self.last] = Node(operation, sources)
        return self.last

    def chain(self, operations: Sequence[Operation], source: int) -> int:
        """One operation after the other; returns the number of the last value."""
        for operation in operations:
            source = self.add(operation, source)
        return source

    def replace_value(self, old: int, new: int) -> None:
        """Whatever read the one value reads the other."""
        for value, node in self.nodes.items():
            if old in node.sources:
                sources = tuple(new if source == old else source for source in node.sources)
                self.nodes[value] = Node(node.operation, sources)
        self.answers = [replace(answer, value=new) if answer.value == old else answer for answer in self.answers]

    def order(self) -> list[int]:
        """The values that are needed, but the input, each after those it is made from."""
        found: dict[int, None] = {0: None}
        for answer in self.answers:
            waiting = [answer.value]
            while waiting:
                value = waiting[-1]
                missing = [] if value in found else [s for s in self.nodes[value].sources if s not in found]
                if missing:
                    waiting.extend(reversed(missing))
                else:
                    found.setdefault(value)
                    waiting.pop()
        return list(found)[1:]

    def readers(self) -> Counter[int]:
        """How often each value is read, answers counted too; an answer counts twice, so that it is no chain's."""
        counts = Counter(source for value in self.order() for source in self.nodes[value].sources)
        for answer in self.answers:
            counts[answer.value] += 2
        return counts

    def shapes(self) -> dict[int, Shape]:
        """The shape of a row of every value that is needed."""
        found = {0: self.input_shape}
        for value in self.order():
            node = self.nodes[value]
            found[value] = node.operation.output_shape(*(found[source] for source in node.sources))
        return found

    def shape_of(self, value: int, sources: Sequence[int], shapes: Sequence[Shape]) -> Shape:
        """The shape of a value that is made from some values of known shapes."""
        found = {0: self.input_shape, **dict(zip(sources, shapes, strict=True))}
        waiting = [value]
        while waiting:
            node = self.nodes.get(waiting[-1])
            missing = [] if node is None or waiting[-1] in found else [s for s in node.sources if s not in found]
            if missing:
                waiting.extend(missing)
                continue
            done = waiting.pop()
            if done not in found and node is not None:
                found[done] = node.operation.output_shape(*(found[source] for source in node.sources))
        return found[value]

    def chains(self) -> list[list[int]]:
        """Runs of unary operations, each but the last read by the next alone, as long as they go."""
        readers = self.readers()
        found: dict[int, list[int]] = {}
        for value in self.order():
            node = self.nodes[value]
            if not isinstance(node.operation, Unary):
                continue
            source = node.sources[0]
            if source in found and readers[source] == 1:
                found[value] = [*found.pop(source), value]
            else:
                found[value] = [value]
        return list(found.values())

    def rewrite(self, chain: Sequence[int], operations: Sequence[Operation]) -> int:
        """Put other operations in the place of a chain; returns the number of their value."""
        source = self.nodes[chain[0]].sources[0]
        new = self.chain(operations, source)
        self.replace_value(chain[-1], new)
        return new
