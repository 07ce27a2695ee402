"""Curves on private tensors: functions of one variable, as functions that are linear between knots (steps.Signs).

Activation functions are those of models (importing/curves.py), right for all numbers. exp, log, sqrt and the reciprocal
are made for the declared range of their argument: knots lie where the function bends, at even steps of the integral of
sqrt(|f''|), which keeps the error of every piece alike, and the polyline is moved by half of that error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from syfr.errors import RangeCheckError
from syfr.importing.curves import SCALE_BITS, Curve, curve
from syfr.importing.curves import evaluate as evaluate_curve
from syfr.importing.elements import Softmax
from syfr.importing.graph import Answer, Graph
from syfr.importing.lowering import lower
from syfr.steps import Signs
from syfr.tensors.expression import LARGEST, ONE, PRECISION, Builder, Node, Range
from syfr.tensors.models import reading

Floats = NDArray[np.float64]

KNOTS = 48
"""Secure compares of a curve that is made for a range."""

F = PRECISION.fraction_bits


@dataclass(frozen=True)
class _Made:
    """A function that is approximated for a range: itself, and the arguments that it has."""

    value: Callable[[Floats], Floats]
    domain: Range


MADE = {
    "exp": _Made(np.exp, (-LARGEST, math.log(LARGEST / 2))),
    "log": _Made(np.log, (2.0**-10, LARGEST)),
    "sqrt": _Made(np.sqrt, (0.0, LARGEST)),
    "reciprocal": _Made(np.reciprocal, (2.0**-10, LARGEST)),
}
"""Arguments outside of these ranges are refused. The reciprocal of negative numbers follows from that of positive."""

ACTIVATIONS = ("sigmoid", "tanh", "softplus", "gelu", "silu", "elu", "softsign", "hard_sigmoid")


def function(name: str, x: Node) -> Node:
    """A curve, by its name in MADE or ACTIVATIONS."""
    found = _for_range(name, *x.range) if name in MADE else curve(name, fraction_bits=F)
    low, high = _reached(found, x.range)
    return Node(
        name,
        (x,),
        x.shape,
        (low, high),
        lambda builder, read: builder.add(
            Signs(name, read[0], x.shape, found.knots, found.factors, found.slope, found.constant, found.scale_bits)
        ),
    )


def softmax(x: Node) -> Node:
    """A softmax over the last axis, as inside a network."""
    if not 2 * max(map(abs, x.range)) < LARGEST:
        raise RangeCheckError(f"'softmax' compares numbers whose differences must stay below {LARGEST:g}. Scale them.")
    graph = Graph(x.shape)
    graph.answers = [Answer(graph.add(Softmax("softmax"), 0))]
    steps, _, _ = lower(graph, PRECISION)

    def make(builder: Builder, read: Sequence[int]) -> int:
        values = [read[0]]
        for step in steps:
            values.append(builder.add(reading(step, values)))
        return values[-1]

    return Node("softmax", (x,), x.shape, (0.0, 1.01), make)


def error_of(name: str, span: Range) -> float:
    """The worst absolute error of a curve for arguments in a range."""
    return (_for_range(name, *span) if name in MADE else curve(name, fraction_bits=F)).error


def _reached(found: Curve, span: Range) -> Range:
    """The smallest and largest value over a range: at its ends or at a knot, with the unit of a rounding."""
    inside = [knot / ONE for knot in found.knots if span[0] < knot / ONE < span[1]]
    values = evaluate_curve(found, np.array([*span, *inside]), F)
    return float(values.min()) - 1 / ONE, float(values.max()) + 1 / ONE


@lru_cache(maxsize=256)
def _for_range(name: str, low: float, high: float) -> Curve:
    made = MADE[name]
    if not (made.domain[0] <= low and high <= made.domain[1]):
        raise RangeCheckError(
            f"'{name}' takes numbers from {made.domain[0]:g} to {made.domain[1]:g}; its argument was declared from "
            f"{low:g} to {high:g}. Declare a tighter range, or clip it first."
        )
    units = _places(made.value, low, high)
    if units.size < 2:
        units = np.array([units[0], units[0] + 1])
    x = units / ONE
    y = made.value(np.maximum(x, 2.0**-F if name in ("log", "reciprocal") else -np.inf))
    middle = (x[1:] + x[:-1]) / 2
    bow = made.value(middle) - (y[1:] + y[:-1]) / 2
    y = y + float((bow.max() + bow.min()) / 2) / 2
    slopes = np.rint(np.diff(y) / np.diff(x) * 2.0**SCALE_BITS).astype(np.int64)
    knots, factors = units[1:-1], np.diff(slopes)
    slope, start = int(slopes[0]), round(float(y[0]) * ONE * 2**SCALE_BITS) - int(slopes[0]) * int(units[0])
    if not knots.size:
        knots, factors = units[:1], np.zeros(1, np.int64)
    found = Curve(tuple(map(int, knots)), tuple(map(int, factors)), slope, start, SCALE_BITS, 0.0)
    grid = np.concatenate([np.linspace(low, high, 20_001), low + np.geomspace(1 / ONE, high - low, 2_001)])
    grid = np.unique(np.rint(grid * ONE)) / ONE
    grid = grid[(grid >= low) & (grid <= high)]
    worst = np.abs(evaluate_curve(found, grid, F) - made.value(grid)).max() + 1 / ONE
    return replace(found, error=float(worst), domain=(low, high))


def _places(value: Callable[[Floats], Floats], low: float, high: float) -> NDArray[np.int64]:
    """Knots in units of 2^-f, the ends of the range among them."""
    even = np.unique(np.concatenate([np.linspace(low, high, 20_001), low + np.geomspace(1 / ONE, high - low, 20_001)]))
    even = even[even <= high]
    slope = np.diff(value(even)) / np.diff(even)
    bent = np.concatenate([[0.0], np.cumsum(np.sqrt(np.abs(np.diff(slope, prepend=slope[0])) * np.diff(even)))])
    grid = np.interp(np.linspace(0.0, bent[-1], KNOTS + 2), bent, even) if bent[-1] > 0 else np.array([low, high])
    grid[0], grid[-1] = low, high
    units: NDArray[np.int64] = np.unique(np.rint(grid * ONE)).astype(np.int64)
    return units
