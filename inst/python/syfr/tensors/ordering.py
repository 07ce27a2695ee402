"""Sorting and the largest k, from the ranks of all elements: values are moved by products with secret permutations."""

from __future__ import annotations

from collections.abc import Sequence

from syfr.errors import RangeCheckError, ShapeError
from syfr.steps import Concatenate, Product, Ranks, Signs, Weigh
from syfr.tensors.expression import ONE, Builder, Node
from syfr.tensors.operations import LARGEST_DIFFERENCE

MAX_SORTED = 256
"""Elements along the sorted axis: each rank is a step of its own."""


def _check(x: Node, count: int) -> None:
    size = x.shape[-1]
    if not 1 <= count <= size or not 2 <= size <= MAX_SORTED:
        raise ShapeError(
            f"The first {count} of {size} elements cannot be found. Ask for no more than there are, "
            f"of 2 to {MAX_SORTED}."
        )
    if not 2 * max(map(abs, x.range)) < LARGEST_DIFFERENCE:
        raise RangeCheckError(
            f"Sorting compares numbers whose differences must stay below {LARGEST_DIFFERENCE:g}. Scale them."
        )


def _chosen(builder: Builder, name: str, value: int, count: int, largest: bool) -> int:
    """For each of the first ``count`` ranks where its element is: (..., count, n), ones and zeros."""
    shape = builder.shapes[value]
    size, rows = shape[-1], (*shape[:-1], 1, shape[-1])
    ranks = builder.add(Ranks(name, value, shape))
    found = []
    for place in range(count):
        rank = size - 1 - place if largest else place
        knots = (rank * ONE, (rank + 1) * ONE)
        one = builder.add(Signs(name, ranks, shape, knots, (ONE, -ONE), bits=True))
        found.append(builder.reshape(name, one, rows))
    if count == 1:
        return found[0]
    return builder.add(Concatenate(name, tuple(found), (*shape[:-1], count, size), len(shape) - 1))


def ordered(x: Node, count: int, largest: bool) -> Node:
    """The ``count`` largest or smallest of the last axis, in order."""
    _check(x, count)
    shape = (*x.shape[:-1], count)

    def make(builder: Builder, read: Sequence[int]) -> int:
        chosen = _chosen(builder, "sort", read[0], count, largest)
        column = builder.reshape("sort", read[0], (*x.shape, 1))
        moved = builder.add(Product("sort", chosen, column, (*shape, 1), "truncate", matrices=True))
        return builder.reshape("sort", moved, shape)

    return Node("sort", (x,), shape, x.range, make)


def places(x: Node, count: int, largest: bool) -> Node:
    """Where the ``count`` largest or smallest of the last axis are, from 0; exact."""
    _check(x, count)
    size, shape = x.shape[-1], (*x.shape[:-1], count)

    def make(builder: Builder, read: Sequence[int]) -> int:
        chosen = _chosen(builder, "order", read[0], count, largest)
        weighed = builder.add(Weigh("order", chosen, (*shape, 1), tuple(range(size))))
        return builder.reshape("order", weighed, shape)

    return Node("order", (x,), shape, (0.0, float(size - 1)), make)
