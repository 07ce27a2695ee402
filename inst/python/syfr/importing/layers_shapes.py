"""Layers that only move elements: shapes, orders, padding, cropping, repeating."""

from __future__ import annotations

from typing import Any

from syfr.importing.calls import Call, channels_first, channels_last, refuse
from syfr.importing.graph import Operation
from syfr.importing.operations import zero_padding
from syfr.importing.places import NewShape, Order, Places


def reshape(call: Call) -> int:
    """Reshape."""
    return call.apply(NewShape(call.name, call.output_shape))


def flatten(call: Call) -> int:
    """Flatten: of channels first it makes channels last before, as Keras does."""
    before, _, _ = channels_last(call, max(len(call.input_shape) - 1, 1))
    return call.apply(*before, NewShape(call.name, call.output_shape))


def permute(call: Call) -> int:
    """Permute, whose axes count from 1."""
    return call.apply(Order(call.name, tuple(int(axis) - 1 for axis in call.layer.dims)))


def repeat_vector(call: Call) -> int:
    """RepeatVector."""
    wide = NewShape(call.name, (1, *call.input_shape))
    return call.apply(wide, Places(call.name, 0, (0,) * int(call.layer.n)))


def zero_padded(call: Call, rank: int) -> int:
    """ZeroPadding."""
    sides = _sides(call.layer.padding, rank)
    if rank == 1:
        before, shape, after = channels_last(call, rank)
        image = (1, *shape)
        wide = (shape[0] + sum(sides[0]), shape[1])
        pad = zero_padding(call.name, ((0, 0), sides[0]), shape[-1])
        return call.apply(*before, NewShape(call.name, image), pad, NewShape(call.name, wide), *after)
    before, shape, after = channels_last(call, rank)
    return call.apply(*before, zero_padding(call.name, (sides[0], sides[1]), shape[-1]), *after)


def cropped(call: Call, rank: int) -> int:
    """Cropping."""
    first = 1 if channels_first(call, rank) else 0
    found: list[Operation] = []
    for axis, (before, after) in enumerate(_sides(call.layer.cropping, rank)):
        size = call.input_shape[first + axis]
        found.append(Places(call.name, first + axis, tuple(range(before, size - after))))
    return call.apply(*found)


def upsampled(call: Call, rank: int) -> int:
    """UpSampling that repeats the nearest element."""
    kind = getattr(call.layer, "interpolation", "nearest")
    if kind != "nearest":
        refuse(call.layer, f"uses interpolation='{kind}'", "Use interpolation='nearest', or a Conv2DTranspose.")
    first = 1 if channels_first(call, rank) else 0
    times = call.layer.size
    counts = (int(times),) * rank if isinstance(times, int) else tuple(int(count) for count in times)
    found: list[Operation] = []
    for axis, count in enumerate(counts):
        size = call.input_shape[first + axis]
        found.append(Places(call.name, first + axis, tuple(place for place in range(size) for _ in range(count))))
    return call.apply(*found)


def _sides(value: Any, rank: int) -> list[tuple[int, int]]:
    """How many elements before and after along each axis."""
    if rank == 1:
        before, after = (value, value) if isinstance(value, int) else value
        return [(int(before), int(after))]
    return [(int(before), int(after)) for before, after in value]
