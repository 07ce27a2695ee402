"""The Keras layers that are supported, one function each: a call of a layer -> plain operations.

The second half of keras_import.py: it reads Keras's objects and never imports Keras. A layer is known by the
name of its Keras class; a class of the user's own is taken for the Keras class it inherits from only while it
leaves call() alone. What is not computed exactly as Keras does is refused, naming layer, argument and remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np

from syfr.errors import UnsupportedLayerError, ValueRangeError
from syfr.importing.operations import (
    Affine,
    Floats,
    NewShape,
    Operation,
    Relu,
    Scale,
    average_pooling,
    zero_padding,
)
from syfr.steps import Geometry, Shape

KerasObject: TypeAlias = Any
"""A model, layer, node or function of Keras's, whose classes differ between its generations."""


@dataclass(frozen=True)
class Call:
    """A layer where the model calls it, with a row of its input and of its output."""

    layer: KerasObject
    input_shape: Shape
    output_shape: Shape

    @property
    def name(self) -> str:
        """The layer's Keras name."""
        return str(self.layer.name)


@dataclass(frozen=True)
class Head:
    """A softmax or sigmoid, which only the client computes, on the opened output."""

    layer: KerasObject
    kind: str


Found: TypeAlias = list[Operation | Head]


def keras_class(cls: type) -> type | None:
    """The class of Keras's own that a class behaves like; None for one that has a call() of its own."""
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in ("keras", "tf_keras"):
            return base
        if "call" in vars(base) or "__call__" in vars(base):
            return None
    return None


def refuse(layer: KerasObject, problem: str, remedy: str) -> NoReturn:
    """Raise UnsupportedLayerError for a layer."""
    name = getattr(layer, "name", "?")
    raise UnsupportedLayerError(f"Layer '{name}' ({type(layer).__name__}) {problem}. {remedy}")


def convert(call: Call) -> Found:
    """The operations of one layer, and the head it may end in."""
    known = keras_class(type(call.layer))
    if known is None:
        refuse(
            call.layer,
            "is a custom layer, whose code cannot be run on shares",
            "Write it with Keras's own layers, for example Dense, Conv2D, BatchNormalization and ReLU.",
        )
    is_layer = any(base.__name__ == "Layer" and keras_class(base) is base for base in known.__mro__)
    handler = _HANDLERS.get(known.__name__) if is_layer else None
    if handler is None:
        refuse(call.layer, "cannot be computed privately", _HINTS.get(known.__name__, _SUPPORTED))
    if getattr(call.layer, "quantization_mode", None) is not None:
        refuse(call.layer, "is quantized", "Share the model as it was before quantize().")
    found = handler(call)
    shape = call.input_shape
    for operation in found:
        shape = shape if isinstance(operation, Head) else operation.output_shape(shape)
    if shape != call.output_shape:
        problem = f"gives {call.output_shape} in Keras but {shape} here"
        refuse(call.layer, problem, "Please report this model.")
    return found


def _weight(layer: KerasObject, name: str) -> Floats:
    values = np.asarray(getattr(layer, name)).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueRangeError(
            f"The weight '{name}' of layer '{layer.name}' ({type(layer).__name__}) is NaN or infinite. "
            "Load or train the model again before sharing it."
        )
    return values


def _bias(layer: KerasObject, channels: int) -> Floats:
    return _weight(layer, "bias") if layer.use_bias else np.zeros(channels)


def _channels_last(call: Call) -> None:
    if getattr(call.layer, "data_format", "channels_last") != "channels_last" and len(call.input_shape) > 1:
        refuse(call.layer, "uses data_format='channels_first'", "Use data_format='channels_last'.")


def _sizes(value: int | Sequence[int], rank: int) -> tuple[int, int]:
    """One or two numbers as two; a layer of rank 1 works along the width of an image of height 1."""
    numbers = (value,) * rank if isinstance(value, int) else tuple(value)
    return (1, int(numbers[0])) if rank == 1 else (int(numbers[0]), int(numbers[1]))


def _as_image(call: Call, rank: int, operations: list[Operation]) -> Found:
    """For a layer of rank 1: put (length, channels) into an image of height 1, and take it out again."""
    if rank == 2:
        return list(operations)
    image = (1, *call.input_shape)
    before, shape = NewShape(call.name, image), image
    for operation in operations:
        shape = operation.output_shape(shape)
    return [before, *operations, NewShape(call.name, shape[1:])]


def _same_padding(size: int, span: int, stride: int) -> tuple[int, int]:
    """Keras's "same": as many outputs as strides begin, the odd zero after."""
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


# Activations


