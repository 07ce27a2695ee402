"""Activation functions as the piecewise linear functions that the workers compute on shares (steps.Signs).

Every knot is one secure compare, so a curve has as few knots as keep it close to the function (polyline.py).
Slopes are whole numbers of units, so an error in the last slope would grow with x: outside its knots a curve is
exactly the line that the function tends to. A sigmoid of a large number is 1, a softplus of it is the number itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from syfr.errors import ValueRangeError
from syfr.importing.polyline import Floats, Line, Points, Tube, corners
from syfr.steps import MAX_KNOTS

PROMISED = 0.005
"""Errors are smaller, with the number format's usual 14 fraction bits."""

FINE = 0.00125
"""What is promised of curves whose errors build up over time."""

ROOM = 0.94
"""How far a curve may go from its function before its numbers are rounded, in the first attempt: so much of that."""

LARGEST = 8_192.0
"""Values that workers compute on are smaller in magnitude."""

SCALE_BITS = 18
"""Fraction bits of a public factor that is not whole, such as a slope: as many as the ring has room for."""

_INNER = 1 << 4
"""Slopes between knots are multiples of this many units: with rounder numbers the last line is easier to meet."""

_SHIFTS = 400
_NUDGES = 40
"""Units by which two knots may move, and a third, for the last line to be exact."""


@dataclass(frozen=True)
class Curve:
    """The numbers of a steps.Signs, and how close it comes.

    Attributes:
        knots, factors, slope, constant, scale_bits: as in steps.Signs.
        error: at no x does the result, rounded as the workers do, differ from the function by more than this ...
        drift: ... plus this times |x|: 0 unless an outer slope of the function is no multiple of 2^-SCALE_BITS.
        domain: x for which the function is meant; outside, the curve goes on as its last line.
    """

    knots: tuple[int, ...]
    factors: tuple[int, ...]
    slope: int
    constant: int
    scale_bits: int
    error: float
    drift: float = 0.0
    domain: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class _Function:
    """A function with the two lines it tends to.

    ``corners`` are those of a function that is a polyline itself. ``reach``: beyond ±reach it has all but become its
    lines. An ``odd`` one is odd about (0, value(0)), and its approximation too.
    """

    value: Callable[[Floats], Floats]
    left: Line
    right: Line
    reach: float = 40.0
    odd: bool = False
    corners: tuple[tuple[float, float], ...] = ()
    bends: tuple[float, ...] = ()
    domain: tuple[float, float] = field(default=(-math.inf, math.inf))


@lru_cache(maxsize=256)
def curve(name: str, *, fraction_bits: int = 14, promised: float = PROMISED, **parameters: float) -> Curve:
    """The curve of an activation function, by its Keras name.

    Args:
        fraction_bits: f of the number format.
        promised: errors are to be smaller, or below twice that, and so on, where a step takes no such many knots.
        parameters: of relu: max_value, negative_slope; leaky_relu: negative_slope; elu, celu: alpha; softplus: beta;
            gelu: approximate; exponential: high, the largest x that it is meant for.

    Raises ValueRangeError for a function or parameter that is not known here, or that would need too many knots.
    """
    try:
        function = _FUNCTIONS[name](**parameters)
    except (KeyError, TypeError) as error:
        known = ", ".join(sorted(_FUNCTIONS))
        problem = f"There is no approximation of '{name}' with {parameters}" if parameters else f"'{name}' is not known"
        raise ValueRangeError(f"{problem}; known functions are {known}.") from error
    try:
        return _close(function, fraction_bits, promised)
    except ValueRangeError:
        if promised >= PROMISED:
            raise
    return curve(name, fraction_bits=fraction_bits, promised=2 * promised, **parameters)


def evaluate(found: Curve, x: Floats, fraction_bits: int = 14) -> Floats:
    """What a curve gives for multiples of 2^-f, before its result is rounded to one."""
    units = np.rint(x * 2.0**fraction_bits).astype(np.int64)
    total = found.slope * units + found.constant
    for knot, factor in zip(found.knots, found.factors, strict=True):
        total += factor * np.maximum(units - knot, 0)
    result: Floats = total / 2.0 ** (fraction_bits + found.scale_bits)
    return result


