"""The range check: how large any value inside the network can become, from the weights, before sharing.

Interval arithmetic: from the smallest and largest value of every element that a step reads follow those of what it
gives, with the weights rounded as fixed point will hold them. What it proves holds for every input in the declared
range; the true extremes may be smaller. Where that proves too little, calibration.py looks at data instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from syfr.errors import RangeCheckError
from syfr.importing.elements import Known
from syfr.importing.evaluation import apply, lines, moved
from syfr.importing.operations import Floats, Weights
from syfr.importing.tokens import TokenPlaces
from syfr.program import Program
from syfr.ring.fixedpoint import Precision, rounded
from syfr.steps import Combine, Linear, Product, Ranks, Signs, Step, Weigh, follows

MARGIN = 1e-9
"""Relative room for the rounding of float64 in the check itself."""

AVERAGED = 0.02
"""By how much the shares of an average may miss 1 together."""

Interval = tuple[Floats, Floats]
"""The smallest and the largest value of every element, for one row, batch axis kept."""


@dataclass(frozen=True)
class Bound:
    """What a step can give before it is truncated, or how far what it compares can be from its knots.

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


def check_ranges(
    program: Program, weights: Mapping[int, Weights], known: Mapping[int, Known] | None = None
) -> list[Bound]:
    """The bounds of every step that has any, in order; raises RangeCheckError at the first that does not fit.

    ``known`` says by step number what intervals cannot tell: that powers over their sum are at most 1.
    """
    bounds: list[Bound] = []
    values: list[Interval] = [_input(program)]
    tokens = TokenPlaces(program)
    for number, step in enumerate(program.steps):
        tokens.follow(number)
        sources = [values[source] for source in step.sources]
        if isinstance(step, Linear) and tokens.spread(step.source):
            interval = _added(step, [_rows(program, number, step, weights), *sources[1:]])
        else:
            extreme = _extreme(program, number, values) or _between(program, number, values)
            interval = extreme or _given(program, number, weights, sources)
        if known and number in known:
            interval = _narrowed(interval, known[number], sources)
        for bound in limits(program, number, sources, interval):
            if not bound.fits:
                raise RangeCheckError(_message(bound, program))
            bounds.append(bound)
        values.append(_rounded_to_unit(program.precision, step, interval))
    return bounds


def limits(program: Program, number: int, sources: Sequence[Interval], given: Interval) -> list[Bound]:
    """What must fit at a step: what it gives before truncation, and what it compares."""
    step, precision = program.steps[number], program.precision
    low, high = float(given[0].min()), float(given[1].max())
    bounds: list[Bound] = []
    if isinstance(step, Signs):
        unit = 2.0**precision.fraction_bits
        ends = float(sources[0][0].min()), float(sources[0][1].max())
        bounds.append(
            Bound(
                number,
                step.layer,
                ends[0] - max(step.knots) / unit,
                ends[1] - min(step.knots) / unit,
                _whole(precision),
            )
        )
        largest = limit(precision, "truncate") if step.scale_bits else _whole(precision)
        bounds.append(Bound(number, step.layer, low, high, largest))
    elif isinstance(step, Ranks):
        spread = float(sources[0][1].max()) - float(sources[0][0].min())
        bounds.append(Bound(number, step.layer, 0.0, spread, _whole(precision)))
    elif isinstance(step, (Linear, Product)) or (isinstance(step, Combine) and step.then != "nothing"):
        bounds.append(Bound(number, step.layer, low, high, limit(precision, step.then)))
    return bounds


def limit(precision: Precision, then: str) -> float:
    """The magnitude a value must stay below for what follows it; truncation alone needs one bit more."""
    if then == "truncate":
        unit = 2.0**precision.fraction_bits
        return (2.0 ** (precision.value_bits - 2) - unit) / unit**2
    return precision.largest


def _whole(precision: Precision) -> float:
    """The magnitude that a value with f fraction bits must stay below where it is compared."""
    return float(2.0 ** (precision.truncated_bits - 1 - precision.fraction_bits))


def _input(program: Program) -> Interval:
    precision = program.precision
    low, high = (
        precision.decode(precision.encode(np.full((1, *program.input_shape), end * program.input_scale)))
        for end in program.legal_range
    )
    return low, high


