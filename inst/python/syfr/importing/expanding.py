"""What stands on its own after folding becomes what the workers compute: local steps, sums with public factors, relus.

A batch normalisation that no linear layer took in becomes one that scales each channel. Means of windows and zero
padding need no weights at all: windows are added up by moving elements, which costs nothing, and divided once. A
maximum is b + relu(a - b), along one axis and then the other. What a softmax becomes is in normalizing.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from syfr.importing.elements import Normalized, Relu, Softmax, Sum
from syfr.importing.graph import Exact, Graph, Operation
from syfr.importing.normalizing import normalized, softmax
from syfr.importing.operations import Affine, Scale, diagonal, is_mean, only_pads
from syfr.importing.places import MaxPool, NewShape, Order, Places
from syfr.ring.fixedpoint import Precision
from syfr.steps import MAX_SOURCES, Geometry, Shape, Weigh

MATRIX_CHANNELS = 64
"""Up to so many channels are scaled by a diagonal matrix where they are no image's."""


def expand(graph: Graph, precision: Precision) -> bool:
    """Replace what no step computes; whether there was anything."""
    found = False
    shapes = graph.shapes()
    for value in graph.order():
        node = graph.nodes[value]
        new = _expanded(graph, node.operation, node.sources[0], shapes[node.sources[0]], precision)
        if new is not None:
            graph.replace_value(value, new)
            shapes[new] = shapes[value]
            found = True
    return found


def _expanded(graph: Graph, operation: Operation, source: int, shape: Shape, precision: Precision) -> int | None:
    if isinstance(operation, Softmax):
        return softmax(graph, operation, source, shape, precision)
    if isinstance(operation, Normalized):
        return normalized(graph, operation, source, shape, precision)
    if isinstance(operation, MaxPool):
        return maxima(graph, operation, source, shape)
    if isinstance(operation, Scale):
        return graph.chain(_scaling(operation, shape), source)
    if not isinstance(operation, Affine) or operation.geometry is None or not operation.public:
        return None
    if only_pads(operation):
        return padded(graph, operation.layer, source, shape, operation.geometry.padding)
    size = (operation.kernel.shape[0], operation.kernel.shape[1])
    if is_mean(operation) and max(size) <= MAX_SOURCES:
        factor = float(operation.kernel.flat[0])
        return _window_sums(graph, operation.layer, source, shape, size, operation.geometry, factor)
    return None


def _scaling(scale: Scale, shape: Shape) -> list[Operation]:
    if scale.public and scale.uniform and not scale.biased:
        return [Sum(scale.layer, (float(scale.factor.flat[0]),))]
    if len(shape) == 3 or shape[-1] <= MATRIX_CHANNELS:
        return [diagonal(scale, shape)]
    image = (1, math.prod(shape[:-1]), shape[-1])
    return [NewShape(scale.layer, image), diagonal(scale, image), NewShape(scale.layer, shape)]


def padded(graph: Graph, layer: str, source: int, shape: Shape, padding: Sequence[tuple[int, int]]) -> int:
    """Zeros before and after along the first axes."""
    for axis, (before, after) in enumerate(padding):
        if before or after:
            indices = (*[-1] * before, *range(shape[axis]), *[-1] * after)
            source = graph.add(Places(layer, axis, indices), source)
    return source


def windows(size: int, window: int, stride: int, dilation: int, padding: tuple[int, int]) -> list[list[int]]:
    """Along an axis of so many elements, the place that each window's first element reads, its second, and so on."""
    span = (window - 1) * dilation + 1
    count = (size + sum(padding) - span) // stride + 1
    return [[n * stride + k * dilation - padding[0] for n in range(count)] for k in range(window)]


def maxima(graph: Graph, pool: MaxPool, source: int, shape: Shape) -> int:
    """The largest element of every window of an image: of each row of it, and then of those."""
    geometry, sizes = pool.geometry, list(shape)
    for axis in (1, 0):
        pads, size = geometry.padding[axis], sizes[axis]
        reads = windows(size, pool.size[axis], geometry.strides[axis], geometry.dilation[axis], pads)
        sizes[axis] = len(reads[0])
        if pool.size[axis] > 1 or geometry.strides[axis] > 1:
            source = _largest(graph, pool.layer, source, axis, size, reads)
    return source


