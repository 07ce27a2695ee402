"""Functions of one variable that are linear between knots, as Signs steps in fixed point."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

from syfr.importing.curves import SCALE_BITS, curve
from syfr.importing.elements import Bend, Curved, Jump, Relu
from syfr.ring.fixedpoint import Precision
from syfr.steps import Shape, Signs


def signs(operation: Relu | Bend | Jump | Curved, source: int, shape: Shape, precision: Precision) -> Signs:
    """The step that computes a function of every element of a value."""
    if isinstance(operation, Relu):
        return Signs(operation.layer, source, shape, (0,), (1,))
    if isinstance(operation, Jump):
        unit = 2.0**precision.fraction_bits
        above, height = math.floor(operation.threshold * unit) + 1, round(operation.height * unit)
        return Signs(operation.layer, source, shape, (above,), (height,), bits=True)
    if isinstance(operation, Curved):
        bits, parameters = precision.fraction_bits, dict(operation.parameters)
        found = curve(operation.name, fraction_bits=bits, promised=operation.error, **parameters)
        numbers = found.knots, found.factors, found.slope, found.constant, found.scale_bits
        return Signs(operation.layer, source, shape, *numbers)
    bits = 0 if operation.whole else SCALE_BITS
    slopes = list(accumulate(operation.factors, initial=operation.slope))
    return _step(operation.layer, source, shape, operation.knots, slopes, operation.constant, bits, precision)


def _step(
    layer: str,
    source: int,
    shape: Shape,
    knots: tuple[float, ...],
    slopes: list[float],
    constant: float,
    bits: int,
    precision: Precision,
) -> Signs:
    """From the slopes before the first knot, between all of them and behind the last: these are what is rounded."""
    unit = 2.0**precision.fraction_bits
    rounded = [round(slope * 2.0**bits) for slope in slopes]
    factors = tuple(after - before for before, after in pairwise(rounded))
    places = tuple(round(knot * unit) for knot in knots)
    return Signs(layer, source, shape, places, factors, rounded[0], round(constant * unit * 2.0**bits), bits)
