"""What a Program computes, in float64 and in the clear: for calibration by the owner, who has weights and data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

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
    Reshape,
    Signs,
    Slice,
    Step,
    Take,
    Transpose,
    Weigh,
    follows,
)


def evaluate(program: Program, weights: Mapping[int, Weights], x: ArrayLike) -> Floats:
    """The answer of a Program to a batch, before the client does anything with it; several outputs flat."""
    found = [value for step, _, value in walk(program, weights, x) if follows(step) == "output"]
    if len(found) == 1:
        return found[0]
    return np.concatenate([value.reshape(len(value), -1) for value in found], axis=1)


def walk(program: Program, weights: Mapping[int, Weights], x: ArrayLike) -> Iterator[tuple[Step, list[Floats], Floats]]:
    """Every step with its sources and what it gives, before the relu that may follow and after."""
    last = _last_readers(program)
    values: dict[int, Floats] = {0: program.spread(np.asarray(x, np.float64)) * program.input_scale}
    for number, step in enumerate(program.steps):
        sources = [values[source] for source in step.sources]
        value = before(program, step, weights.get(program.weights_of(number)), sources)
        yield step, sources, value
        values[number + 1] = np.maximum(value, 0.0) if follows(step) == "relu" else value
        for source in set(step.sources):
            if last[source] == number:
                del values[source]


def _last_readers(program: Program) -> dict[int, int]:
    return {source: number for number, step in enumerate(program.steps) for source in step.sources}


def before(program: Program, step: Step, weights: Weights | None, sources: list[Floats]) -> Floats:
    """The result of a step for rows of its sources, before a relu that follows it."""
    unit = 2.0**program.precision.fraction_bits
    first = sources[0]
    if isinstance(step, Linear):
        if weights is None:
            raise ValueError(f"layer '{step.layer}' has no weights")
        linear = apply(first, weights.kernel, step.geometry) + weights.bias
        return sum((factor * value for (_, factor), value in zip(step.plus, sources[1:], strict=True)), linear)
    if isinstance(step, Combine):
        total = sum(factor * value for factor, value in zip(step.factors, sources, strict=True))
        return np.asarray((total + step.constant / unit) / 2.0**step.scale_bits)
    if isinstance(step, Product):
        return np.asarray(first @ sources[1] if step.matrices else first * sources[1]) / 2.0**step.scale_bits
    if isinstance(step, Signs):
        return lines(step, unit, first)
    return moved(step, sources)


def lines(step: Signs, unit: float, x: Floats) -> Floats:
    """A function that is linear between knots."""
    total = step.slope * x + step.constant / unit
    for knot, factor in zip(step.knots, step.factors, strict=True):
        # A value that is no multiple of the unit counts as the next one below.
        above = (np.floor(x * unit) >= knot) / unit if step.bits else np.maximum(x - knot / unit, 0.0)
        total = total + factor * above
    return np.asarray(total / 2.0**step.scale_bits)


def moved(step: Step, sources: list[Floats]) -> Floats:
    """What a step gives that moves elements, counts or adds them."""
    first = sources[0]
    rows = len(first)
    if isinstance(step, Reshape):
        return first.reshape(rows, *step.output_shape)
    if isinstance(step, Slice):
        end = step.start + math.prod(step.output_shape)
        return first[:, step.start : end].reshape(rows, *step.output_shape)
    if isinstance(step, Transpose):
        return first.transpose(0, *(axis + 1 for axis in step.axes))
    if isinstance(step, Take):
        indices = np.array(step.indices)
        taken = first.take(indices, axis=step.axis + 1)
        np.moveaxis(taken, step.axis + 1, 0)[indices < 0] = 0.0
        return taken
    if isinstance(step, Concatenate):
        return np.concatenate(sources, axis=step.axis + 1)
    if isinstance(step, Weigh):
        return np.asarray((first * np.array(step.factors)).sum(axis=-1, keepdims=True))
    if isinstance(step, Ranks):
        order = np.argsort(-first, axis=1, kind="stable")
        ranks = np.empty_like(first)
        np.put_along_axis(ranks, order, np.arange(first.shape[1])[::-1] + np.zeros_like(first), axis=1)
        return ranks
    raise TypeError(f"{type(step).__name__} is no step that is known here")


def apply(rows: Floats, kernel: Floats, geometry: Geometry | None) -> Floats:
    """Rows times a kernel, as a matrix product or a convolution, in float64."""
    if geometry is None:
        return np.asarray(rows @ kernel)
    taps, channels, groups = kernel.shape[:2], kernel.shape[3], geometry.groups
    count = len(rows)
    height, width = geometry.output_size((rows.shape[1], rows.shape[2]), (taps[0], taps[1]))
    images = np.pad(rows, ((0, 0), *geometry.padding, (0, 0)))
    down, right = geometry.strides
    total = np.zeros((groups, count * height * width, channels // groups))
    for y in range(taps[0]):
        for x in range(taps[1]):
            top, left = y * geometry.dilation[0], x * geometry.dilation[1]
            bottom, end = top + (height - 1) * down + 1, left + (width - 1) * right + 1
            part = images[:, top:bottom:down, left:end:right]
            seen = part.reshape(count * height * width, groups, -1).transpose(1, 0, 2)
            tap = kernel[y, x].reshape(-1, groups, channels // groups).transpose(1, 0, 2)
            total += seen * tap if seen.shape[2] == 1 else seen @ tap
    return total.transpose(1, 0, 2).reshape(count, height, width, channels)
