"""What the import knows of one call of a Keras layer, and what all layers need: weights, sizes, refusals.

Keras's objects are read here and in the modules of the layers; Keras itself is never imported.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeAlias

import numpy as np

from syfr.errors import UnsupportedLayerError, ValueRangeError
from syfr.importing.graph import Graph, Operation
from syfr.importing.operations import Floats, Scale
from syfr.importing.places import NewShape, Order
from syfr.steps import Shape

KerasObject: TypeAlias = Any
"""A model, layer, node or function of Keras's, whose classes differ between its generations."""

ROOTS = ("keras", "tf_keras")


@dataclass(frozen=True)
class Symbol:
    """What stands for a value of the network among the arguments of a call: which of its sources."""

    place: int


@dataclass(frozen=True)
class Call:
    """A layer where the model calls it: on which values, of what shapes, and the shape that Keras says it gives.

    ``arguments`` and ``options`` are those of the call, with a Symbol in the place of each value. ``label`` is what to
    call it in the Program, if not by the layer's own name.
    """

    layer: KerasObject
    graph: Graph
    sources: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def name(self) -> str:
        """The layer's Keras name, or the label in its place."""
        return self.label or str(getattr(self.layer, "name", "?"))

    @property
    def input_shape(self) -> Shape:
        """A row of the first value."""
        return self.input_shapes[0]

    def apply(self, *operations: Operation, source: int | None = None) -> int:
        """One operation after the other, on the first value if no other is named."""
        return self.graph.chain(operations, self.sources[0] if source is None else source)

    def on(self, source: int, shape: Shape) -> Call:
        """The same layer on one other value, of whose shape the result is too."""
        return replace(self, sources=(source,), input_shapes=(shape,), output_shape=shape)


def refuse(layer: KerasObject, problem: str, remedy: str) -> NoReturn:
    """Raise UnsupportedLayerError for a layer."""
    name = getattr(layer, "name", "?")
    raise UnsupportedLayerError(f"Layer '{name}' ({type(layer).__name__}) {problem}. {remedy}")


def keras_class(cls: type) -> type | None:
    """The class of Keras's own that a class behaves like; None for one that has a call() of its own."""
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in ROOTS:
            return base
        if "call" in vars(base) or "__call__" in vars(base):
            return None
    return None


def keras_name(layer: KerasObject) -> str:
    """The name of the class of Keras's own that an object behaves like; empty where there is none."""
    return getattr(keras_class(type(layer)), "__name__", "")


def keras_module(layer: KerasObject) -> Any:
    """The Keras that an object is of: the module that the user has imported."""
    for base in (layer if isinstance(layer, type) else type(layer)).__mro__:
        root = base.__module__.split(".")[0]
        if root in ROOTS:
            return sys.modules[root]
    return None


def is_keras3(layer: KerasObject) -> bool:
    """Whether a layer is of Keras 3, in which some functions are others than in Keras 2."""
    return str(getattr(keras_module(layer), "__version__", "3")).startswith("3")


def weight(layer: KerasObject, name: str) -> Floats:
    """An array of a layer's as float64; refuses what is not finite."""
    values = np.asarray(getattr(layer, name)).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueRangeError(
            f"The weight '{name}' of layer '{layer.name}' ({type(layer).__name__}) is NaN or infinite. "
            "Load or train the model again before sharing it."
        )
    return values


def bias(layer: KerasObject, channels: int) -> Floats:
    """A layer's bias, or zeros."""
    return weight(layer, "bias") if layer.use_bias else np.zeros(channels)


def channels_first(call: Call, rank: int) -> bool:
    """Whether the layer wants the channels before the axes of the image."""
    found = getattr(call.layer, "data_format", "channels_last") == "channels_first"
    return found and len(call.input_shape) == rank + 1


def channels_last(call: Call, rank: int) -> tuple[list[Operation], Shape, list[Operation]]:
    """What brings the channels to the end, the shape then, and what brings them back to the front."""
    if not channels_first(call, rank):
        return [], call.input_shape, []
    there = Order(call.name, (*range(1, rank + 1), 0))
    return [there], there.output_shape(call.input_shape), [there.inverse]