# ---- from real corners to whole numbers ----


def _close(function: _Function, f: int, promised: float) -> Curve:
    """A curve that keeps what is promised, if the number format has the digits for it, or else comes near."""
    found, tolerance = None, ROOM * promised
    while found is None:
        found = _in_units(function, f, tolerance)
        tolerance *= 1.25
    tolerance = ROOM * promised
    while found.error >= promised and tolerance > 0.75 * ROOM * promised:
        tolerance *= 0.95
        better = _in_units(function, f, tolerance)
        found = min(found, better or found, key=lambda curve: curve.error)
    return found


def _in_units(function: _Function, f: int, tolerance: float) -> Curve | None:
    """Corners, slopes and lines in whole numbers; the lines meet the last corners exactly. None if none is as close."""
    unit, scale = 1 << f, 1 << SCALE_BITS
    left, right = ((round(line[0] * scale), round(line[1] * unit) * scale) for line in (function.left, function.right))
    if function.corners:
        knots, slopes = _split(function.corners, left, right, unit)
        return _finished(function, f, knots, np.diff(slopes), left[0], left[1])
    start = None if function.odd else function.left
    tube = Tube(function.value, function.reach, function.right, start, 1 / unit, _INNER / scale, function.bends)
    points = corners(tube, tolerance)
    if points is None:
        return None
    if len(points) * (1 + function.odd) > MAX_KNOTS:
        raise ValueRangeError(
            f"The approximation of an activation needs {len(points)} secure compares; {MAX_KNOTS} are the most. "
            "Choose parameters with which it bends less."
        )
    middle = round(float(function.value(np.zeros(1))[0]) * unit) * scale
    first = left
    if function.odd:
        rise = points[0][1] - middle / unit / scale
        first = round(rise / points[0][0] * scale / _INNER) * _INNER, middle
    knots, slopes = _walk(points, first, right, unit)
    factors = np.diff(slopes)
    knots, factors = knots[factors != 0], factors[factors != 0]
    knots = _meet(knots, factors, first[1] - right[1])
    if not function.odd:
        return _finished(function, f, knots, factors, left[0], left[1])
    knots, factors = np.concatenate([-knots[::-1], knots]), np.concatenate([-factors[::-1], factors])
    return _finished(function, f, knots, factors, right[0], 2 * middle - right[1])


def _split(points: Sequence[tuple[float, float]], left: tuple[int, int], right: tuple[int, int], unit: int) -> Any:
    """Knots and slopes through points of a polyline: two slopes next to each other where no whole one would do."""
    places = [(round(x * unit), round(y * unit) << SCALE_BITS) for x, y in points]
    knots, slopes = [places[0][0]], [left[0]]
    for (x, y), (after, height) in pairwise(places):
        slope, rest = divmod(height - y, after - x)
        if rest:
            knots.append(after - rest)
            slopes.append(slope)
        knots.append(after)
        slopes.append(slope + bool(rest))
    return np.array(knots, np.int64), np.array([*slopes, right[0]], np.int64)


def _walk(points: Points, left: tuple[int, int], right: tuple[int, int], unit: int) -> tuple[Any, Any]:
    """Knots, and the slopes before, between and after them, each aimed at the next corner from where one is."""
    knots = np.array([round(x * unit) for x, _ in points], np.int64)
    targets = [round(y * unit * 2**SCALE_BITS) for _, y in points[:-1]] + [right[0] * int(knots[-1]) + right[1]]
    slopes, height = [left[0]], left[0] * int(knots[0]) + left[1]
    for place, (knot, after) in enumerate(pairwise(knots)):
        run = int(after - knot)
        slopes.append(round((targets[place + 1] - height) / run / _INNER) * _INNER)
        height += slopes[-1] * run
    return knots, np.array([*slopes, right[0]], np.int64)


