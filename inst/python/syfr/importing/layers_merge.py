"""Layers of several inputs: sums, products, maxima, concatenation."""

from __future__ import annotations

import numpy as np

from syfr.importing.calls import Call, refuse
from syfr.importing.elements import Sum, Times
from syfr.importing.expanding import largest
from syfr.importing.operations import Scale
from syfr.importing.places import Join, NewShape, Places
from syfr.steps import Shape


def _aligned(call: Call) -> list[int]:
    """The values in the shape of the result: sizes of 1 are repeated, axes that are missing come first."""
    return [_stretched(call, value, shape) for value, shape in zip(call.sources, call.input_shapes, strict=True)]


def _stretched(call: Call, value: int, shape: Shape) -> int:
    output = call.output_shape
    wide = (1,) * (len(output) - len(shape)) + shape
    if wide != shape:
        value = call.apply(NewShape(call.name, wide), source=value)
    for axis, (size, wanted) in enumerate(zip(wide, output, strict=True)):
        if size != wanted:
            value = call.apply(Places(call.name, axis, (0,) * wanted), source=value)
    return value


def add(call: Call) -> int:
    """Add."""
    values = _aligned(call)
    return call.graph.add(Sum(call.name, (1.0,) * len(values)), *values)


def subtract(call: Call) -> int:
    """Subtract."""
    return call.graph.add(Sum(call.name, (1.0, -1.0)), *_aligned(call))


def average(call: Call) -> int:
    """Average: a sum, and a factor that goes into the next layer where it can."""
    channels = call.output_shape[-1]
    factor = np.full(channels, 1.0 / len(call.sources))
    mean = Scale(call.name, factor, np.zeros(channels), biased=False, uniform=True, public=True)
    return call.apply(mean, source=add(call))


def multiply(call: Call) -> int:
    """Multiply."""
    first, *others = _aligned(call)
    for other in others:
        first = call.graph.add(Times(call.name), first, other)
    return first


def maximum(call: Call, sign: float = 1.0) -> int:
    """Maximum; Minimum with sign -1."""
    return largest(call.graph, call.name, _aligned(call), sign)


def concatenate(call: Call) -> int:
    """Concatenate along any axis but the batch's."""
    rank = len(call.output_shape)
    axis = int(call.layer.axis) % (rank + 1) - 1
    if axis < 0:
        refuse(call.layer, f"uses axis={call.layer.axis}, the batch's", "Use another axis.")
    return call.graph.add(Join(call.name, axis), *call.sources)
