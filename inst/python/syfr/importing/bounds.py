"""The range check: how large any value inside the network can become, from the weights, before sharing.

Interval arithmetic: from the smallest and largest value of every element of a step's input follow those of
its output, with the weights rounded as fixed point will hold them. What it proves holds for every input in
the declared range; the true extremes may be smaller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from syfr.errors import RangeCheckError
from syfr.importing.operations import Floats, Weights
from syfr.program import Program
from syfr.ring.fixedpoint import Precision
from syfr.steps import Geometry, Linear

MARGIN = 1e-9
"""Relative room for the rounding of float64 in the check itself."""

Interval = tuple[Floats, Floats]


@dataclass(frozen=True)
class Bound:
    """What a Linear step can give before it is truncated.

    Attributes:
        step: its number in the Program.
        layer: the Keras layers it came from.
        low, high: no element of the step is smaller or larger for any allowed input.
        largest: the magnitude must stay below this.
    """

    step: int
    layer: str
    low: float
    high: float
    largest: float

    @property
    def magnitude(self) -> float:
        """The larger of the two in absolute value."""
        return max(abs(self.low), abs(self.high))

    @property
    def fits(self) -> bool:
        """Whether the number format holds every value of the step."""
        return self.magnitude * (1 + MARGIN) < self.largest


def check_ranges(program: Program, weights: Mapping[int, Weights]) -> list[Bound]:
    """The bound of every Linear step, in order; raises RangeCheckError at the first that does not fit."""
    precision = program.precision
    bounds: list[Bound] = []
    values: list[Interval] = [_input(program)]
    for number, step in enumerate(program.steps):
        low, high = values[step.sources[0]]
        if isinstance(step, Linear):
            low, high = _linear(step, weights[number], precision, low, high)
            largest = limit(precision, step.then)
            bound = Bound(number, step.layer, float(low.min()), float(high.max()), largest)
            if not bound.fits:
                raise RangeCheckError(_message(bound, program))
            bounds.append(bound)
            values.append(_truncated(precision, step.then, low, high))
        else:
            values.append((low.reshape(step.output_shape), high.reshape(step.output_shape)))
    return bounds


def limit(precision: Precision, then: str) -> float:
    """The magnitude a value must stay below for what follows it; truncation alone needs one bit more."""
    if then == "truncate":
        unit = 2.0**precision.fraction_bits
        return (2.0 ** (precision.value_bits - 2) - unit) / unit**2
    return precision.largest


def _input(program: Program) -> Interval:
    precision = program.precision
    low, high = (
        precision.decode(precision.encode(np.full(program.input_shape, end * program.input_scale)))
        for end in program.legal_range
    )
    return low, high


def _linear(step: Linear, weights: Weights, precision: Precision, low: Floats, high: Floats) -> Interval:
    kernel = _rounded(weights.kernel, precision.fraction_bits)
    bias = _rounded(weights.bias, 2 * precision.fraction_bits)
    middle = _apply((high + low) / 2, kernel, step.geometry) + bias
    reach = _apply((high - low) / 2, np.abs(kernel), step.geometry)
    return middle - reach, middle + reach


def _rounded(values: Floats, bits: int) -> Floats:
    rounded: Floats = np.rint(values * 2.0**bits) / 2.0**bits
    return rounded


def _truncated(precision: Precision, then: str, low: Floats, high: Floats) -> Interval:
    """Truncation gives the multiple of 2^-f just below or just above."""
    scale = 2.0**precision.fraction_bits
    low, high = np.floor(low * scale) / scale, np.ceil(high * scale) / scale
    return (np.maximum(low, 0.0), np.maximum(high, 0.0)) if then == "relu" else (low, high)


def _apply(row: Floats, kernel: Floats, geometry: Geometry | None) -> Floats:
    """One row times a kernel, in float64."""
    if geometry is None:
        product: Floats = row @ kernel
        return product
    taps, channels, groups = kernel.shape[:2], kernel.shape[3], geometry.groups
    height, width = geometry.output_size((row.shape[0], row.shape[1]), (taps[0], taps[1]))
    image = np.pad(row, (*geometry.padding, (0, 0)))
    down, right = geometry.strides
    total = np.zeros((groups, height * width, channels // groups))
    for y in range(taps[0]):
        for x in range(taps[1]):
            top, left = y * geometry.dilation[0], x * geometry.dilation[1]
            bottom, end = top + (height - 1) * down + 1, left + (width - 1) * right + 1
            part = image[top:bottom:down, left:end:right]
            seen = part.reshape(height * width, groups, -1).transpose(1, 0, 2)
            tap = kernel[y, x].reshape(-1, groups, channels // groups).transpose(1, 0, 2)
            total += seen * tap if seen.shape[2] == 1 else seen @ tap
    return total.transpose(1, 0, 2).reshape(height, width, channels)


def _message(bound: Bound, program: Program) -> str:
    low, high = program.legal_range
    message = (
        f"Layer '{bound.layer}' can reach {bound.magnitude:.6g} for inputs from {low:g} to {high:g}; "
        f"with {program.precision.fraction_bits} fraction bits, magnitudes below {bound.largest:.6g} fit. "
        "Declare a tighter input_range, train with smaller weights, or choose a smaller precision"
    )
    roomier = _roomier(program.precision, bound)
    return f"{message}." if roomier is None else f"{message}: {roomier} fraction bits give this layer room."


def _roomier(precision: Precision, bound: Bound) -> int | None:
    """The most fraction bits, with as many bits left after truncation, with which this layer fits."""
    if not math.isfinite(bound.magnitude):
        return None
    excess = math.ceil(math.log2(bound.magnitude * (1 + MARGIN) / bound.largest) + MARGIN)
    bits = precision.fraction_bits - max(1, excess)
    return bits if bits >= 1 else None
