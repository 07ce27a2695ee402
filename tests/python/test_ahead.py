"""Memory for preprocessing ahead: bounded for all sessions together, shared by the size of their requests."""

from __future__ import annotations

import pytest
from syfr.party.session import AHEAD_BYTES, AHEAD_REQUEST, AHEAD_TOTAL, LEAST_WEIGHT, MOST_WEIGHT, ahead_bytes

ROW = 500_000


@pytest.mark.parametrize("rows", [[1], [128], [4096] * 16, [1, 128], [1] * 100, [1, 4096, 4096], [32] * 7])
def test_all_sessions_together_stay_within_the_bound(rows: list[int]) -> None:
    weights = [max(LEAST_WEIGHT, min(count, MOST_WEIGHT)) for count in rows]
    shares = [
        ahead_bytes(count * ROW, weight, sum(weights)) for count, weight in zip(rows, weights, strict=True)
    ]
    assert sum(shares) <= AHEAD_TOTAL
    assert max(shares) <= AHEAD_REQUEST
    assert min(shares) * MOST_WEIGHT * len(rows) >= AHEAD_TOTAL * LEAST_WEIGHT or min(shares) >= AHEAD_BYTES


def test_a_large_request_is_prepared_as_a_whole_beside_a_small_one() -> None:
    assert ahead_bytes(128 * ROW, MOST_WEIGHT, MOST_WEIGHT + LEAST_WEIGHT) >= 128 * ROW
    assert ahead_bytes(ROW, LEAST_WEIGHT, LEAST_WEIGHT) == AHEAD_BYTES
