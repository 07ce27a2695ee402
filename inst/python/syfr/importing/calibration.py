"""Ranges from data: where what the weights allow is too wide, how large values become on inputs like those to come.

Four bits of headroom are left above the largest magnitude that any step had. That is no proof: an input unlike the data
may still leave a range, and its prediction is then wrong without a sign of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from syfr.errors import RangeCheckError
from syfr.importing.bounds import Bound, check_ranges, limits, roomier_bits
from syfr.importing.elements import Known
from syfr.importing.evaluation import lines, walk
from syfr.importing.operations import Floats, Weights
from syfr.program import Program
from syfr.steps import Signs

HEADROOM = 2.0**4
PART = 16
"""Rows that are computed at a time."""


def checked(
    program: Program,
    weights: Mapping[int, Weights],
    data: Floats | None = None,
    allow_unproven: bool = False,
    known: Mapping[int, Known] | None = None,
) -> Program:
    """The program, with its ranges proven, or marked as not proven; raises RangeCheckError where they do not fit."""
    try:
        check_ranges(program, weights, known)
        return program
    except RangeCheckError as error:
        if data is None:
            raise
        if not allow_unproven:
            raise RangeCheckError(
                f"{error} Bounds from calibration data hold for inputs like these only: another input within "
                "input_range could leave them, and its prediction would be wrong without a sign of it. "
                "Say allow_unproven = True if that may happen."
            ) from None
    calibrated(program, weights, data, known)
    return replace(program, proven=False)


def calibrated(
    program: Program, weights: Mapping[int, Weights], data: Floats, known: Mapping[int, Known] | None = None
) -> list[Bound]:
    """The magnitudes on the data with their headroom; raises RangeCheckError at the first that does not fit."""
    largest: dict[tuple[int, int], Bound] = {}
    for start in range(0, len(data), PART):
        for number, (_, sources, value) in enumerate(walk(program, weights, data[start : start + PART])):
            found = limits(program, number, [(source, source) for source in sources], (value, value))
            for place, bound in enumerate(found):
                before = largest.get((number, place))
                if before is None or before.magnitude < bound.magnitude:
                    largest[number, place] = bound
    bounds = []
    for (number, place), seen in sorted(largest.items(), key=_place):
        bound = _with_headroom(program, number, place, seen, known or {})
        if not bound.fits or not np.isfinite(bound.magnitude):
            raise RangeCheckError(_message(seen, bound, program))
        bounds.append(bound)
    return bounds


def _with_headroom(program: Program, number: int, place: int, seen: Bound, known: Mapping[int, Known]) -> Bound:
    """As far as the data goes four bits farther, but not beyond what is known to be the end."""
    step, unit = program.steps[number], 2.0**program.precision.fraction_bits
    if not isinstance(step, Signs):
        low, high = _farther(seen.low, seen.high, known.get(number, Known()))
    elif place == 0:
        # What is compared goes farther, not its distance from knots, which are far from one another.
        first, last = min(step.knots) / unit, max(step.knots) / unit
        low, high = _farther(seen.low + last, seen.high + first, known.get(step.source - 1, Known()))
        low, high = low - last, high - first
    else:
        low, high = _farther(seen.low, seen.high, _ends(step, unit))
    return replace(seen, low=low, high=high)


def _farther(low: float, high: float, known: Known) -> tuple[float, float]:
    """A range four bits wider at either end, or up to what is known to be the end."""
    wider = low * HEADROOM if low < 0 else low / HEADROOM, high * HEADROOM if high > 0 else high / HEADROOM
    return max(wider[0], min(low, known.low)), min(wider[1], max(high, known.high))


def _ends(step: Signs, unit: float) -> Known:
    """What a function that is constant on both sides can give."""
    if step.bits or step.slope or sum(step.factors):
        return Known()
    found = lines(step, unit, np.array(step.knots) / unit)
    return Known(float(found.min()), float(found.max()))


def _place(item: tuple[tuple[int, int], Bound]) -> tuple[int, int]:
    return item[0]


def _message(seen: Bound, bound: Bound, program: Program) -> str:
    message = (
        f"Layer '{bound.layer}' reaches {seen.magnitude:.6g} on the calibration data, "
        f"{bound.magnitude:.6g} with four bits of headroom; with {program.precision.fraction_bits} fraction bits, "
        f"magnitudes below {bound.largest:.6g} fit. Train with smaller weights, or choose a smaller precision"
    )
    roomier = roomier_bits(program.precision, bound)
    return f"{message}." if roomier is None else f"{message}: {roomier} fraction bits give this layer room."