def _meet(knots: Any, factors: Any, wanted: int) -> Any:
    """Knots moved a little so that sum of factor·knot, and so the last line, is what it should be.

    Two knots do it, or three. If none did, the line would be off by some units of 2^-(f + SCALE_BITS).
    """
    missing = wanted - int(np.dot(knots, factors))
    if missing == 0 or len(knots) == 1:
        return knots
    enough = abs(missing) + int(np.abs(factors).mean())
    best = _two_moves(missing, factors)
    for attempt in range(_NUDGES * len(knots)):
        if best[0] == 0 and (best[1] <= enough or attempt >= _NUDGES):
            break
        third, nudge = attempt % len(knots), attempt // len(knots) + 1
        rest, cost, moves = _two_moves(missing - nudge * int(factors[third]), factors)
        best = min(best, (rest, cost, [*moves, (third, nudge)]))
    moved = knots.copy()
    for knot, shift in best[2]:
        moved[knot] += shift
    return moved


def _two_moves(missing: int, factors: Any) -> tuple[int, int, list[tuple[int, int]]]:
    """Shifts of two knots by which sum of factor·knot grows by ``missing``: what is left, the cost, and the moves."""
    shifts = np.arange(-_SHIFTS, _SHIFTS + 1)
    gained = factors[:, None] * shifts
    best: tuple[int, int, list[tuple[int, int]]] = (abs(missing), 0, [])
    for one in range(len(factors)):
        for other in range(one):
            answers = np.rint((missing - gained[one]) / factors[other]).astype(np.int64)
            rest = np.abs(missing - gained[one] - factors[other] * answers)
            cost = np.maximum(np.abs(gained[one]), np.abs(factors[other] * answers))
            at = int(np.lexsort((cost, rest))[0])
            best = min(best, (int(rest[at]), int(cost[at]), [(one, int(shifts[at])), (other, int(answers[at]))]))
    return best


def _finished(function: _Function, f: int, knots: Any, factors: Any, slope: int, constant: int) -> Curve:
    """The curve, without fractions where it has none, and with its error."""
    bits, scale = SCALE_BITS, 1 << SCALE_BITS
    if not np.any(factors % scale) and not slope % scale and not constant % scale:
        bits, factors, slope, constant = 0, factors >> bits, slope >> bits, constant >> bits
    numbers = tuple(map(int, knots)), tuple(map(int, factors)), slope, constant, bits
    drift = max(abs(line[0] - round(line[0] * scale) / scale) for line in (function.left, function.right))
    return Curve(*numbers, _worst(function, Curve(*numbers, 0.0), drift, f), drift, function.domain)


def _worst(function: _Function, found: Curve, drift: float, f: int) -> float:
    """The largest difference, rounded up, with the unit that truncation may add."""
    unit = 2.0**-f
    knots = np.array(found.knots) * unit
    low, high = max(function.domain[0], -LARGEST), min(function.domain[1], LARGEST)
    tail = np.geomspace(unit, LARGEST, 4_000)
    places = [knots[0] - tail, knots[-1] + tail]
    places += [np.linspace(one, other, 400) for one, other in pairwise(knots)]
    x = np.concatenate(places)
    x = np.rint(x[(x >= low) & (x <= high)] / unit) * unit
    worst = float(np.max(np.abs(evaluate(found, x, f) - function.value(x)) - drift * np.abs(x)))
    return math.ceil((max(worst, 0.0) + (unit if found.scale_bits else 0.0)) * 1e5) / 1e5


# ---- the functions ----


def _sigmoid(x: Floats) -> Floats:
    result: Floats = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result


def _softplus(x: Floats) -> Floats:
    return np.logaddexp(0.0, x)


def _erf(x: Floats) -> Floats:
    return np.array([math.erf(value) for value in x])


def _positive(parameter: float) -> float:
    if not 0 < parameter < LARGEST:
        raise ValueRangeError(f"An activation has the parameter {parameter:g}; give one from 0 to {LARGEST:g}.")
    return float(parameter)