def _given(
    program: Program, number: int, weights: Mapping[int, Weights], sources: Sequence[Interval]
) -> Interval:
    """What a step can give, before a relu."""
    step, precision = program.steps[number], program.precision
    unit = 2.0**precision.fraction_bits
    low, high = sources[0]
    if isinstance(step, Linear):
        return _added(step, [_linear(program, number, step, weights, low, high), *sources[1:]])
    if isinstance(step, Combine):
        total = _weighted(step.factors, sources)
        scale = 2.0**step.scale_bits
        return (total[0] + step.constant / unit) / scale, (total[1] + step.constant / unit) / scale
    if isinstance(step, Product):
        low, high = _matrices(sources) if step.matrices else _product(sources, step.left == step.right)
        return low / 2.0**step.scale_bits, high / 2.0**step.scale_bits
    if isinstance(step, Signs):
        return _lines(step, unit, low, high)
    if isinstance(step, Ranks):
        return np.zeros_like(low), np.full_like(high, low.shape[-1] - 1.0)
    if isinstance(step, Weigh):
        factors = np.array(step.factors)
        smallest, largest = np.where(factors < 0, high, low), np.where(factors < 0, low, high)
        return moved(step, [smallest]), moved(step, [largest])
    return moved(step, [each for each, _ in sources]), moved(step, [each for _, each in sources])


def _extreme(program: Program, number: int, values: Sequence[Interval]) -> Interval | None:
    """Of a step that makes b + relu(a - b) = max(a, b), or b - relu(b - a) = min(a, b): bounded as a and b are."""
    step = program.steps[number]
    if not isinstance(step, Combine) or len(step.sources) != 2 or step.constant or step.scale_bits:
        return None
    for excess, sign, other, one in ((*pair, *rest) for pair, rest in permutations(_terms(step))):
        relu = program.steps[excess - 1] if excess else None
        if one != 1 or not isinstance(relu, Signs) or not relu.source:
            continue
        if relu != Signs(relu.layer, relu.source, relu.output_shape, (0,), (1,)):
            continue
        difference = program.steps[relu.source - 1]
        if not isinstance(difference, Combine) or difference.constant or difference.scale_bits:
            continue
        terms = dict(_terms(difference))
        if sorted(terms.values()) == [-1, 1] and terms.get(other) == -sign:
            (low, high), (least, most) = (values[source] for source in terms)
            pick = np.maximum if sign == 1 else np.minimum
            return pick(low, least), pick(high, most)
    return None


def _between(program: Program, number: int, values: Sequence[Interval]) -> Interval | None:
    """Of a step that makes b + z·(a - b), z from 0 to 1: bounded as a and b are, but for rounding and a larger z."""
    step = program.steps[number]
    if not isinstance(step, Combine) or step.factors != (1, 1) or step.constant or step.scale_bits:
        return None
    for moved_by, other in (step.sources, step.sources[::-1]):
        product = program.steps[moved_by - 1] if moved_by else None
        if not isinstance(product, Product) or product.matrices or product.then != "truncate":
            continue
        for gate, way in (product.sources, product.sources[::-1]):
            difference = program.steps[way - 1] if way else None
            if not isinstance(difference, Combine) or difference.constant or difference.scale_bits:
                continue
            ends = {factor: source for source, factor in _terms(difference)}
            if ends.keys() != {-1, 1} or len(difference.sources) != 2 or ends[-1] != other:
                continue
            (low, high), (least, most) = values[ends[1]], values[other]
            beyond = max(0.0, -float(values[gate][0].min()), float(values[gate][1].max()) - 1.0)
            length = max(float(np.abs(bound).max()) for bound in values[way])
            slack = beyond * length + 2.0**-program.precision.fraction_bits
            return np.minimum(low, least) - slack, np.maximum(high, most) + slack
    return None


def _terms(step: Combine) -> list[tuple[int, int]]:
    return list(zip(step.sources, step.factors, strict=True))


def _lines(step: Signs, unit: float, low: Floats, high: Floats) -> Interval:
    """The extremes are at the ends, or at a knot between them; of a jump, beside it."""
    ends = lines(step, unit, low), lines(step, unit, high)
    smallest, largest = np.minimum(*ends), np.maximum(*ends)
    for knot in (place - beside for place in step.knots for beside in ((0, 1) if step.bits else (0,))):
        there = float(lines(step, unit, np.full(1, knot / unit))[0])
        inside = (low <= knot / unit) & (knot / unit <= high)
        smallest = np.where(inside, np.minimum(smallest, there), smallest)
        largest = np.where(inside, np.maximum(largest, there), largest)
    return smallest, largest


