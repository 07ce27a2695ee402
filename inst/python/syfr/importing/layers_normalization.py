"""Normalisations whose statistics are those of the row itself: of its channels, of groups of them, of its length."""

from __future__ import annotations

import numpy as np

from syfr.importing.calls import Call, axes_last, refuse, row_axes, scaled, weight
from syfr.importing.elements import Normalized
from syfr.importing.graph import Operation
from syfr.importing.operations import Floats
from syfr.importing.places import NewShape, Order
from syfr.steps import Shape


def _learned(call: Call, value: int, gamma: Floats | None, beta: Floats | None, shape: Shape) -> int:
    """A factor and an offset, which broadcast to a row once they have ``shape``."""
    if gamma is None and beta is None:
        return value
    factor = np.ones(1) if gamma is None else gamma.reshape(shape)
    offset = np.zeros(1) if beta is None else beta.reshape(shape)
    return call.apply(*scaled(call, factor, offset, biased=beta is not None), source=value)


def layer_normalization(call: Call) -> int:
    """LayerNormalization, also by the root mean square alone."""
    layer, axes = call.layer, row_axes(call, call.layer.axis)
    rms = bool(getattr(layer, "rms_scaling", False))
    before, after = axes_last(call, layer.axis)
    found = call.apply(*before, Normalized(call.name, float(layer.epsilon), centred=not rms), *after)
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(call.input_shape))
    gamma = weight(layer, "gamma") if layer.scale or rms else None
    return _learned(call, found, gamma, weight(layer, "beta") if layer.center and not rms else None, shape)


def rms_normalization(call: Call) -> int:
    """RMSNormalization."""
    layer, axes = call.layer, row_axes(call, call.layer.axis)
    before, after = axes_last(call, layer.axis)
    found = call.apply(*before, Normalized(call.name, float(layer.epsilon), centred=False), *after)
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(call.input_shape))
    return _learned(call, found, weight(layer, "scale"), None, shape)


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
    channels = tuple(size if each == axis else 1 for each, size in enumerate(shape))
    gamma = weight(layer, "gamma") if layer.scale else None
    return _learned(call, found, gamma, weight(layer, "beta") if layer.center else None, channels)


def unit_normalization(call: Call) -> int:
    """UnitNormalization: rows of length 1."""
    before, after = axes_last(call, call.layer.axis)
    return call.apply(*before, Normalized(call.name, 0.0, centred=False, mean=False), *after)
