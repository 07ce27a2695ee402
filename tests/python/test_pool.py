"""Prepared rows are handed out once and in order, whether they were got out ahead or not."""

from __future__ import annotations

import numpy as np
import pytest
from syfr.errors import ProtocolError
from syfr.party.pool import Pool


def filled(*blocks: int) -> Pool:
    """Blocks of so many rows each; what is prepared for a row is its number."""
    pool = Pool()
    for rows in blocks:
        start = pool.ready_until
        pool.add(start, rows, {0: np.arange(start, start + rows)})
    return pool


def taken(pool: Pool, start: int, stop: int) -> list[int]:
    """The rows that a query gets."""
    rows, prepared = pool.take(start, stop)
    found = [int(row) for row in prepared[0]]
    assert len(found) == rows
    return found


@pytest.mark.parametrize("ahead", [0, 1, 2, 3, 9])
def test_rows_got_out_ahead_are_the_rows_that_are_asked_for(ahead: int) -> None:
    pool = filled(4, 1, 3)
    asked = []
    for start, stop in ((0, 2), (2, 3), (3, 8), (4, 8), (5, 7), (7, 8)):
        if ahead:
            pool.cut_ahead(ahead)
        asked.append(taken(pool, start, stop))
    assert asked == [[0, 1], [2], [3], [4], [5, 6], [7]]


def test_rows_that_were_passed_over_are_not_handed_out() -> None:
    pool = filled(4, 4)
    pool.cut_ahead(2)
    assert taken(pool, 3, 5) == [3]
    with pytest.raises(ProtocolError):
        pool.take(0, 2)
    pool.cut_ahead(2)
    assert taken(pool, 5, 7) == [5, 6]


def test_a_row_by_itself_is_handed_out_as_others_are() -> None:
    pool = filled(2, 3)
    assert taken(pool, 0, 1) == [0]
    pool.cut_ahead(1)
    assert list(pool.take_one(1).rows()[0]) == [1]
    assert list(pool.take_one(3).rows()[0]) == [3]
    for used in (1, 2, 3):
        with pytest.raises(ProtocolError):
            pool.take_one(used)
    assert taken(pool, 4, 5) == [4]
    with pytest.raises(ProtocolError):
        pool.take_one(5)


def test_nothing_is_got_out_of_an_empty_pool() -> None:
    pool = filled(1)
    pool.cut_ahead(1)
    assert taken(pool, 0, 1) == [0]
    pool.cut_ahead(1)
    with pytest.raises(ProtocolError):
        pool.take(1, 2)