def _weighted(factors: Sequence[int], sources: Sequence[Interval]) -> tuple[Floats, Floats]:
    low = high = np.zeros(1)
    for factor, (smallest, largest) in zip(factors, sources, strict=True):
        ends = factor * smallest, factor * largest
        low, high = low + (ends[0] if factor > 0 else ends[1]), high + (ends[1] if factor > 0 else ends[0])
    return low, high


def _product(sources: Sequence[Interval], square: bool) -> Interval:
    left, right = sources
    corners = [one * other for one in left for other in right]
    low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    return (np.maximum(low, 0.0), high) if square else (low, high)


def _narrowed(interval: Interval, known: Known, sources: Sequence[Interval]) -> Interval:
    """What intervals tell, and what is known besides."""
    low, high = interval
    if known.average:
        (least, most) = (each for each in sources[1])
        room = 1.0 + np.sign(least) * -AVERAGED, 1.0 + np.sign(most) * AVERAGED
        low = np.maximum(low, (least * room[0]).min(axis=-2, keepdims=True))
        high = np.minimum(high, (most * room[1]).max(axis=-2, keepdims=True))
    return np.clip(low, known.low, known.high), np.clip(high, known.low, known.high)


def _matrices(sources: Sequence[Interval]) -> Interval:
    left, right = (np.maximum(np.abs(low), np.abs(high)) for low, high in sources)
    most = left @ right
    return -most, most


def _added(step: Linear, given: Sequence[Interval]) -> Interval:
    """The product of a linear step, with the values that it adds."""
    (low, high), *others = given
    added = _weighted([factor for _, factor in step.plus], others)
    return low + added[0], high + added[1]


def _held(program: Program, number: int, weights: Mapping[int, Weights]) -> tuple[Floats, Floats]:
    """Kernel and bias that a linear step uses, as fixed point holds them."""
    own = program.weights_of(number)
    step = program.steps[own]
    if own not in weights or not isinstance(step, Linear):
        raise ValueError(f"layer '{step.layer}' has no weights")
    kernel = program.round_kernel(step, weights[own].kernel)
    return kernel, rounded(weights[own].bias, 2 * program.precision.fraction_bits)


def _rows(program: Program, number: int, step: Linear, weights: Mapping[int, Weights]) -> Interval:
    """What a linear step makes of tokens: each picks a row of the kernel."""
    kernel, bias = _held(program, number, weights)
    kernel = kernel * program.input_scale
    low, high = (np.broadcast_to(ends + bias, (1, *step.output_shape)) for ends in (kernel.min(0), kernel.max(0)))
    return low, high


def _linear(
    program: Program, number: int, step: Linear, weights: Mapping[int, Weights], low: Floats, high: Floats
) -> Interval:
    kernel, bias = _held(program, number, weights)
    middle = apply((high + low) / 2, kernel, step.geometry) + bias
    reach = apply((high - low) / 2, np.abs(kernel), step.geometry)
    return middle - reach, middle + reach


def _rounded_to_unit(precision: Precision, step: Step, interval: Interval) -> Interval:
    """Truncation gives the multiple of 2^-f just below or just above."""
    low, high = interval
    if isinstance(step, (Linear, Combine, Product, Signs)):
        scale = 2.0**precision.fraction_bits
        low, high = np.floor(low * scale) / scale, np.ceil(high * scale) / scale
    return (np.maximum(low, 0.0), np.maximum(high, 0.0)) if follows(step) == "relu" else (low, high)


def _message(bound: Bound, program: Program) -> str:
    low, high = program.legal_range
    message = (
        f"Layer '{bound.layer}' can reach {bound.magnitude:.6g} for inputs from {low:g} to {high:g}; "
        f"with {program.precision.fraction_bits} fraction bits, magnitudes below {bound.largest:.6g} fit. "
        "Declare a tighter input_range, give data like the inputs to come as calibrate (its bounds are not proven), or "
        "choose a smaller precision"
    )
    roomier = roomier_bits(program.precision, bound)
    return f"{message}." if roomier is None else f"{message}: {roomier} fraction bits give this layer room."


def roomier_bits(precision: Precision, bound: Bound) -> int | None:
    """The most fraction bits, with as many bits left after truncation, with which this layer fits."""
    if not math.isfinite(bound.magnitude):
        return None
    excess = math.ceil(math.log2(bound.magnitude * (1 + MARGIN) / bound.largest) + MARGIN)
    bits = precision.fraction_bits - max(1, excess)
    return bits if bits >= 1 else None
