"""Two convolutions in a row as one, where one of them is depthwise (average pooling, padding, scaling).

The kernel of the one is the convolution of both kernels: a 3 x 3 convolution followed by 2 x 2 average
pooling is a 4 x 4 convolution of stride 2. Zeros put between the two must be had by padding the input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syfr.importing.operations import Affine, Floats, input_channels
from syfr.steps import Geometry, Shape

Indices = NDArray[np.intp]
Taps = tuple[Indices, Indices]


@dataclass(frozen=True)
class _Line:
    """One axis of a convolution."""

    taps: int
    stride: int
    dilation: int
    padding: tuple[int, int]

    @property
    def span(self) -> int:
        return (self.taps - 1) * self.dilation + 1

    def output(self, size: int) -> int:
        return (size + sum(self.padding) - self.span) // self.stride + 1


@dataclass(frozen=True)
class Composition:
    """Where the composed kernel lies: its geometry, its shape, and where each tap of the two goes in it."""

    geometry: Geometry
    kernel: Shape
    first: Taps
    second: Taps


def plan(first: Affine, second: Affine, shape: Shape) -> Composition | None:
    """How ``first`` on a row of ``shape``, then ``second``, become one convolution; None if not."""
    if first.geometry is None or second.geometry is None or not (first.depthwise or second.depthwise):
        return None
    if second.padded and first.biased:
        return None
    joined = []
    for axis in (0, 1):
        one = _join(_line(first, first.geometry, axis), _line(second, second.geometry, axis), shape[axis])
        if one is None:
            return None
        joined.append(one)
    (line_y, first_y, second_y), (line_x, first_x, second_x) = joined
    # The depthwise one has as many channels in as out, so the other one has the groups of both together.
    wide = first if second.depthwise else second
    geometry = Geometry(
        strides=(line_y.stride, line_x.stride),
        padding=(line_y.padding, line_x.padding),
        dilation=(line_y.dilation, line_x.dilation),
        groups=wide.groups,
    )
    kernel = (line_y.taps, line_x.taps, *wide.kernel.shape[2:])
    return Composition(geometry, kernel, (first_y, first_x), (second_y, second_x))


def compose(first: Affine, second: Affine, plan: Composition, layer: str) -> Affine:
    """One convolution that does ``first`` and then ``second``."""
    if second.depthwise:
        kernels = first.kernel, second.kernel
        bias = second.bias + first.bias * second.kernel.sum((0, 1, 2))
    else:
        channels = input_channels(second)
        kernels = first.kernel[:, :, 0, channels], second.kernel
        bias = second.bias + (second.kernel * first.bias[channels]).sum((0, 1, 2))
    kernel = np.zeros(plan.kernel)
    if first.kernel[..., 0, 0].size <= second.kernel[..., 0, 0].size:
        _spread(kernel, kernels[0], plan.first, kernels[1], plan.second)
    else:
        _spread(kernel, kernels[1], plan.second, kernels[0], plan.first)
    biased, public = first.biased or second.biased, first.public and second.public
    return Affine(layer, kernel, bias, plan.geometry, biased, public)


def _line(affine: Affine, geometry: Geometry, axis: int) -> _Line:
    taps = affine.kernel.shape[axis]
    return _Line(taps, geometry.strides[axis], geometry.dilation[axis], geometry.padding[axis])


def _join(first: _Line, second: _Line, size: int) -> tuple[_Line, Indices, Indices] | None:
    middle = first.output(size)
    outputs = second.output(middle)
    # A zero between the two must be what ``first`` gives where it reads nothing but zeros around the input.
    if second.padding[0] and first.span > first.stride + first.padding[0]:
        return None
    if second.padding[1] and middle * first.stride - first.padding[0] < size:
        return None
    leap = second.dilation * first.stride
    unit = math.gcd(first.dilation if first.taps > 1 else 0, leap if second.taps > 1 else 0) or 1
    first_taps = np.arange(first.taps) * first.dilation // unit
    second_taps = np.arange(second.taps) * leap // unit
    taps = int(first_taps[-1] + second_taps[-1]) + 1
    stride = first.stride * second.stride
    before = first.padding[0] + first.stride * second.padding[0]
    after = (outputs - 1) * stride + (taps - 1) * unit + 1 - size - before
    line = _Line(taps, stride, unit, (before, max(0, after)))
    return line, first_taps, second_taps


def _spread(kernel: Floats, small: Floats, small_taps: Taps, large: Floats, taps: Taps) -> None:
    for y, row in enumerate(small_taps[0]):
        for x, column in enumerate(small_taps[1]):
            kernel[np.ix_(taps[0] + row, taps[1] + column)] += small[y, x] * large
