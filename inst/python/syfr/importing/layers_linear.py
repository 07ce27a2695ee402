"""Layers that are linear in their input: dense ones, convolutions, normalisations with fixed statistics."""

from __future__ import annotations

import numpy as np

from syfr.importing.calls import Call, as_image, bias, refuse, same_padding, scaled, sizes, weight
from syfr.importing.graph import Operation
from syfr.importing.layers_activations import activated
from syfr.importing.operations import Affine, Floats
from syfr.importing.places import Places
from syfr.steps import Geometry, Shape


def dense(call: Call) -> int:
    """Dense, on the last axis of rows of any shape."""
    kernel = weight(call.layer, "kernel")
    affine = Affine(call.name, kernel, bias(call.layer, kernel.shape[1]), biased=bool(call.layer.use_bias))
    return activated(call, call.apply(affine))


def _convolved(call: Call, operations: list[Operation], rank: int) -> int:
    """Convolutions on an image, in the shape and the order that the layer has, and its activation."""
    before, _, after = as_image(call, rank)
    return activated(call, call.apply(*before, *operations, *after))


def _geometry(call: Call, shape: Shape, kernel: Shape, groups: int, rank: int) -> Geometry:
    layer = call.layer
    strides, dilation = sizes(layer.strides, rank), sizes(layer.dilation_rate, rank)
    spans = [(kernel[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    padding = ((0, 0), (0, 0))
    if layer.padding == "same":
        first, second = (same_padding(shape[axis], spans[axis], strides[axis]) for axis in (0, 1))
        padding = (first, second)
    elif layer.padding == "causal":
        padding = ((0, 0), (spans[1] - 1, 0))
    elif layer.padding != "valid":
        refuse(layer, f"uses padding='{layer.padding}'", "Use padding='same' or 'valid'.")
    return Geometry(strides, padding, dilation, groups)


def _convolution(call: Call, kernel: Floats, groups: int, rank: int) -> int:
    """``kernel`` is (height, width, channels in / groups, channels out)."""
    _, shape, _ = as_image(call, rank)
    geometry = _geometry(call, shape, kernel.shape, groups, rank)
    used = bool(call.layer.use_bias)
    return _convolved(call, [Affine(call.name, kernel, bias(call.layer, kernel.shape[3]), geometry, biased=used)], rank)


def conv1d(call: Call) -> int:
    """Conv1D."""
    return _convolution(call, weight(call.layer, "kernel")[None], int(call.layer.groups), 1)


def conv2d(call: Call) -> int:
    """Conv2D."""
    return _convolution(call, weight(call.layer, "kernel"), int(call.layer.groups), 2)


def _depthwise_kernel(call: Call, rank: int) -> Floats:
    """Keras's depthwise kernel is (height, width, channels, multiplier), its outputs ordered by channel."""
    name = "depthwise_kernel" if hasattr(call.layer, "depthwise_kernel") else "kernel"
    kernel = weight(call.layer, name)
    return kernel if rank == 2 else kernel[None]


def depthwise(call: Call, rank: int) -> int:
    """DepthwiseConv1D and 2D."""
    kernel = _depthwise_kernel(call, rank)
    return _convolution(call, kernel.reshape(*kernel.shape[:2], 1, -1), kernel.shape[2], rank)


def separable(call: Call, rank: int) -> int:
    """SeparableConv1D and 2D: a depthwise convolution, then one of size 1."""
    first, second = _depthwise_kernel(call, rank), weight(call.layer, "pointwise_kernel")
    second = second if rank == 2 else second[None]
    channels = first.shape[2]
    spread = first.reshape(*first.shape[:2], 1, -1)
    _, shape, _ = as_image(call, rank)
    geometry = _geometry(call, shape, spread.shape, channels, rank)
    used = bool(call.layer.use_bias)
    return _convolved(
        call,
        [
            Affine(call.name, spread, np.zeros(spread.shape[3]), geometry, biased=False),
            Affine(call.name, second, bias(call.layer, second.shape[3]), Geometry(), biased=used),
        ],
        rank,
    )


def transposed(call: Call, rank: int) -> int:
    """Conv1DTranspose and Conv2DTranspose: zeros between the elements, then a convolution with the mirrored kernel."""
    layer = call.layer
    if int(getattr(layer, "groups", 1)) != 1:
        refuse(layer, f"uses groups={layer.groups}", "Use groups=1.")
    kernel = weight(layer, "kernel")
    kernel = (kernel if rank == 2 else kernel[None])[::-1, ::-1].transpose(0, 1, 3, 2)
    before, shape, after = as_image(call, rank)
    strides, dilation = sizes(layer.strides, rank), sizes(layer.dilation_rate, rank)
    outputs = _transposed_sizes(call, rank)
    spread, padding = list[Operation](), []
    for axis in (0, 1):
        size, stride = shape[axis], strides[axis]
        if stride > 1 and size > 1:
            zeros = (-1,) * (stride - 1)
            indices = sum(((place, *zeros) for place in range(size)), ())[: (size - 1) * stride + 1]
            spread.append(Places(call.name, axis, indices))
        wide = (size - 1) * stride + 1
        span = (kernel.shape[axis] - 1) * dilation[axis] + 1
        cut = max(wide - 1 + span - outputs[axis], 0) // 2 if layer.padding == "same" else 0
        first = span - 1 - cut
        padding.append((first, outputs[axis] + span - 1 - wide - first))
    geometry = Geometry((1, 1), (padding[0], padding[1]), dilation)
    affine = Affine(
        call.name, np.ascontiguousarray(kernel), bias(layer, kernel.shape[3]), geometry, biased=bool(layer.use_bias)
    )
    return activated(call, call.apply(*before, *spread, affine, *after))


def _transposed_sizes(call: Call, rank: int) -> tuple[int, int]:
    """Height and width of the result, as Keras says."""
    first = getattr(call.layer, "data_format", "channels_last") == "channels_first"
    image = call.output_shape[1:] if first else call.output_shape[:-1]
    return (1, image[0]) if rank == 1 else (image[0], image[1])


def batch_normalization(call: Call) -> int:
    """BatchNormalization, on any axis, with the statistics of its training."""
    layer, rank = call.layer, len(call.input_shape)
    axes = list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    axes = sorted(int(axis) % (rank + 1) - 1 for axis in axes)
    mean, variance = weight(layer, "moving_mean"), weight(layer, "moving_variance")
    if (variance + layer.epsilon <= 0).any():
        refuse(layer, "has a moving variance below zero", "Train the model again, or raise epsilon.")
    factor = (weight(layer, "gamma") if layer.scale else 1.0) / np.sqrt(variance + float(layer.epsilon))
    offset = (weight(layer, "beta") if layer.center else 0.0) - mean * factor
    shape = [call.input_shape[axis] if axis in axes else 1 for axis in range(rank)]
    return call.apply(*scaled(call, factor.reshape(shape), offset.reshape(shape)))


def rescaling(call: Call) -> int:
    """Rescaling, by one number or an array."""
    factor, offset = weight(call.layer, "scale"), weight(call.layer, "offset")
    return call.apply(*scaled(call, factor, offset, biased=bool(offset.any())))


def normalization(call: Call) -> int:
    """Normalization: (x - mean) / deviation, or its inverse."""
    layer = call.layer
    if getattr(layer, "mean", None) is None:
        refuse(layer, "has no mean and variance yet", "Call its adapt(), or give both when it is made.")
    mean, variance = weight(layer, "mean"), weight(layer, "variance")
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    if getattr(layer, "invert", False):
        return call.apply(*scaled(call, deviation, mean))
    return call.apply(*scaled(call, 1.0 / deviation, -mean / deviation))
