"""Softmax and normalisations inside a network, as sums, products, compares and powers (powers.py).

A softmax is e^(x - m) over its sum, m the largest x of the row, which keeps every number in range whatever the model's
weights are. It could be left out where all x are known to be small; but what is known comes from the weights, which a
Program must not tell.

A normalisation divides by the root of a sum of squares. That sum is one product of a row with itself, so it is rounded
once, and it is right up to the largest number that the format holds.
"""

from __future__ import annotations

import math

import numpy as np

from syfr.errors import UnsupportedLayerError
from syfr.importing.elements import Known, Normalized, Relu, Softmax, Sum, Times
from syfr.importing.graph import Exact, Graph
from syfr.importing.operations import Scale
from syfr.importing.places import NewShape, Places
from syfr.importing.powers import SPARE_BITS, exponential, inverse, inverse_root, spare
from syfr.ring.fixedpoint import Precision
from syfr.steps import Shape, Weigh

RUN = 128
"""Elements whose squares are added up in one number."""


def softmax(graph: Graph, operation: Softmax, source: int, shape: Shape, precision: Precision) -> int:
    """A softmax over the last axis of a row of ``shape``."""
    layer, size = operation.layer, shape[-1]
    if size == 1:
        return graph.add(Sum(layer, (0.0,), 1.0), source)
    if operation.counts is None:
        top = _spread(graph, layer, _largest_of_rows(graph, layer, source, shape), shape)
        below = graph.add(Sum(layer, (1.0, -1.0)), source, top)
        powers = exponential(graph, layer, below, precision)
    else:
        powers = _powers_where(graph, operation, operation.counts, source, shape, precision)
    total = graph.add(_added(layer, shape, Known(0.98, 1.02 * size)), powers)
    over = _spread(graph, layer, inverse(graph, layer, total, float(size), precision), shape)
    return graph.add(Times(layer, scale_bits=spare(precision), known=Known(0.0, 1.02)), powers, over)