def _largest(graph: Graph, layer: str, source: int, axis: int, size: int, reads: list[list[int]]) -> int:
    if len(reads[0]) == 1:
        places = sorted({min(max(read[0], 0), size - 1) for read in reads})
        source = graph.add(Places(layer, axis, tuple(places)), source)
        left = len(places)
        while left > 1:
            half = (left + 1) // 2
            first = graph.add(Places(layer, axis, tuple(range(half))), source)
            second = graph.add(Places(layer, axis, tuple(range(left - half, left))), source)
            source, left = largest(graph, layer, [first, second]), half
        return source
    # What lies beside the image is read from its border, which is in the window too.
    clamped = [tuple(min(max(place, 0), size - 1) for place in read) for read in reads]
    return largest(graph, layer, [graph.add(Places(layer, axis, read), source) for read in clamped])


def largest(graph: Graph, layer: str, values: Sequence[int], sign: float = 1.0) -> int:
    """The maximum of values of one shape, two by two; with sign -1 the minimum."""
    left = list(values)
    while len(left) > 1:
        pairs = [left[place : place + 2] for place in range(0, len(left), 2)]
        left = [pair[0] if len(pair) == 1 else _larger(graph, layer, pair[0], pair[1], sign) for pair in pairs]
    return left[0]


def _larger(graph: Graph, layer: str, one: int, other: int, sign: float) -> int:
    if one == other:
        return one
    excess = graph.add(Relu(layer), graph.add(Sum(layer, (sign, -sign)), one, other))
    return graph.add(Sum(layer, (sign, 1.0)), excess, other)


def averages(graph: Graph, layer: str, source: int, shape: Shape, size: tuple[int, int], geometry: Geometry) -> int:
    """The mean of what every window of an image has inside the image; zeros around it do not count."""
    total = _window_sums(graph, layer, source, shape, size, geometry, None)
    counts = [_counts(shape[axis], size[axis], geometry, axis) for axis in (0, 1)]
    pieces: list[int] = []
    factors: list[float] = []
    for rows in sorted(set(counts[0])):
        for columns in sorted(set(counts[1])):
            piece = total
            for axis, count in enumerate((rows, columns)):
                kept = tuple(place if each == count else -1 for place, each in enumerate(counts[axis]))
                piece = graph.add(Places(layer, axis, kept), piece)
            pieces.append(piece)
            factors.append(1.0 / (rows * columns))
    return graph.add(Sum(layer, tuple(factors)), *pieces)


def _counts(size: int, window: int, geometry: Geometry, axis: int) -> list[int]:
    reads = windows(size, window, geometry.strides[axis], geometry.dilation[axis], geometry.padding[axis])
    inside = np.array([[0 <= place < size for place in read] for read in reads])
    return [int(count) for count in inside.sum(axis=0)]


def _window_sums(
    graph: Graph,
    layer: str,
    source: int,
    shape: Shape,
    size: tuple[int, int],
    geometry: Geometry,
    factor: float | None,
) -> int:
    """The sum of every window of an image, times a public factor."""
    tiled = geometry.strides == size and not any(map(any, geometry.padding)) and geometry.dilation == (1, 1)
    total = (_tile_sums if tiled else _sliding_sums)(graph, layer, source, shape, size, geometry)
    return total if factor is None else graph.add(Sum(layer, (factor,)), total)


def _tile_sums(graph: Graph, layer: str, source: int, shape: Shape, size: tuple[int, int], geometry: Geometry) -> int:
    height, width = (shape[axis] // size[axis] for axis in (0, 1))
    for axis, count in enumerate((height, width)):
        if count * size[axis] < shape[axis]:
            source = graph.add(Places(layer, axis, tuple(range(count * size[axis]))), source)
    tile = size[0] * size[1]
    tiles: tuple[Operation, ...] = (
        NewShape(layer, (height, size[0], width, size[1], shape[2])),
        Order(layer, (0, 2, 4, 1, 3)),
        NewShape(layer, (height, width, shape[2], tile)),
        Exact(Weigh(layer, 0, (height, width, shape[2], 1), (1,) * tile)),
        NewShape(layer, (height, width, shape[2])),
    )
    return graph.chain(tiles, source)


def _sliding_sums(
    graph: Graph, layer: str, source: int, shape: Shape, size: tuple[int, int], geometry: Geometry
) -> int:
    for axis in (1, 0):
        count, dilation = shape[axis], geometry.dilation[axis]
        reads = windows(count, size[axis], geometry.strides[axis], dilation, geometry.padding[axis])
        inside = [tuple(place if 0 <= place < count else -1 for place in read) for read in reads]
        parts = [graph.add(Places(layer, axis, read), source) for read in inside]
        source = graph.add(Sum(layer, (1.0,) * len(parts)), *parts)
    return source