def _below_zero(value: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    """x above 0, something else below."""
    return lambda x: np.where(x > 0, x, value(np.minimum(x, 0.0)))


def _relu(max_value: float | None = None, negative_slope: float = 0.0) -> _Function:
    slope, top = float(negative_slope), math.inf if max_value is None else _positive(max_value)
    ends = () if max_value is None else ((top, top),)
    return _Function(
        lambda x: np.where(x < 0, slope * x, np.minimum(x, top)),
        (slope, 0.0),
        (0.0, top) if ends else (1.0, 0.0),
        corners=((0.0, 0.0), *ends),
    )


def _clipped(low: float, high: float, slope: float) -> _Function:
    """A line through the middle of ``low`` and ``high`` at 0, cut off at both."""
    middle, end = (low + high) / 2, (high - low) / 2 / slope
    return _Function(
        lambda x: np.clip(slope * x + middle, low, high), (0.0, low), (0.0, high), corners=((-end, low), (end, high))
    )


def _elu(alpha: float = 1.0) -> _Function:
    return _Function(_below_zero(lambda x: alpha * np.expm1(x)), (0.0, -alpha), (1.0, 0.0), bends=(0.0,))


def _celu(alpha: float = 1.0) -> _Function:
    alpha = _positive(alpha)
    value = _below_zero(lambda x: alpha * np.expm1(x / alpha))
    return _Function(value, (0.0, -alpha), (1.0, 0.0), reach=40.0 * max(1.0, alpha), bends=(0.0,))


def _selu() -> _Function:
    scale, alpha = 1.05070098735548049342, 1.67326324235437728482
    value = _below_zero(lambda x: alpha * np.expm1(x))
    return _Function(lambda x: scale * value(x), (0.0, -scale * alpha), (scale, 0.0), bends=(0.0,))


def _gelu(approximate: float = False) -> _Function:
    if approximate:
        inner = math.sqrt(2.0 / math.pi)
        return _rising(lambda x: x * _sigmoid(2.0 * inner * (x + 0.044715 * x**3)))
    return _rising(lambda x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))))


def _soft(beta: float = 1.0) -> _Function:
    beta = _positive(beta)
    return _rising(lambda x: _softplus(beta * x) / beta, reach=40.0 * max(1.0, 1.0 / beta))


def _rising(value: Callable[[Floats], Floats], reach: float = 40.0, bends: tuple[float, ...] = ()) -> _Function:
    """A function that tends to 0 on the left and to x on the right."""
    return _Function(value, (0.0, 0.0), (1.0, 0.0), reach, bends=bends)


def _exponential(high: float = 0.0) -> _Function:
    value, top = (lambda x: np.exp(np.minimum(x, high))), math.exp(high)
    return _Function(value, (0.0, 0.0), (0.0, top), 40.0 + abs(high), bends=(high,), domain=(-math.inf, high))


_FUNCTIONS: dict[str, Callable[..., _Function]] = {
    "relu": _relu,
    "relu6": lambda: _relu(6.0),
    "leaky_relu": lambda negative_slope=0.2: _relu(None, negative_slope),
    "hard_tanh": lambda: _clipped(-1.0, 1.0, 1.0),
    "hard_sigmoid": lambda slope=1 / 6: _clipped(0.0, 1.0, slope),
    "hard_silu": lambda: _rising(lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0, 10.0, (-3.0, 3.0)),
    "sigmoid": lambda: _Function(_sigmoid, (0.0, 0.0), (0.0, 1.0), odd=True),
    "tanh": lambda: _Function(np.tanh, (0.0, -1.0), (0.0, 1.0), odd=True),
    "softsign": lambda: _Function(lambda x: x / (1.0 + np.abs(x)), (0.0, -1.0), (0.0, 1.0), 4_000.0, odd=True),
    "softplus": _soft,
    "log_sigmoid": lambda: _Function(lambda x: -_softplus(-x), (1.0, 0.0), (0.0, 0.0)),
    "elu": _elu,
    "celu": _celu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": lambda: _rising(lambda x: x * _sigmoid(x)),
    "mish": lambda: _rising(lambda x: x * np.tanh(_softplus(x))),
    "exponential": _exponential,
}
_FUNCTIONS |= {"swish": _FUNCTIONS["silu"], "hard_swish": _FUNCTIONS["hard_silu"], "exp": _exponential}
