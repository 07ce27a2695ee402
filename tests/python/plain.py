"""The plaintext twin: what a Program computes, in float64 and in the clear, as simply as it can be put."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from syfr.importing.operations import Floats, Weights
from syfr.program import Program
from syfr.steps import (
    Combine,
    Concatenate,
    Geometry,
    Linear,
    Product,
    Ranks,
    Signs,
    Slice,
    Step,
    Take,
    Transpose,
    Weigh,
    follows,
    is_output,
)


def evaluate(program: Program, weights: Mapping[int, Weights], x: ArrayLike) -> Floats:
    """The output of ``program`` for a batch ``x``, before its head; several outputs lie one after the other."""
    found = values(program, weights, x)
    parts = [found[number + 1] for number, step in enumerate(program.steps) if is_output(step)]
    return parts[0] if len(parts) == 1 else np.concatenate([part.reshape(len(part), -1) for part in parts], 1)


def values(program: Program, weights: Mapping[int, Weights], x: ArrayLike) -> list[Floats]:
    """The input and the value of every step, after its relu."""
    given = np.asarray(x, np.float64)
    program.check_rows(given.shape)
    found = [spread(program, given) * program.input_scale]
    for number, step in enumerate(program.steps):
        found.append(value(step, [found[source] for source in step.sources], weights.get(own(step, number)), UNITS))
    return found


def own(step: Step, number: int) -> int:
    """The step that has the weights which step ``number`` uses."""
    named = step.weights if isinstance(step, Linear) else None
    return number if named is None else named


def spread(program: Program, x: Floats) -> Floats:
    """Tokens as the workers get them: a 1 among zeros."""
    rows, start = [[] for _ in x], 0
    for part in program.inputs:
        for row, given in zip(rows, x.reshape(len(x), -1), strict=True):
            for number in given[start : start + math.prod(part.shape)]:
                row.extend(np.arange(part.vocabulary) == number if part.vocabulary else [number])
        start += math.prod(part.shape)
    return np.array(rows, np.float64).reshape(len(x), *program.input_shape) if program.inputs else x


UNITS = 2.0**14
"""Whole numbers of a step count units of 2^-f; the programs of the tests have f = 14 where that matters."""


def value(step: Step, read: Sequence[Floats], weights: Weights | None, units: float) -> Floats:
    """What one step gives."""
    if isinstance(step, Linear):
        assert weights is not None
        kernel = weights.kernel
        product = read[0] @ kernel if step.geometry is None else convolve(read[0], kernel, step.geometry)
        added = sum(factor * other for (_, factor), other in zip(step.plus, read[1:], strict=True))
        found = product + weights.bias + added
    elif isinstance(step, Combine):
        total = sum(factor * other for factor, other in zip(step.factors, read, strict=True))
        found = (total + step.constant / units) / 2.0**step.scale_bits
    elif isinstance(step, Product):
        found = (np.matmul(*read) if step.matrices else read[0] * read[1]) / 2.0**step.scale_bits
    elif isinstance(step, Signs):
        found = signs(step, read[0], units)
    elif isinstance(step, Ranks):
        wins = read[0][..., :, None] > read[0][..., None, :]
        ties = np.triu(read[0][..., :, None] == read[0][..., None, :], 1)
        found = (wins | ties).sum(-1).astype(np.float64)
    else:
        return arranged(step, read)
    return np.maximum(found, 0.0) if follows(step) == "relu" else found


def signs(step: Signs, x: Floats, units: float) -> Floats:
    """A function that is linear between knots."""
    total = step.slope * x + step.constant / units
    for knot, factor in zip(step.knots, step.factors, strict=True):
        distance = x - knot / units
        total = total + factor * ((distance >= 0) / units if step.bits else np.maximum(distance, 0.0))
    return np.asarray(total / 2.0**step.scale_bits)


def arranged(step: Step, read: Sequence[Floats]) -> Floats:
    """Numbers in other places."""
    first = read[0]
    if isinstance(step, Slice):
        return np.stack([row[step.start :][: math.prod(step.output_shape)].reshape(step.output_shape) for row in first])
    if isinstance(step, Transpose):
        return np.stack([row.transpose(step.axes) for row in first])
    if isinstance(step, Take):
        padded = np.concatenate([first, np.zeros_like(first.take([0], step.axis + 1))], step.axis + 1)
        return padded.take(step.indices, step.axis + 1)
    if isinstance(step, Concatenate):
        return np.concatenate(read, step.axis + 1)
    if isinstance(step, Weigh):
        return np.asarray((first @ np.array(step.factors, np.float64))[..., None])
    return first.reshape(-1, *step.output_shape)


def convolve(images: Floats, kernel: Floats, geometry: Geometry) -> Floats:
    """A convolution, one output position after the other."""
    if images.ndim > 4:
        return np.stack([convolve(one, kernel, geometry) for one in images])
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
