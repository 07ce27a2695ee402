"""A folded graph of operations -> the steps of a Program, with the weights by step number.

A linear layer, the sum it goes into and the relu behind it become one step, so does a sum and its relu. Everything else
is a step of its own. Outputs come last, in their order.

The client scales its input by a power of two. That is taken out again where it matters: from the weights of a linear
layer for free, else by a public factor before the first step that does not simply pass it on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from syfr.errors import ValueRangeError
from syfr.importing.curves import SCALE_BITS
from syfr.importing.elements import Bend, Curved, Jump, Known, Relu, Sum, Times
from syfr.importing.expanding import expand
from syfr.importing.folding import MAX_KERNEL, chain_of, fold, fold_chain
from syfr.importing.graph import Exact, Graph, Operation
from syfr.importing.lines import signs
from syfr.importing.operations import Affine, Weights, diagonal, identity, label_of
from syfr.importing.places import Join, NewShape, Order, Places
from syfr.ring.fixedpoint import Precision
from syfr.steps import Combine, Concatenate, Linear, Product, Reshape, Shape, Slice, Step, Take, Transpose

LONG_RUN = 4096
"""A run of more places is named by where it begins, not place by place."""


def lower(
    graph: Graph, precision: Precision, input_scale: float = 1.0
) -> tuple[list[Step], dict[int, Weights], dict[int, Known]]:
    """Fold a graph and turn it into steps, the last of them outputs; by step number the weights, and what is known."""
    fold(graph)
    while expand(graph, precision):
        fold(graph)
    _end_in_matrices(graph)
    _leave_shapes(graph)
    lowering = _Lowering(graph, precision, input_scale)
    lowering.run()
    return lowering.steps, lowering.weights, lowering.known


def _end_in_matrices(graph: Graph) -> None:
    """A convolution and a flattening at the end become a matrix product, where that takes in a layer before them."""
    shapes, asked = graph.shapes(), {answer.value for answer in graph.answers}
    for chain in graph.chains():
        operations = chain_of(graph, chain)
        shape = shapes[chain[-1]]
        if chain[-1] not in asked or len(shape) != 1 or shape[0] ** 2 > MAX_KERNEL:
            continue
        unit = diagonal(identity(operations[-1].layer, shape[0]), shape)
        folded = fold_chain([*operations, unit], shapes[graph.nodes[chain[0]].sources[0]])
        if folded is not None and _linear_layers(folded) < _linear_layers(operations):
            graph.rewrite(chain, folded)


def _linear_layers(operations: Sequence[Operation]) -> int:
    return sum(isinstance(operation, Affine) for operation in operations)


def _leave_shapes(graph: Graph) -> None:
    """The last change of shape is the client's: what comes before it is then the output, which needs no truncation."""
    shapes = graph.shapes()
    for number, answer in enumerate(graph.answers):
        node = graph.nodes.get(answer.value)
        if node is not None and isinstance(node.operation, NewShape):
            graph.answers[number] = replace(answer, value=node.sources[0], shape=shapes[answer.value])


@dataclass
class _Group:
    """Operations that become one step: the first of them, and the values of the others."""

    first: int
    members: list[int] = field(default_factory=list)
    then: str = "nothing"

    @property
    def last(self) -> int:
        return self.members[-1]


@dataclass(frozen=True)
class _Value:
    """The number of a value in the Program, and whether it is still scaled as the input is."""

    number: int
    scaled: bool