def _activation(layer: KerasObject, function: KerasObject, where: str) -> Found:
    name = getattr(function, "__name__", type(function).__name__)
    own = str(getattr(function, "__module__", "")).split(".")[0] in ("keras", "tf_keras", "tensorflow")
    if not own:
        refuse(
            layer,
            f"uses {where}={name}, a function that is not Keras's own",
            _ACTIVATIONS,
        )
    if name == "linear":
        return []
    if name == "relu":
        return [Relu(layer.name)]
    if name in ("softmax", "softmax_v2"):
        return [Head(layer, "softmax")]
    if name == "sigmoid":
        return [Head(layer, "sigmoid")]
    return refuse(layer, f"uses {where}={name}", _ACTIVATIONS)


def _with_activation(call: Call, operations: Found) -> Found:
    return [*operations, *_activation(call.layer, call.layer.activation, "activation")]


def _activation_layer(call: Call) -> Found:
    return _activation(call.layer, call.layer.activation, "activation")


def _relu(call: Call) -> Found:
    layer = call.layer
    if layer.max_value is not None:
        refuse(layer, f"uses max_value={float(layer.max_value):g}", "Use a ReLU without max_value.")
    for argument in ("negative_slope", "threshold"):
        value = float(getattr(layer, argument) or 0.0)
        if value:
            refuse(layer, f"uses {argument}={value:g}", f"Use a ReLU with {argument}=0.")
    return [Relu(call.name)]


def _softmax(call: Call) -> Found:
    axis, last = call.layer.axis, len(call.input_shape)
    if axis not in (-1, last):
        refuse(call.layer, f"uses axis={axis}", "Use axis=-1.")
    return [Head(call.layer, "softmax")]


# Dense and convolutional layers


def _dense(call: Call) -> Found:
    kernel = _weight(call.layer, "kernel")
    bias = _bias(call.layer, kernel.shape[1])
    return _with_activation(call, [Affine(call.name, kernel, bias, biased=bool(call.layer.use_bias))])


