"""Preprocessing ahead: its memory, bounded for all sessions together; and its time, when no query is made to wait."""

from __future__ import annotations

from typing import Any, cast

import pytest
from syfr.party import session as session_module
from syfr.party.ahead import AHEAD_BYTES, AHEAD_REQUEST, AHEAD_TOTAL, LEAST_WEIGHT, MOST_WEIGHT, ahead_bytes
from syfr.party.fields import Place
from syfr.party.models import Model
from syfr.party.queries import Queries
from syfr.party.serving import Serving
from syfr.party.session import FLOWING_SECONDS, SHORT_SECONDS, Session
from syfr.party.sessions import Sessions
from syfr.party.streams import PairKeys
from syfr.protocol import sharing
from syfr.protocol.roles import DEALER, Role
from syfr.ring.streams import fresh_key
from syfr.trust.identity import Identity
from workers import perceptron

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

# ---- while queries run ----


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


class Links:
    """Links to peers that only keep what is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, peer: Role, kind: str, fields: object = None, arrays: object = ()) -> None:
        """Keep its kind."""
        self.sent.append(kind)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of sessions."""
    made = Clock()
    monkeypatch.setattr(session_module, "time", made)
    return made


def session_of(number: bytes = bytes(16)) -> Session:
    """A session at the dealer, which both servers have open too."""
    model = perceptron()
    program, seeds = model.program, sharing.fresh_seeds()
    share = sharing.share_weights(program, model.kernels, model.biases)[2]
    shared = Model("m", "model", program, sharing.layer_shares(program, share), {}, DEALER, Serving("model"))
    shared.serving.open(None, None)
    keys = PairKeys({peer: fresh_key() for peer in DEALER.peers}, number)
    made = Session(number, Identity("client", "client"), shared, 64, seeds, keys, DEALER)
    made.confirmed.update(DEALER.peers)
    return made


def test_a_query_is_soon_over_unless_others_follow_it_closely(clock: Clock) -> None:
    session = session_of()
    assert not session.soon_over
    first = session.accept(Place(session.number, 0, 64))
    first.began = clock.now
    assert session.soon_over
    clock.now += SHORT_SECONDS
    assert not session.soon_over
    assert session.remove(first)
    assert not session.remove(first)
    clock.now += FLOWING_SECONDS / 2
    second = session.accept(Place(session.number, 64, 64))
    second.began = clock.now
    assert not session.soon_over
    session.remove(second)
    clock.now += 2 * FLOWING_SECONDS
    third = session.accept(Place(session.number, 128, 64))
    third.began = clock.now
    assert session.soon_over


def test_a_query_that_had_to_wait_for_its_rows_is_one_of_many(clock: Clock) -> None:
    session = session_of()
    session.wanted_until = 64
    session.accept(Place(session.number, 0, 64)).began = clock.now
    assert not session.soon_over


def test_nothing_is_dealt_ahead_while_a_query_runs_alone(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    links, running = Links(), [0]
    monkeypatch.setattr(Queries, "running", property(lambda _: running[0]))
    sessions = Sessions(DEALER, cast(Any, links), cast(Any, None))
    one, other = session_of(bytes(16)), session_of(bytes(15) + b"1")
    for session in (one, other):
        sessions._sessions[session.number] = session
    query = one.accept(Place(one.number, 0, 64))
    query.began, running[0] = clock.now, 1
    sessions.wake()
    assert not sessions.idle()
    assert links.sent == []

    running[0] = 2  # another one runs: there may never be a quiet moment
    assert sessions.idle()
    assert links.sent == ["dealt", "dealt"]

    running[0] = 1
    one.remove(query)
    while sessions.idle():
        pass
    assert {session.pool.ready_until >= 64 for session in (one, other)} == {True}
