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
from syfr.importing.evaluation import walk
from syfr.importing.operations import Floats, Weights
from syfr.program import Program

HEADROOM = 2.0**4
PART = 16
"""Rows that are computed at a time."""


def checked(
    program: Program, weights: Mapping[int, Weights], data: Floats | None = None, allow_unproven: bool = False
) -> Program:
    """The program, with its ranges proven, or marked as not proven; raises RangeCheckError where they do not fit."""
    try:
        check_ranges(program, weights)
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
    calibrated(program, weights, data)
    return replace(program, proven=False)


def calibrated(program: Program, weights: Mapping[int, Weights], data: Floats) -> list[Bound]:
    """The magnitudes on the data with their headroom; raises RangeCheckError at the first that does not fit."""
    largest: dict[tuple[int, int], Bound] = {}
    for start in range(0, len(data), PART):
        for number, (_, sources, value) in enumerate(walk(program, weights, data[start : start + PART])):
            found = limits(program, number, [(source, source) for source in sources], (value, value))
            for place, bound in enumerate(found):
                known = largest.get((number, place))
                if known is None or known.magnitude < bound.magnitude:
                    largest[number, place] = bound
    bounds = [replace(b, low=b.low * HEADROOM, high=b.high * HEADROOM) for _, b in sorted(largest.items(), key=_place)]
    for bound in bounds:
        if not bound.fits or not np.isfinite(bound.magnitude):
            raise RangeCheckError(_message(bound, program))
    return bounds


def _place(item: tuple[tuple[int, int], Bound]) -> tuple[int, int]:
    return item[0]


def _message(bound: Bound, program: Program) -> str:
    message = (
        f"Layer '{bound.layer}' reaches {bound.magnitude / HEADROOM:.6g} on the calibration data, "
        f"{bound.magnitude:.6g} with four bits of headroom; with {program.precision.fraction_bits} fraction bits, "
        f"magnitudes below {bound.largest:.6g} fit. Train with smaller weights, or choose a smaller precision"
    )
    roomier = roomier_bits(program.precision, bound)
    return f"{message}." if roomier is None else f"{message}: {roomier} fraction bits give this layer room."
