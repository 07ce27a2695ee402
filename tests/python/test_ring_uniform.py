"""Bytes to integers below a bound: the compiled kernels against NumPy, for every bound."""

from __future__ import annotations

import numpy as np
import pytest
from syfr.ring.uniform import replace_rejected, to_range

BOUNDS = range(1, 257)
BYTES = np.random.default_rng(1).permutation(np.tile(np.arange(256), 5)).astype(np.uint8)[:1_237]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1_237])
def test_bytes_below_the_limit_are_reduced_and_the_others_reported(size: int) -> None:
    for bound in BOUNDS:
        for start in {0, min(1, 256 - bound), 256 - bound}:
            raw = BYTES[:size]
            values = raw.copy()
            rejected = to_range(values, bound, start)
            limit = 256 - 256 % bound
            assert rejected.tolist() == np.flatnonzero(raw >= limit).tolist(), bound
            kept = raw < limit
            assert np.array_equal(values[kept], raw[kept] % bound + start), (bound, start)


def test_every_result_has_as_many_bytes_as_any_other() -> None:
    for bound in BOUNDS:
        values = np.arange(256, dtype=np.uint8)
        rejected = to_range(values, bound, 0)
        counts = np.bincount(np.delete(values, rejected))
        assert counts.tolist() == [256 // bound] * bound, bound


def test_rejected_places_take_the_next_accepted_spare_bytes() -> None:
    for bound in BOUNDS:
        limit = 256 - 256 % bound
        accepted = BYTES[limit > BYTES].astype(int) % bound
        values = np.full(40, 77, np.uint8)
        places = np.arange(1, 40, 3)
        left = replace_rejected(values, places, BYTES, bound, 0)
        assert left.size == 0
        assert np.array_equal(values[places], accepted[: places.size]), bound
        assert (np.delete(values, places) == 77).all()


def test_places_for_which_the_spare_bytes_do_not_last_are_returned() -> None:
    values = np.zeros(10, np.uint8)
    places = np.array([0, 4, 7, 9])
    left = replace_rejected(values, places, np.array([255, 3, 253, 252, 254], np.uint8), 11, 2)
    assert left.tolist() == [7, 9]
    assert values.tolist() == [5, 0, 0, 0, 12, 0, 0, 0, 0, 0]
