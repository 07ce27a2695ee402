"""Inputs of tokens: whole numbers that an Embedding looks up in its table, neither of which anybody may see.

The client shares each token as a row of zeros with a 1 in its place. Looking up is then a matrix product with the
table, as private as any linear layer; what it costs is a longer input, as many numbers a token as the vocabulary has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from syfr.errors import UnsupportedLayerError
from syfr.importing.evaluation import moved
from syfr.importing.graph import Graph, Node
from syfr.importing.operations import Affine, Floats, Lookup
from syfr.importing.places import Join, NewShape, Order, Places
from syfr.program import Program
from syfr.steps import Concatenate, Reshape, Shape, Slice, Take, Transpose


@dataclass(frozen=True)
class _Found:
    """What lookups read.

    Attributes:
        inputs: for each lookup and each value between, the inputs that its numbers are from.
    """

    lookups: Mapping[int, Lookup]
    inputs: Mapping[int, frozenset[int]]


def spread_tokens(graph: Graph, inputs: Sequence[int], shapes: Sequence[Shape]) -> list[int]:
    """Let every lookup be a matrix product, and its input as wide as the table is long; the graph is changed in place.

    Args:
        inputs: the values of the inputs: 0 where there is one, else a part of it each, in its shape.
        shapes: their shapes.

    Returns:
        The vocabulary of each input, 0 for one that takes no tokens.

    Raises:
        UnsupportedLayerError: a lookup reads what is no input, or an input is used as numbers besides.
    """
    found = _found(graph, frozenset(inputs))
    if not found.lookups:
        return [0] * len(inputs)
    sizes = _vocabularies(found)
    _refuse_other_readers(graph, found, sizes)
    for value, sources in found.inputs.items():
        node, size = graph.nodes[value], sizes[min(sources)]
        graph.nodes[value] = Node(_widened(node.operation, size), node.sources)
    vocabularies = [sizes.get(value, 0) for value in inputs]
    if len(inputs) == 1:
        graph.input_shape = (*shapes[0], vocabularies[0])
        return vocabularies
    start = 0
    for value, shape, size in zip(inputs, shapes, vocabularies, strict=True):
        end = start + math.prod(shape) * (size or 1)
        graph.nodes[graph.nodes[value].sources[0]] = Node(Places("input", 0, tuple(range(start, end))), (0,))
        graph.nodes[value] = Node(NewShape("input", (*shape, size) if size else shape), graph.nodes[value].sources)
        start = end
    graph.input_shape = (start,)
    return vocabularies


def _found(graph: Graph, inputs: frozenset[int]) -> _Found:
    """The lookups, and every value between them and the inputs."""
    order = graph.order()
    lookups = {v: op for v in order if isinstance(op := graph.nodes[v].operation, Lookup)}
    between = dict[int, frozenset[int]]()

    def origin(value: int, layer: str) -> frozenset[int]:
        if value in inputs:
            return frozenset((value,))
        if value not in between:
            node = graph.nodes[value]
            if not _moves(node.operation):
                raise UnsupportedLayerError(
                    f"Layer '{layer}' (Embedding) looks up numbers that layer '{node.operation.layer}' has computed. "
                    "Let it read an input of the model, as it is or in another shape."
                )
            between[value] = frozenset().union(*(origin(source, layer) for source in node.sources))
        return between[value]

    read = {value: origin(graph.nodes[value].sources[0], lookup.layer) for value, lookup in lookups.items()}
    return _Found(lookups, {**between, **read})


def _moves(operation: object) -> bool:
    """Whether the operation only moves numbers, and puts none of its own between them."""
    if isinstance(operation, Places):
        return min(operation.indices) >= 0
    return isinstance(operation, (NewShape, Order, Join))


def _vocabularies(found: _Found) -> dict[int, int]:
    """The vocabulary of each input: the smallest of the tables for its numbers, and for any joined with them."""
    sizes: dict[int, int] = {}
    changed = True
    while changed:
        changed = False
        for value, inputs in found.inputs.items():
            lookup = found.lookups.get(value)
            known = [sizes[each] for each in inputs if each in sizes]
            size = min([*known, *([] if lookup is None else [len(lookup.table)])], default=None)
            for each in inputs:
                if size is not None and sizes.get(each) != size:
                    sizes[each], changed = size, True
    return sizes


def _refuse_other_readers(graph: Graph, found: _Found, sizes: Mapping[int, int]) -> None:
    tokens = {*sizes, *found.inputs} - {*found.lookups}
    readers = [(value, source) for value in graph.order() for source in graph.nodes[value].sources]
    others = [
        graph.nodes[value].operation.layer
        for value, source in readers
        if source in tokens and value not in found.inputs
    ]
    if any(answer.value in tokens for answer in graph.answers):
        others.append("output")
    if others:
        raise UnsupportedLayerError(
            f"Layer '{others[0]}' reads an input as numbers that an Embedding looks up. "
            "Give the model two inputs, one for each use."
        )


def _widened(operation: object, size: int) -> Affine | NewShape | Order | Places | Join:
    """What does to rows of zeros with a 1 what the operation does to the numbers that they stand for."""
    if isinstance(operation, Lookup):
        table = np.ascontiguousarray(operation.table[:size])
        return Affine(operation.layer, table, np.zeros(table.shape[1]), biased=False)
    if isinstance(operation, NewShape):
        return NewShape(operation.layer, (*operation.shape, size))
    if isinstance(operation, Order):
        return Order(operation.layer, (*operation.axes, len(operation.axes)))
    if isinstance(operation, (Places, Join)):
        return operation
    raise TypeError(f"{type(operation).__name__} does not move numbers")


class TokenPlaces:
    """Follows the tokens of a Program through the steps that only move numbers, for the range check.

    Of a row of zeros with a single 1, a matrix product is a row of the matrix, however many rows that has. That holds
    for clients who share what they should; with untrusted clients nothing is followed.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._values: dict[int, Floats] = {}
        self._sizes: dict[int, int] = {}
        if program.takes_tokens and not program.untrusted_clients:
            self._values[0] = 1.0 + np.arange(math.prod(program.input_shape)).reshape(1, *program.input_shape)
            begin = 1
            for part in program.inputs:
                if part.vocabulary:
                    firsts = range(begin, begin + part.size, part.vocabulary)
                    self._sizes.update(dict.fromkeys(firsts, part.vocabulary))
                begin += part.size

    def follow(self, number: int) -> None:
        """Remember where step ``number`` puts what it reads, if it does nothing else."""
        step = self._program.steps[number]
        moves = isinstance(step, (Reshape, Slice, Transpose, Take, Concatenate))
        if moves and all(source in self._values for source in step.sources):
            self._values[number + 1] = moved(step, [self._values[source] for source in step.sources])

    def spread(self, value: int) -> bool:
        """Whether along the last axis of a value there is always one token, all of it and in order."""
        places = self._values.get(value)
        if places is None:
            return False
        size = places.shape[-1]
        firsts = places[..., 0].reshape(-1)
        whole = all(self._sizes.get(int(first)) == size for first in firsts)
        return whole and bool((places - places[..., :1] == np.arange(size)).all())