class _Lowering:
    def __init__(self, graph: Graph, precision: Precision, input_scale: float) -> None:
        self.graph, self.precision, self.input_scale = graph, precision, input_scale
        self.steps: list[Step] = []
        self.weights: dict[int, Weights] = {}
        self.known: dict[int, Known] = {}
        self.order, self.shapes = graph.order(), graph.shapes()
        self.readers: dict[int, list[int]] = {value: [] for value in (0, *self.order)}
        for value in self.order:
            for source in graph.nodes[value].sources:
                self.readers[source].append(value)
        self.asked = Counter(answer.value for answer in graph.answers)
        self.groups = self._groups()
        self.values = {0: _Value(0, input_scale != 1.0)}
        self.unscaled: dict[int, int] = {}
        self.owners: dict[tuple[object, float, bool], int] = {}

    # ---- which operations become one step ----

    def _groups(self) -> dict[int, _Group]:
        """Every group by the value of its last member."""
        taken: set[int] = set()
        found: dict[int, _Group] = {}
        takes = self._taking_sums()
        for value in self.order:
            operation = self.graph.nodes[value].operation
            if value in taken or not isinstance(operation, (Affine, Sum, Times)):
                continue
            if takes.get(value) is not None:
                continue  # a sum that a linear layer takes in, whose group it joins
            group = _Group(value, [value])
            reader = self._only_reader(value)
            if isinstance(operation, Affine):
                group.then = "truncate"
                if reader is not None and takes.get(reader) == value:
                    group.members.append(reader)
            elif isinstance(operation, Times) or not operation.whole:
                group.then = "truncate"
            reader = self._only_reader(group.last)
            if group.then == "truncate" and isinstance(self._operation(reader), Relu) and reader is not None:
                group.members.append(reader)
                group.then = "relu"
            if self.asked[group.last] == 1 and not self.readers[group.last] and group.then != "relu":
                group.then = "output"
            taken.update(group.members)
            found[group.last] = group
        return found

    def _taking_sums(self) -> dict[int, int]:
        """For every sum with whole factors the linear layer that takes it in: of several the deepest."""
        depths: dict[int, int] = {0: 0}
        found: dict[int, int] = {}
        for value in self.order:
            node = self.graph.nodes[value]
            local = isinstance(node.operation, (NewShape, Order, Places, Join, Relu))
            depths[value] = max(depths[source] for source in node.sources) + (not local)
            if not isinstance(node.operation, Sum) or not node.operation.whole or node.operation.constant:
                continue
            candidates = [
                source
                for source in node.sources
                if isinstance(self._operation(source), Affine) and self._only_reader(source) == value
            ]
            if candidates:
                found[value] = max(candidates, key=depths.__getitem__)
        return found

    def _operation(self, value: int | None) -> Operation | None:
        node = None if value is None else self.graph.nodes.get(value)
        return None if node is None else node.operation

    def _only_reader(self, value: int) -> int | None:
        readers = self.readers[value]
        return readers[0] if len(readers) == 1 and not self.asked[value] else None

    # ---- steps ----

    def run(self) -> None:
        """Emit every step, outputs last and in order."""
        inside = {member for group in self.groups.values() for member in group.members}
        for value in self.order:
            group = self.groups.get(value)
            if group is not None and group.then != "output":
                self.values[value] = self._group(group)
            elif group is None and value not in inside:
                self.values[value] = self._alone(value)
        for answer in self.graph.answers:
            group = self.groups.get(answer.value)
            if group is not None and group.then == "output":
                self._group(group)
            else:
                self._give(answer.value)

    def _emit(self, step: Step, known: Known | None = None) -> int:
        if known is not None:
            self.known[len(self.steps)] = known
        self.steps.append(step)
        return len(self.steps)

    def _group(self, group: _Group) -> _Value:
        operations = [self.graph.nodes[member].operation for member in group.members]
        layer = label_of(*(each for each in operations if not isinstance(each, Relu)))
        shape = self.shapes[group.last]
        first = operations[0]
        if isinstance(first, Affine):
            return self._linear(group, first, layer, shape)
        sources = self.graph.nodes[group.first].sources
        if isinstance(first, Times):
            left, right = (self._plain(source) for source in sources)
            step = Product(layer, left, right, shape, group.then, first.matrices, first.scale_bits)
            return _Value(self._emit(step, first.known), False)
        if not isinstance(first, Sum):
            raise TypeError("a group begins with a linear layer, a sum or a product")
        keeps = first.constant == 0.0 and group.then != "output" and (first.whole or not self.coarse)
        numbers, scaled = self._together(sources, keeps)
        bits = 0 if first.whole else SCALE_BITS
        factors = tuple(round(factor * 2.0**bits) for factor in first.factors)
        constant = round(first.constant * 2.0 ** (bits + self.precision.fraction_bits))
        return _Value(self._emit(Combine(layer, numbers, shape, factors, constant, bits, group.then)), scaled)

    def _linear(self, group: _Group, affine: Affine, layer: str, shape: Shape) -> _Value:
        source = self.graph.nodes[group.first].sources[0]
        read = self.values[source]
        factor = 1.0
        plus: tuple[tuple[int, int], ...] = ()
        if len(group.members) > 1 and isinstance(self._operation(group.members[1]), Sum):
            plus, factor = self._plus(group)
        number = len(self.steps)
        owner = self.owners.setdefault((_same(affine), factor, read.scaled), number)
        if owner == number:
            kernel = affine.kernel * (factor / self.input_scale if read.scaled else factor)
            self.weights[number] = Weights(np.ascontiguousarray(kernel), affine.bias * factor)
        given, weights = self.shapes[source], None if owner == number else owner
        step = Linear(
            layer, read.number, affine.kernel.shape, given, shape, group.then, affine.geometry, plus, weights
        )
        return _Value(self._emit(step), False)

    def _plus(self, group: _Group) -> tuple[tuple[tuple[int, int], ...], float]:
        """What is added to a linear layer before its step ends, and the factor of the layer itself."""
        node = self.graph.nodes[group.members[1]]
        own, plus = 1.0, list[tuple[int, int]]()
        for source, factor in zip(node.sources, _sum(node.operation).factors, strict=True):
            if source == group.first:
                own = factor
            else:
                plus.append((self._plain(source), int(factor)))
        return tuple(plus), own

    def _alone(self, value: int) -> _Value:
        node = self.graph.nodes[value]
        operation, shape = node.operation, self.shapes[value]
        source = node.sources[0]
        if isinstance(operation, Join):
            numbers, scaled = self._together(node.sources, True)
            return _Value(self._emit(Concatenate(operation.layer, numbers, shape, operation.axis)), scaled)
        if isinstance(operation, (Relu, Bend, Jump, Curved)):
            passes = isinstance(operation, Relu) or (isinstance(operation, Bend) and self._passes(operation))
            read = self.values[source] if passes else _Value(self._plain(source), False)
            step = signs(operation, read.number, shape, self.precision)
            return _Value(self._emit(step), read.scaled)
        if isinstance(operation, Exact):
            weighs = operation.step
            read = self.values[source]
            return _Value(self._emit(replace(weighs, source=read.number), operation.known), read.scaled)
        read = self.values[source]
        return _Value(self._emit(_moving(operation, read.number, self.shapes[source], shape)), read.scaled)

    def _give(self, value: int) -> None:
        """An output of a value that other steps read too, or that no product ends in."""
        operation = self._operation(value)
        layer = "input" if operation is None else operation.layer
        self._emit(Combine(layer, (self._plain(value),), self.shapes[value], (1,), then="output"))

    # ---- the scale of the input ----

    @property
    def coarse(self) -> bool:
        """Whether a scaled value has fewer digits than a plain one: it must not be rounded."""
        return self.input_scale < 1.0

    def _passes(self, operation: Bend) -> bool:
        """Whether a scaled value may stay so."""
        return operation.homogeneous and (operation.whole or not self.coarse)

    def _together(self, sources: tuple[int, ...], may_scale: bool) -> tuple[tuple[int, ...], bool]:
        """The numbers of several values, all of them scaled or none."""
        if may_scale and all(self.values[source].scaled for source in sources):
            return tuple(self.values[source].number for source in sources), True
        return tuple(self._plain(source) for source in sources), False

    def _plain(self, source: int) -> int:
        """The number of a value with the scale of the input taken out."""
        read = self.values[source]
        if not read.scaled:
            return read.number
        if source not in self.unscaled:
            operation, shape = self._operation(source), self.shapes[source]
            layer = "input" if operation is None else operation.layer
            bits = round(-math.log2(self.input_scale))
            if bits < -SCALE_BITS:
                raise ValueRangeError("The input_range is too narrow for what this model does; declare a wider one.")
            if bits > 0:
                step = Combine(layer, (read.number,), shape, (1 << bits,))
            else:
                step = Combine(layer, (read.number,), shape, (1 << (SCALE_BITS + bits),), 0, SCALE_BITS, "truncate")
            self.unscaled[source] = self._emit(step)
        return self.unscaled[source]


def _same(affine: Affine) -> object:
    """Equal for operations with the same weights: not only equal numbers, which are secret, but the same arrays."""
    arrays = (affine.kernel, affine.bias) if affine.biased else (affine.kernel,)
    return affine.geometry, *((each.ctypes.data, each.shape, each.strides) for each in arrays)


def _sum(operation: Operation) -> Sum:
    if not isinstance(operation, Sum):
        raise TypeError("not a sum")
    return operation


def _moving(operation: Operation, source: int, before: Shape, shape: Shape) -> Step:
    """A step that moves elements."""
    if isinstance(operation, NewShape):
        return Reshape(operation.layer, source, before, shape)
    if isinstance(operation, Order):
        return Transpose(operation.layer, source, shape, operation.axes)
    if isinstance(operation, Places):
        first, count = operation.indices[0], len(operation.indices)
        if len(before) == 1 and count > LONG_RUN and operation.indices == tuple(range(first, first + count)):
            return Slice(operation.layer, source, shape, first)
        return Take(operation.layer, source, shape, operation.axis, operation.indices)
    raise TypeError(f"{type(operation).__name__} should have been expanded")
