"""The queue of a worker is bounded, for all clients together and for each, and says when it is full."""

from __future__ import annotations

import math

import pytest
from syfr.errors import BusyError
from syfr.party import load
from syfr.party.load import Load
from syfr.party.query import time_limit
from syfr.protocol.roles import Role


def filled(clients: int, each: int, rows: int = 1) -> Load:
    """So many clients with so many queries each."""
    made = Load(Role.SERVER0)
    for client in range(clients):
        for _ in range(each):
            made.require_room(f"client{client}", rows)
            made.begin(f"client{client}", rows)
    return made


def test_one_query_too_many_is_refused_and_room_is_there_when_one_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MAX_WAITING", 6)
    full = filled(3, 2)
    with pytest.raises(BusyError, match=r"server0 has 6 queries waiting, its most\. Ask again later\."):
        full.require_room("another", 1)
    full.end("client1", 1)
    full.require_room("another", 1)


@pytest.mark.parametrize(("queries", "rows"), [(4, 1), (2, 5)])
def test_a_client_with_too_much_under_way_leaves_room_for_others(
    queries: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MAX_RUNNING", 4)
    monkeypatch.setattr(load, "MAX_RUNNING_ROWS", 10)
    full = filled(1, queries, rows)
    with pytest.raises(BusyError, match="Too many queries of 'client0' are under way at server0"):
        full.require_room("client0", 1)
    full.require_room("client1", 10)
    for _ in range(queries):
        full.end("client0", rows)
    full.require_room("client0", 10)
    assert full.total == 0


@pytest.mark.parametrize(("patience", "limit"), [(math.inf, 60.0), (10.0, 9.0), (400.0, 360.0), (1e6, 600.0)])
def test_a_query_may_take_nine_tenths_of_the_time_that_its_client_waits(patience: float, limit: float) -> None:
    assert time_limit(patience) == pytest.approx(limit)