def _powers_where(
    graph: Graph, operation: Softmax, counts: tuple[bool, ...], source: int, shape: Shape, precision: Precision
) -> int:
    """e^(x - m) where a place counts, of which m is the largest too, and 0 elsewhere, where nothing is computed."""
    layer, size, rows = operation.layer, shape[-1], len(counts) // shape[-1]
    pattern = np.array(counts).reshape(rows, size)
    several = math.prod(shape) // len(counts)
    flat = graph.add(NewShape(layer, (several, len(counts))), source)
    # In the place of what does not count stands what counts first in the same row, which no maximum notices.
    instead = np.where(pattern, np.arange(size), pattern.argmax(axis=1)[:, None]) + size * np.arange(rows)[:, None]
    filled = graph.add(Places(layer, 1, tuple(map(int, instead.reshape(-1)))), flat)
    filled = graph.add(NewShape(layer, (several, rows, size)), filled)
    top = _largest_of_rows(graph, layer, filled, (several, rows, size))
    top = graph.add(NewShape(layer, (several, rows)), top)
    kept = np.flatnonzero(pattern)
    less = graph.add(Places(layer, 1, tuple(int(place) // size for place in kept)), top)
    below = graph.add(Sum(layer, (1.0, -1.0)), graph.add(Places(layer, 1, tuple(map(int, kept))), flat), less)
    back = np.full(len(counts), -1)
    back[kept] = np.arange(len(kept))
    powers = graph.add(Places(layer, 1, tuple(map(int, back))), exponential(graph, layer, below, precision))
    return graph.add(NewShape(layer, shape), powers)


def _largest_of_rows(graph: Graph, layer: str, source: int, shape: Shape) -> int:
    """The largest along the last axis, whose size becomes 1."""
    axis, left = len(shape) - 1, shape[-1]
    while left > 1:
        half = (left + 1) // 2
        first = graph.add(Places(layer, axis, tuple(range(half))), source)
        second = graph.add(Places(layer, axis, tuple(range(left - half, left))), source)
        excess = graph.add(Relu(layer), graph.add(Sum(layer, (1.0, -1.0)), first, second))
        source, left = graph.add(Sum(layer, (1.0, 1.0)), excess, second), half
    return source


def normalized(graph: Graph, operation: Normalized, source: int, shape: Shape, precision: Precision) -> int:
    """Each row along the last axis over its deviation or length; see elements.Normalized."""
    layer, size = operation.layer, shape[-1]
    if spare(precision) < SPARE_BITS:
        bits = precision.fraction_bits - SPARE_BITS + precision.spare_bits
        raise UnsupportedLayerError(
            f"Layer '{layer}' divides by a root, for which {precision.fraction_bits} fraction bits leave no room. "
            f"Choose a precision of at most {bits}."
        )
    if operation.centred:
        middle = _spread(graph, layer, _mean(graph, layer, source, shape), shape)
        source = graph.add(Sum(layer, (1.0, -1.0)), source, middle)
    # The squares' sum is taken q times as large as what the root is of: so it has the digits that it can have.
    runs = -(-size // RUN)
    count = size / runs if operation.mean else 1.0
    taken = min(SPARE_BITS, max(0, math.ceil(math.log2(count / 8.0))))
    q = count / 2.0**taken
    squares = _squares(graph, operation, source, shape, runs, taken)
    if operation.epsilon:
        squares = graph.add(Sum(layer, (1.0,), operation.epsilon * q), squares)
    grown = SPARE_BITS + math.floor(math.log2(q) / 2)
    over = _spread(graph, layer, inverse_root(graph, layer, squares, grown, precision), shape)
    larger = math.pow(2.0, grown - SPARE_BITS) / math.sqrt(q)
    most = 1.02 * larger * math.sqrt(size if operation.mean else 1.0)
    found = graph.add(Times(layer, scale_bits=SPARE_BITS, known=Known(-most, most)), source, over)
    if larger == 1.0:
        return found
    factor = np.full(size, 1.0 / larger)
    return graph.add(Scale(layer, factor, np.zeros(size), biased=False, uniform=True, public=True), found)


def _squares(graph: Graph, operation: Normalized, source: int, shape: Shape, runs: int, taken: int) -> int:
    """The sum of squares of each row over 2^taken, or the mean of the sums of its runs."""
    layer, size = operation.layer, shape[-1]
    rows, length = math.prod(shape[:-1]), -(-size // runs)
    if runs * length > size:
        padded = (*range(size), *[-1] * (runs * length - size))
        source = graph.add(Places(layer, len(shape) - 1, padded), source)
    left = graph.add(NewShape(layer, (rows * runs, 1, length)), source)
    right = graph.add(NewShape(layer, (rows * runs, length, 1)), source)
    found = graph.add(Times(layer, matrices=True, scale_bits=taken, known=Known(low=0.0)), left, right)
    if runs > 1:
        found = graph.add(_added(layer, (rows, runs)), graph.add(NewShape(layer, (rows, runs)), found))
        if operation.mean:
            found = graph.add(Sum(layer, (1.0 / runs,)), found)
    return graph.add(NewShape(layer, (*shape[:-1], 1)), found)


def _mean(graph: Graph, layer: str, source: int, shape: Shape) -> int:
    """The mean along the last axis, whose size becomes 1.

    Divided by a power of two first, which is exact, and then by what is left: 1/size alone would have too few digits.
    """
    size, power = shape[-1], 1 << (shape[-1].bit_length() - 1)
    found = graph.add(Sum(layer, (1.0 / power,)), graph.add(_added(layer, shape), source))
    return found if power == size else graph.add(Sum(layer, (power / size,)), found)


def _added(layer: str, shape: Shape, known: Known | None = None) -> Exact:
    """The sum along the last axis, whose size becomes 1."""
    return Exact(Weigh(layer, 0, (*shape[:-1], 1), (1,) * shape[-1]), known)


def _spread(graph: Graph, layer: str, source: int, shape: Shape) -> int:
    """One number of each row in all places of the row."""
    return graph.add(Places(layer, len(shape) - 1, (0,) * shape[-1]), source)