def _convolution(call: Call, kernel: Floats, groups: int, rank: int) -> Found:
    """``kernel`` is (height, width, channels in / groups, channels out)."""
    layer = call.layer
    _channels_last(call)
    strides, dilation = _sizes(layer.strides, rank), _sizes(layer.dilation_rate, rank)
    size = (1, *call.input_shape)[-3:-1]
    spans = [(kernel.shape[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    padding = ((0, 0), (0, 0))
    if layer.padding == "same":
        first, second = (_same_padding(size[axis], spans[axis], strides[axis]) for axis in (0, 1))
        padding = (first, second)
    elif layer.padding == "causal":
        padding = ((0, 0), (spans[1] - 1, 0))
    elif layer.padding != "valid":
        refuse(layer, f"uses padding='{layer.padding}'", "Use padding='same' or 'valid'.")
    geometry = Geometry(strides, padding, dilation, groups)
    conv = Affine(call.name, kernel, _bias(layer, kernel.shape[3]), geometry, biased=bool(layer.use_bias))
    return _with_activation(call, _as_image(call, rank, [conv]))


def _conv1d(call: Call) -> Found:
    return _convolution(call, _weight(call.layer, "kernel")[None], int(call.layer.groups), 1)


def _conv2d(call: Call) -> Found:
    return _convolution(call, _weight(call.layer, "kernel"), int(call.layer.groups), 2)


def _depthwise_conv2d(call: Call) -> Found:
    """Keras's depthwise kernel is (height, width, channels, multiplier), its outputs ordered by channel."""
    name = "kernel" if hasattr(call.layer, "kernel") else "depthwise_kernel"
    kernel = _weight(call.layer, name)
    channels = kernel.shape[2]
    return _convolution(call, kernel.reshape(*kernel.shape[:2], 1, -1), channels, 2)


# Pooling, padding, shapes


def _average_pooling(call: Call, rank: int) -> Found:
    layer = call.layer
    _channels_last(call)
    window, strides = _sizes(layer.pool_size, rank), _sizes(layer.strides or layer.pool_size, rank)
    size = (1, *call.input_shape)[-3:-1]
    if layer.padding == "same" and any(
        any(_same_padding(size[axis], window[axis], strides[axis])) for axis in (0, 1)
    ):
        refuse(
            layer,
            f"uses padding='same' on an input of {call.input_shape} that its windows do not divide",
            "Use padding='valid', or an input that the pool size divides.",
        )
    return _as_image(call, rank, [average_pooling(call.name, window, strides, call.input_shape[-1])])


def _global_average_pooling(call: Call, rank: int) -> Found:
    _channels_last(call)
    height, width = (1, *call.input_shape)[-3:-1]
    pooling = average_pooling(call.name, (height, width), (height, width), call.input_shape[-1])
    found = _as_image(call, rank, [pooling])
    return [*found, NewShape(call.name, call.output_shape)]


def _zero_padding(call: Call, rank: int) -> Found:
    _channels_last(call)
    if rank == 1:
        left, right = call.layer.padding
        sides = ((0, 0), (int(left), int(right)))
    else:
        (top, bottom), (left, right) = call.layer.padding
        sides = ((int(top), int(bottom)), (int(left), int(right)))
    return _as_image(call, rank, [zero_padding(call.name, sides, call.input_shape[-1])])


def _new_shape(call: Call) -> Found:
    _channels_last(call)
    return [NewShape(call.name, call.output_shape)]


# Normalisation and what only training sees


def _batch_normalization(call: Call) -> Found:
    layer, rank = call.layer, len(call.input_shape)
    axis = list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    if [int(number) % (rank + 1) for number in axis] != [rank]:
        refuse(layer, f"uses axis={axis}", "Use axis=-1, the channels.")
    mean, variance = _weight(layer, "moving_mean"), _weight(layer, "moving_variance")
    if (variance + layer.epsilon <= 0).any():
        refuse(layer, "has a moving variance below zero", "Train the model again, or raise epsilon.")
    factor = (_weight(layer, "gamma") if layer.scale else 1.0) / np.sqrt(variance + float(layer.epsilon))
    offset = (_weight(layer, "beta") if layer.center else 0.0) - mean * factor
    return [Scale(call.name, factor, offset)]


def _rescaling(call: Call) -> Found:
    channels = call.input_shape[-1]
    numbers, uniform = [], True
    for argument in ("scale", "offset"):
        value = _weight(call.layer, argument)
        if value.size not in (1, channels) or (value.size > 1 and value.shape[-1] != channels):
            refuse(call.layer, f"uses {argument} of shape {value.shape}", "Use one number, or one a channel.")
        numbers.append(np.broadcast_to(value.reshape(-1), (channels,)).copy())
        uniform = uniform and value.size == 1
    factor, offset = numbers
    return [Scale(call.name, factor, offset, biased=bool(offset.any()), uniform=uniform)]


def _nothing(call: Call) -> Found:
    return []


_HANDLERS: dict[str, Callable[[Call], Found]] = {
    "Activation": _activation_layer,
    "ReLU": _relu,
    "Softmax": _softmax,
    "Dense": _dense,
    "Conv1D": _conv1d,
    "Conv2D": _conv2d,
    "DepthwiseConv2D": _depthwise_conv2d,
    "AveragePooling1D": lambda call: _average_pooling(call, 1),
    "AveragePooling2D": lambda call: _average_pooling(call, 2),
    "GlobalAveragePooling1D": lambda call: _global_average_pooling(call, 1),
    "GlobalAveragePooling2D": lambda call: _global_average_pooling(call, 2),
    "ZeroPadding1D": lambda call: _zero_padding(call, 1),
    "ZeroPadding2D": lambda call: _zero_padding(call, 2),
    "Flatten": _new_shape,
    "Reshape": _new_shape,
    "BatchNormalization": _batch_normalization,
    "SyncBatchNormalization": _batch_normalization,
    "Rescaling": _rescaling,
    **dict.fromkeys(
        (
            "ActivityRegularization",
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "Identity",
            "InputLayer",
            "RandomBrightness",
            "RandomContrast",
            "RandomFlip",
            "RandomRotation",
            "RandomTranslation",
            "RandomZoom",
            "SpatialDropout1D",
            "SpatialDropout2D",
        ),
        _nothing,
    ),
}

_SUPPORTED = f"Supported layers: {', '.join(sorted(_HANDLERS))}."

_ACTIVATIONS = "Use 'relu', or 'softmax' or 'sigmoid' at the very end; add a layer as one of its own."
_POOL = "Use AveragePooling2D, or a convolution with strides."
_RELU = "Use a ReLU layer, or activation='relu'."
_CHAIN = "A model must be a single chain of layers, without branches or residual additions."

_HINTS: dict[str, str] = {
    **dict.fromkeys(("MaxPooling1D", "MaxPooling2D"), _POOL),
    **dict.fromkeys(("GlobalMaxPooling1D", "GlobalMaxPooling2D"), "Use GlobalAveragePooling2D."),
    **dict.fromkeys(("LeakyReLU", "PReLU", "ELU", "ThresholdedReLU"), _RELU),
    **dict.fromkeys(("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"), _CHAIN),
    **dict.fromkeys(("LayerNormalization", "GroupNormalization"), "Use BatchNormalization."),
    "Normalization": "Use Rescaling, or BatchNormalization.",
    "Lambda": "Write it with Keras's own layers, for example Rescaling, Reshape or Activation.",
    "SeparableConv2D": "Use DepthwiseConv2D followed by a Conv2D with kernel size 1.",
    "DepthwiseConv1D": "Use Conv1D with groups equal to the number of channels.",
    "Conv2DTranspose": "Use Conv2D.",
    "TimeDistributed": "Use the layer itself where it works on the last axis, as Dense does.",
}
