"""Prepared rows are handed out once and in order, whether they were got out ahead or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
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


def test_rows_that_are_left_out_are_not_prepared() -> None:
    pool = filled(4)
    pool.leave_out(6, 9)
    assert (pool.ready_until, pool.room) == (4, 2)
    pool.leave_out(9, 11)
    pool.add(4, 2, {0: np.arange(4, 6)})
    assert (pool.ready_until, pool.room, pool.prepared) == (11, None, 6)
    assert taken(pool, 2, 9) == [2, 3]
    assert taken(pool, 4, 6) == [4, 5]
    assert not pool.has(6)
    with pytest.raises(ProtocolError):
        pool.take(6, 9)
    pool.add(12, 2, {0: np.arange(12, 14)})
    with pytest.raises(ProtocolError):
        pool.take(11, 12)
    assert taken(pool, 12, 14) == [12, 13]


def test_rows_are_left_out_in_whatever_order_their_queries_fail() -> None:
    pool = filled(2)
    for start, stop in ((9, 10), (5, 7), (12, 14), (10, 12), (2, 3), (6, 8)):
        pool.leave_out(start, stop)
    assert (pool.ready_until, pool.room) == (3, 2)
    pool.add(3, 2, {0: np.arange(3, 5)})
    assert (pool.ready_until, pool.room) == (8, 1)
    pool.add(8, 1, {0: np.arange(8, 9)})
    assert (pool.ready_until, pool.room) == (14, None)


def test_nothing_is_kept_of_rows_that_were_passed_over() -> None:
    pool = filled(4, 4)
    pool.pass_over(0, 6)
    assert (pool.next_row, pool.prepared, len(pool._blocks)) == (6, 2, 1)
    pool.pass_over(6, 20)
    assert (pool.next_row, pool.prepared, len(pool._blocks)) == (20, 0, 0)
    pool.add(8, 4, {0: np.arange(8, 12)})  # it was on its way
    assert (pool.ready_until, pool.prepared, len(pool._blocks)) == (12, 0, 0)
    assert pool.cut_ahead(1) is None


queries = some.tuples(some.integers(1, 5), some.booleans(), some.integers(0, 9), some.booleans(), some.booleans())


@given(some.lists(queries, max_size=30))
def test_a_store_gives_every_query_its_rows_and_makes_none_for_those_that_were_given_up(
    plan: list[tuple[int, bool, int, bool, bool]],
) -> None:
    """Each query has some rows, may be refused, or wait and then fail, and finds so many rows made ahead of it."""
    pool, until, waiting, given_up = Pool(), 0, [], set()

    def give_up(start: int, stop: int) -> None:
        given_up.update(range(start, stop))
        pool.pass_over(start, stop)
        pool.leave_out(start, stop)

    def deal(most: int) -> None:
        rows = most if pool.room is None else min(most, pool.room)
        place = range(pool.ready_until, pool.ready_until + rows)
        assert not given_up.intersection(place)
        pool.add(place.start, rows, {0: np.arange(place.start, place.stop)})

    for rows, refused, ahead, waits, fails in plan:
        if ahead:
            deal(ahead)
        start, until = until, until + rows
        if refused:
            give_up(start, until)
        else:
            waiting.append((start, until))
        if fails and len(waiting) > 1:
            give_up(*waiting.pop(-2))
        while waiting and not waits:
            at, stop = waiting.pop(0)
            found: list[int] = []
            while at + len(found) < stop:
                while pool.ready_until <= at + len(found):
                    deal(3)
                found += taken(pool, at + len(found), stop)
            assert found == list(range(at, stop))
    assert pool.prepared == sum(last - max(first, pool.next_row) for first, last, _ in pool._blocks)
