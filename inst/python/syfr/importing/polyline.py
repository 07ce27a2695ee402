"""A function of one variable as few straight lines: the fewest corners with which a polyline stays within an error.

The polyline runs in the tube between f - error and f + error, from a point or a line on the left to a line on the
right. Every line that starts at a corner and stays in the tube up to some x has its slope in an interval, which only
shrinks as x grows. So, corner by corner, all places follow that can be reached with one corner more, on a grid that is
the denser the more the function bends: a search by breadth finds a polyline with the fewest corners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Line = tuple[float, float]
"""Slope, and value at 0."""
Points = list[tuple[float, float]]

GRID = 400
LEVELS = 5
"""Places of the grid along x, and at each of them between the two sides of the tube."""

ROUNDING = 1.5e-4
"""How far a line may come out when its slope is rounded to a multiple of the unit."""

HALVINGS = 7
"""Steps in which the error is brought down as far as the number of corners allows."""


@dataclass(frozen=True)
class Tube:
    """What a polyline has to follow.

    Attributes:
        value: the function, of an array.
        reach: beyond ±reach the function is as good as the lines.
        right: the line that the polyline ends in.
        left: the line that it begins with; None to begin in the point (0, value(0)) and look only at x >= 0.
        unit: corners lie at multiples of it.
        slope_unit: slopes are nearly multiples of it.
        bends: where the function itself has a corner.
    """

    value: Callable[[Floats], Floats]
    reach: float
    right: Line
    left: Line | None
    unit: float
    slope_unit: float
    bends: tuple[float, ...] = ()


def corners(tube: Tube, error: float) -> Points | None:
    """The corners of a polyline of as few as possible for ``error``, and then of as small an error as these allow.

    None where slopes that are multiples of the unit allow none.
    """
    grid, slopes = _grid(tube)
    found = _search(tube, grid, slopes, error)
    if found is None:
        return None
    low, high = 0.0, error
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        better = _search(tube, grid, slopes, middle)
        if better is not None and len(better) <= len(found):
            found, high = better, middle
        else:
            low = middle
    return found


def _grid(tube: Tube) -> tuple[Floats, tuple[float, float]]:
    """Places along x at even steps of the integral of sqrt(|f''|), and the smallest and largest slope of f."""
    end = np.arcsinh(tube.reach)
    even = np.linspace(0.0 if tube.left is None else -end, end, 20_001)
    x = np.sinh(even)
    slope = np.diff(tube.value(x)) / np.diff(x)
    steps = np.sqrt(np.abs(np.diff(slope, prepend=slope[0])) * np.diff(x))
    bent = np.concatenate([[0.0], np.cumsum(steps)])
    measure = bent / bent[-1] + 0.1 * (even - even[0]) / (even[-1] - even[0])
    grid = np.interp(np.linspace(0.0, measure[-1], GRID), measure, x)
    inside = [bend for bend in tube.bends if x[0] < bend < x[-1]]
    whole = np.unique(np.rint(np.concatenate([grid, inside]) / tube.unit))
    return whole * tube.unit, (float(slope.min()), float(slope.max()))


def _search(tube: Tube, x: Floats, slopes: tuple[float, float], error: float) -> Points | None:
    """The corners of a polyline of the fewest within ``error``; None where there is none."""
    f = tube.value(x)
    side = np.linspace(-error, error, LEVELS)
    ending = _on(tube.right, x)
    ends = np.logical_and.accumulate((np.abs(f - ending) <= error)[::-1])[::-1]
    if tube.left is None:
        place, height = np.array([0]), f[:1]
    else:
        beginning = _on(tube.left, x)
        place = np.flatnonzero(np.logical_and.accumulate(np.abs(f - beginning) <= error))
        height = beginning[place]
    known = np.zeros((len(x), LEVELS), bool)
    layers: list[tuple[NDArray[np.intp], Floats, NDArray[np.intp]]] = []
    parent = np.full(len(place), -1)
    while len(place):
        layers.append((place, height, parent))
        beams = _Beams(tube.slope_unit, x, f, error, slopes, place, height)
        to_side = np.stack([beams.reach(f + offset) for offset in side], axis=-1)
        to_end = beams.reach(ending) & ends
        if to_end.any():
            last = int(np.argmax(to_end.any(axis=0)))
            path = _trace(layers, int(np.argmax(to_end[:, last])), x)
            return [*path[tube.left is None :], (float(x[last]), float(ending[last]))]
        fresh = to_side.any(axis=0) & ~known
        known |= fresh
        place, level = np.nonzero(fresh)
        height = f[place] + side[level]
        parent = np.argmax(to_side, axis=0)[fresh]
    return None


class _Beams:
    """The lines from some corners that stay in the tube, up to each place of the grid."""

    def __init__(
        self,
        unit: float,
        x: Floats,
        f: Floats,
        error: float,
        slopes: tuple[float, float],
        place: NDArray[np.intp],
        height: Floats,
    ) -> None:
        self._across = x[None, :] - x[place, None]
        self._ahead = self._across > 0
        self._across[~self._ahead] = 1.0
        self._height, self._unit = height[:, None], unit
        lowest, highest = self._slope(f - error), self._slope(f + error)
        self._low = np.maximum.accumulate(np.where(self._ahead, lowest, slopes[0]), axis=1)
        self._high = np.minimum.accumulate(np.where(self._ahead, highest, slopes[1]), axis=1)

    def _slope(self, y: Floats) -> Floats:
        result: Floats = (y - self._height) / self._across
        return result

    def reach(self, y: Floats) -> NDArray[np.bool_]:
        """Which of the points (x, y) a line from each corner reaches, with a slope that can be rounded."""
        slope = self._slope(y)
        rounding = np.abs(slope - np.rint(slope / self._unit) * self._unit) * self._across
        whole = rounding <= max(ROUNDING, self._unit / 8)
        found: NDArray[np.bool_] = self._ahead & (self._low <= slope) & (slope <= self._high) & whole
        return found


def _trace(layers: list[tuple[NDArray[np.intp], Floats, NDArray[np.intp]]], index: int, x: Floats) -> Points:
    """The corners that led to one of the last layer."""
    path: Points = []
    for place, height, parent in reversed(layers):
        path.append((float(x[place[index]]), float(height[index])))
        index = int(parent[index])
    return path[::-1]


def _on(line: Line, x: Floats) -> Floats:
    result: Floats = line[0] * x + line[1]
    return result
