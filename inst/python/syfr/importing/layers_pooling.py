"""Pooling: means and maxima of windows of an image or a sequence."""

from __future__ import annotations

from syfr.importing.calls import Call, as_image, refuse, same_padding, sizes
from syfr.importing.expanding import averages
from syfr.importing.operations import Affine, average_pooling
from syfr.importing.places import MaxPool, NewShape
from syfr.steps import Geometry, Shape


def _windows(call: Call, shape: Shape, rank: int) -> tuple[tuple[int, int], Geometry]:
    """The size of the windows, and where they lie on an image of ``shape``."""
    layer = call.layer
    size, strides = sizes(layer.pool_size, rank), sizes(layer.strides or layer.pool_size, rank)
    if layer.padding == "valid":
        return size, Geometry(strides)
    if layer.padding != "same":
        refuse(layer, f"uses padding='{layer.padding}'", "Use padding='same' or 'valid'.")
    first, second = (same_padding(shape[axis], size[axis], strides[axis]) for axis in (0, 1))
    return size, Geometry(strides, (first, second))


def average(call: Call, rank: int) -> int:
    """AveragePooling: zeros of "same" do not count."""
    before, shape, after = as_image(call, rank)
    size, geometry = _windows(call, shape, rank)
    if any(map(any, geometry.padding)):
        source = call.apply(*before)
        return call.apply(*after, source=averages(call.graph, call.name, source, shape, size, geometry))
    return call.apply(*before, average_pooling(call.name, size, geometry.strides, shape[2]), *after)


def maximum(call: Call, rank: int) -> int:
    """MaxPooling."""
    before, shape, after = as_image(call, rank)
    size, geometry = _windows(call, shape, rank)
    return call.apply(*before, MaxPool(call.name, size, geometry), *after)


def global_pooling(call: Call, rank: int, largest: bool) -> int:
    """GlobalAveragePooling and GlobalMaxPooling, with or without the axes that are left."""
    before, shape, _ = as_image(call, rank)
    size = (shape[0], shape[1])
    pool: Affine | MaxPool = MaxPool(call.name, size, Geometry(size))
    if not largest:
        pool = average_pooling(call.name, size, size, shape[2])
    return call.apply(*before, pool, NewShape(call.name, call.output_shape))
