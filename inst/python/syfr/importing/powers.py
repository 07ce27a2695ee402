"""e^x, 1/x and 1/sqrt(x) inside a network, from a compare or a few, and products of secret values.

Values are held up to sixteen times larger than they are, and a product takes so many bits more off (steps.Product): in
between there are then so many bits more behind the point. What is approximated, where, and how well:

- e^x for x from -14 to 0 is five squares with numbers added in between, and constant below. The numbers were fitted
  so that the error stays below e^x + 1/1024, over 10,000. That a power is squares of the power of a small part of x is
  old; what is added between the squares saves the polynomial that usually comes before them.
- 1/x and 1/sqrt(x) begin as few straight lines, whose knots lie at even ratios: within 1 part in 100 everywhere. One
  step of Newton's method brings that to 1 or 2 parts in 10,000.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from syfr.importing.curves import SCALE_BITS
from syfr.importing.elements import Bend, Known, Sum, Times
from syfr.importing.graph import Graph
from syfr.importing.operations import Floats
from syfr.ring.fixedpoint import Precision

SPARE_BITS = 4
"""Values are held up to 2^4 times larger than they are, where the number format has room for it."""

LOWEST = -14.0
"""Below it e^x counts as e^-14, which is less than a hundredth of the last bit of a number."""

_STRETCH, _SHIFTS, _HEIGHT = (
    0.0637866844,
    (1.01825074, 0.371274957, 1.88534059, -3.62421875, -0.145473001),
    6.06446994e-05,
)
"""e^x is nearly _HEIGHT·((...((_STRETCH·x + s1)^2 + s2)^2 ...)^2 + s5)^2."""

FIRST_ERROR = 0.01
"""Relative, of the straight lines that Newton's method begins with."""

LOWEST_UNITS = 16
"""1/sqrt(x) is made for numbers of at least so many units of the last bit: a smaller one is hardly known itself."""


def spare(precision: Precision) -> int:
    """By how many bits values are held larger."""
    return min(SPARE_BITS, precision.spare_bits)


def exponential(graph: Graph, layer: str, value: int, precision: Precision) -> int:
    """e^x of every element, none of which is above 0."""
    bits = spare(precision)
    # How much larger each number is held than the formula says: a square of one that is a times larger, over 2^bits.
    grown = [_HEIGHT]
    for _ in _SHIFTS:
        grown.insert(0, math.sqrt(grown[0] * 2.0**bits))
    slope, start = grown[0] * _STRETCH, grown[0] * (_STRETCH * LOWEST + _SHIFTS[0])
    found = graph.add(Bend(layer, (LOWEST,), (slope,), 0.0, start), value)
    most = grown[0] * _SHIFTS[0]
    for place in range(len(_SHIFTS)):
        shift = grown[place] * _SHIFTS[place] if place else 0.0
        if shift:
            found = graph.add(Sum(layer, (1.0,), shift), found)
        # No x is above 0, which intervals cannot know: it is the difference of a number and the largest of all.
        known = Known(0.0, 1.02 * most**2 / 2.0**bits) if place == 0 else None
        found = graph.add(Times(layer, scale_bits=bits, known=known), found, found)
    return found


def inverse(graph: Graph, layer: str, value: int, highest: float, precision: Precision) -> int:
    """2^spare / x of every element, for x from 1 to ``highest``."""
    bits = spare(precision)
    scale = 2.0**bits
    found = graph.add(falling_lines(layer, 1.0, scale, 1.0, 1.02 * highest, precision), value)
    nearly = graph.add(Times(layer, known=Known(0.9 * scale, 1.1 * scale)), value, found)
    rest = graph.add(Sum(layer, (-1.0,), 2.0 * scale), nearly)
    return graph.add(Times(layer, scale_bits=bits, known=Known(0.0, 1.02 * scale)), found, rest)


def inverse_root(graph: Graph, layer: str, value: int, grown: int, precision: Precision) -> int:
    """2^grown / sqrt(x) of every element, for positive x below all that a value can be; ``grown`` is 2 to 5."""
    bits, unit = spare(precision), 2.0**-precision.fraction_bits
    # The last knot is nearer than any two numbers may be that are compared.
    low, high = LOWEST_UNITS * unit, 0.99 * 2.0 ** (precision.truncated_bits - 1) * unit
    start, most = 2.0**grown / math.sqrt(low), 2.0**grown * math.sqrt(high)
    found = graph.add(falling_lines(layer, 0.5, 2.0**grown, low, high, precision), value)
    # r' = r·(3 - x·r²)/2, with x·r² held 2^(2·grown - taken) times larger.
    taken = max(0, 2 * grown - (bits - 1))
    second = min(bits, taken)
    first = taken - second
    one = 2.0 ** (2 * grown - taken)
    root = graph.add(Times(layer, scale_bits=first, known=Known(0.0, 1.05 * most / 2.0**first)), value, found)
    square = graph.add(Times(layer, scale_bits=second, known=Known(0.0, 1.1 * one)), root, found)
    rest = graph.add(Sum(layer, (-1.0,), 3.0 * one), square)
    return graph.add(Times(layer, scale_bits=2 * grown - taken + 1, known=Known(0.0, 1.55 * start)), found, rest)


def falling_lines(layer: str, power: float, scale: float, low: float, high: float, precision: Precision) -> Bend:
    """scale / x^power from ``low`` to ``high`` as straight lines, constant on both sides."""
    knots, factors, start = _falling(power, scale, low, high, precision.fraction_bits)
    return Bend(layer, knots, factors, 0.0, start)


@lru_cache(maxsize=256)
def _falling(
    power: float, scale: float, low: float, high: float, fraction_bits: int
) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Knots, the change of the slope at each, and the value before the first."""
    unit = 2.0**-fraction_bits
    count = math.ceil(math.sqrt(power * (power + 1)) * math.log(high / low) / 4.0 / math.sqrt(FIRST_ERROR))
    places = np.unique(np.rint(np.geomspace(low, high, max(count, 2) + 1) / unit))

    def value(x: Floats) -> Floats:
        return np.asarray(scale / x**power)

    # Between two points a line runs above the function; half of that is taken off.
    middles = np.sqrt(places[1:] * places[:-1])
    above = np.interp(middles, places, value(places * unit)) / value(middles * unit) - 1.0
    return _walk(places, value(places * unit) / (1.0 + float(above.max()) / 2), unit)


def _walk(places: Floats, heights: Floats, unit: float) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Lines through points, with slopes that are whole numbers of 2^-SCALE_BITS, each aimed from where one is."""
    fine = unit * 2.0**-SCALE_BITS
    height = start = round(float(heights[0]) / fine)
    slopes = [0]
    for place, following, target in zip(places, places[1:], heights[1:], strict=False):
        run = int(following - place)
        slopes.append(round((float(target) / fine - height) / run))
        height += slopes[-1] * run
    slopes.append(0)
    changes = np.diff(np.array(slopes)) / 2.0**SCALE_BITS
    return tuple(float(place) * unit for place in places), tuple(map(float, changes)), start * fine
