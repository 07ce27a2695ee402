"""Normalisations whose statistics are those of the row itself: of its channels, of groups of them, of its length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from syfr.importing.calls import Call, axes_last, refuse, row_axes, scaled, weight
from syfr.importing.elements import Normalized
from syfr.importing.graph import Operation
from syfr.importing.operations import Floats
from syfr.importing.places import NewShape, Order


def _learned(call: Call, value: int, gamma: Floats | None, beta: Floats | None, axes: Sequence[int]) -> int:
    """A factor and an offset, which vary along these axes of a row."""
    if gamma is None and beta is None:
        return value
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(call.input_shape))
    factor = np.ones(1) if gamma is None else gamma.reshape(shape)
    offset = np.zeros(1) if beta is None else beta.reshape(shape)
    return call.apply(*scaled(call, factor, offset, biased=beta is not None), source=value)


def _over_axes(call: Call, *, centred: bool, gamma: Floats | None, beta: Floats | None) -> int:
    """What lies along the layer's axes over its deviation, or its root mean square, with what was learned."""
    layer, axes = call.layer, row_axes(call, call.layer.axis)
    before, after = axes_last(call, layer.axis)
    found = call.apply(*before, Normalized(call.name, float(layer.epsilon), centred=centred), *after)
    return _learned(call, found, gamma, beta, axes)


def layer_normalization(call: Call) -> int:
    """LayerNormalization, also by the root mean square alone."""
    layer = call.layer
    rms = bool(getattr(layer, "rms_scaling", False))
    gamma = weight(layer, "gamma") if layer.scale or rms else None
    beta = weight(layer, "beta") if layer.center and not rms else None
    return _over_axes(call, centred=not rms, gamma=gamma, beta=beta)


def rms_normalization(call: Call) -> int:
    """RMSNormalization."""
    return _over_axes(call, centred=False, gamma=weight(call.layer, "scale"), beta=None)


def group_normalization(call: Call) -> int:
    """GroupNormalization: groups of channels with all places."""
    layer, shape, name = call.layer, call.input_shape, call.name
    (axis,) = row_axes(call, layer.axis)
    if axis != len(shape) - 1 and int(layer.axis) < 0:
        refuse(layer, f"uses axis={layer.axis}", "Count the axis from the front, or use axis=-1.")
    groups = int(layer.groups)
    apart = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    first = Order(name, (axis, *(each for each in range(len(apart)) if each != axis)))
    moved = first.output_shape(apart)
    rows = NewShape(name, (groups, int(np.prod(moved[1:]))))
    statistics = Normalized(name, float(layer.epsilon))
    back: list[Operation] = [NewShape(name, moved), first.inverse, NewShape(name, shape)]
    found = call.apply(NewShape(name, apart), first, rows, statistics, *back)
    gamma = weight(layer, "gamma") if layer.scale else None
    return _learned(call, found, gamma, weight(layer, "beta") if layer.center else None, (axis,))


def unit_normalization(call: Call) -> int:
    """UnitNormalization: rows of length 1."""
    before, after = axes_last(call, call.layer.axis)
    return call.apply(*before, Normalized(call.name, 0.0, centred=False, mean=False), *after)