def as_image(call: Call, rank: int) -> tuple[list[Operation], Shape, list[Operation]]:
    """What makes a layer's input an image with channels last, its shape, and what makes of an image its output.

    A layer of rank 1 works along the width of an image of height 1.
    """
    before, shape, after = channels_last(call, rank)
    if rank == 2:
        return before, shape, after
    output = call.output_shape
    if len(output) == rank + 1:
        output = after[0].inverse.output_shape(output) if after and isinstance(after[0], Order) else output
        after = [NewShape(call.name, output), *after]
    return [*before, NewShape(call.name, (1, *shape))], (1, *shape), after


def sizes(value: int | Sequence[int], rank: int) -> tuple[int, int]:
    """One or two numbers as two; a layer of rank 1 works along the width of an image of height 1."""
    numbers = (value,) * rank if isinstance(value, int) else tuple(value)
    return (1, int(numbers[0])) if rank == 1 else (int(numbers[0]), int(numbers[1]))


def same_padding(size: int, span: int, stride: int) -> tuple[int, int]:
    """Keras's "same": as many outputs as strides begin, the odd zero after."""
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


def row_axes(call: Call, axis: Any) -> tuple[int, ...]:
    """An axis of a layer's or several, which count from the batch's, as axes of a row in order."""
    rank = len(call.input_shape)
    axes = sorted({int(each) % (rank + 1) - 1 for each in (axis if isinstance(axis, (list, tuple)) else [axis])})
    if not axes or axes[0] < 0:
        refuse(call.layer, f"uses axis={axis}, the batch's", "Use another axis.")
    return tuple(axes)


def axes_last(call: Call, axis: Any) -> tuple[list[Operation], list[Operation]]:
    """What makes some axes the last one, all in one, and what undoes it; they count from the batch's."""
    shape, axes = call.input_shape, row_axes(call, axis)
    if axes == (len(shape) - 1,):
        return [], []
    order = Order(call.name, (*(each for each in range(len(shape)) if each not in axes), *axes))
    moved = order.output_shape(shape)
    flat = (*moved[: len(moved) - len(axes)], math.prod(moved[len(moved) - len(axes) :]))
    return [order, NewShape(call.name, flat)], [NewShape(call.name, moved), order.inverse]


def scaled(call: Call, factor: Floats, offset: Floats, *, biased: bool = True) -> list[Operation]:
    """x·factor + offset for arrays that broadcast to a row, whichever axes they vary along.

    What the arrays' sizes say is architecture; which of their numbers are equal is not looked at.
    """
    name, shape = call.name, call.input_shape
    factor, offset = (_aligned(call, array, shape) for array in (factor, offset))
    wide = [axis for axis in range(len(shape)) if factor.shape[axis] > 1 or offset.shape[axis] > 1]
    uniform = not wide
    axis = wide[0] if wide else len(shape) - 1
    if len(wide) > 1:
        flat = (int(np.prod(shape)),)
        factor, offset = (np.broadcast_to(array, shape).reshape(-1).copy() for array in (factor, offset))
        return [NewShape(name, flat), Scale(name, factor, offset, biased), NewShape(name, shape)]
    factor, offset = (np.broadcast_to(array.reshape(-1), (shape[axis],)).copy() for array in (factor, offset))
    scale = Scale(name, factor, offset, biased, uniform)
    if axis == len(shape) - 1:
        return [scale]
    rest = tuple(other for other in range(len(shape)) if other != axis)
    there = Order(name, (*rest, axis))
    return [there, scale, there.inverse]


def _aligned(call: Call, array: Floats, shape: Shape) -> Floats:
    """An array with as many axes as a row."""
    while array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    array = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if len(array.shape) != len(shape) or any(a not in (1, s) for a, s in zip(array.shape, shape, strict=True)):
        refuse(
            call.layer, f"works with numbers of shape {array.shape} on rows of {shape}", "Give one for each channel."
        )
    return array
