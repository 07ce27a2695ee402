"""The plaintext twin: what a Program computes, in float64 and in the clear, as simply as it can be put."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from syfr.importing.operations import Floats, Weights
from syfr.program import Program
from syfr.steps import Geometry, Linear


def evaluate(program: Program, weights: Mapping[int, Weights], x: ArrayLike) -> Floats:
    """The output of ``program`` for a batch ``x``, before its head."""
    return values(program, weights, x)[-1]


def values(program: Program, weights: Mapping[int, Weights], x: ArrayLike) -> list[Floats]:
    """The input and the value of every step, after its relu."""
    found = [np.asarray(x, np.float64) * program.input_scale]
    program.check_rows(found[0].shape)
    for number, step in enumerate(program.steps):
        value = found[step.sources[0]]
        if isinstance(step, Linear):
            kernel, bias = weights[number].kernel, weights[number].bias
            value = value @ kernel if step.geometry is None else convolve(value, kernel, step.geometry)
            value = value + bias + sum(factor * found[other] for other, factor in step.plus)
            value = np.maximum(value, 0.0) if step.then == "relu" else value
        else:
            value = value.reshape(-1, *step.output_shape)
        found.append(value)
    return found


def convolve(images: Floats, kernel: Floats, geometry: Geometry) -> Floats:
    """A convolution, one output position after the other."""
    images = np.pad(images, ((0, 0), *geometry.padding, (0, 0)))
    size = (images.shape[1], images.shape[2])
    height, width = Geometry(geometry.strides, dilation=geometry.dilation).output_size(size, kernel.shape[:2])
    result = np.zeros((len(images), height, width, kernel.shape[3]))
    inner, outer = kernel.shape[2], kernel.shape[3] // geometry.groups
    for y in range(height):
        for x in range(width):
            rows = y * geometry.strides[0] + geometry.dilation[0] * np.arange(kernel.shape[0])
            columns = x * geometry.strides[1] + geometry.dilation[1] * np.arange(kernel.shape[1])
            window = images[:, rows][:, :, columns]
            for group in range(geometry.groups):
                read = window[..., group * inner : (group + 1) * inner]
                written = slice(group * outer, (group + 1) * outer)
                result[:, y, x, written] = np.tensordot(read, kernel[..., written], 3)
    return result


def head(program: Program, logits: Floats) -> Floats:
    """What the client makes of the opened output."""
    if program.head == "softmax":
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)
    return 1.0 / (1.0 + np.exp(-logits)) if program.head == "sigmoid" else logits
