"""The worker's loop: what it waits for, and that what was closed leaves nothing behind."""

from __future__ import annotations

import socket

import pytest
from syfr.party import service
from syfr.party.reactor import Reactor
from syfr.protocol.roles import SERVERS


class Watcher:
    """Counts what it is told, and closes its socket on the first word when asked to."""

    def __init__(self, reactor: Reactor, sock: socket.socket, closes: bool = False) -> None:
        self.reactor, self.sock, self.closes, self.told = reactor, sock, closes, 0
        reactor.watch(self, read=True, write=False)

    def fileno(self) -> int:
        """The descriptor."""
        return self.sock.fileno()

    def ready(self, readable: bool, writable: bool) -> None:
        """The loop's call."""
        self.told += 1
        self.sock.recv(100)
        if self.closes:
            self.sock.close()
            self.reactor.watch(self, read=False, write=False)


def run(reactor: Reactor, seconds: float = 0.05) -> None:
    """Turn the loop for a while."""
    reactor.after(seconds, reactor.stop)
    reactor.run()


def test_a_descriptor_that_was_closed_serves_again() -> None:
    reactor = Reactor(lambda: False)
    here, there = socket.socketpair()
    first = Watcher(reactor, here, closes=True)
    number = here.fileno()
    there.send(b"x")
    reactor.after(0.02, lambda: again())
    second: list[Watcher] = []
    others: list[socket.socket] = []

    def again() -> None:
        pair = socket.socketpair()
        others.extend(pair)
        mine = next(sock for sock in pair if sock.fileno() == number)
        second.append(Watcher(reactor, mine))
        next(sock for sock in pair if sock is not mine).send(b"y")

    run(reactor, 0.1)
    assert first.told == 1
    assert second[0].told == 1
    for sock in (*others, there):
        sock.close()


def test_timers_fire_in_order_and_not_when_cancelled() -> None:
    reactor = Reactor(lambda: False)
    said: list[str] = []
    reactor.after(0.02, lambda: said.append("second"))
    reactor.after(0.01, lambda: said.append("first"))
    reactor.after(0.015, lambda: said.append("never")).cancel()
    run(reactor)
    assert said == ["first", "second"]


def test_the_loop_waits_when_there_is_no_idle_work() -> None:
    called = [0]

    def idle() -> bool:
        called[0] += 1
        return called[0] < 5

    run(Reactor(idle))
    assert 5 <= called[0] <= 7


def test_the_loop_stays_awake_for_what_follows_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syfr.party.reactor.AWAKE_SECONDS", 0.01)
    reactor = Reactor(lambda: False)
    here, there = socket.socketpair()
    watcher = Watcher(reactor, here)
    turns = [0]

    def others_run() -> None:
        turns[0] += 1
        if turns[0] == 1:
            there.send(b"y")

    monkeypatch.setattr("syfr.party.reactor._let_others_run", others_run)
    run(reactor)
    assert (watcher.told, turns[0]) == (0, 0)
    reactor = Reactor(lambda: False)
    watcher = Watcher(reactor, here)
    there.send(b"x")
    run(reactor)
    assert watcher.told == 2
    assert turns[0] > 1
    for reactor in (Reactor(lambda: False, crowded=lambda: True), Reactor(lambda: False, wakeful=False)):
        turns[0] = 2
        watcher = Watcher(reactor, here)
        there.send(b"x")
        run(reactor)
        assert (watcher.told, turns[0]) == (1, 2)
    here.close()
    there.close()


@pytest.mark.parametrize("processors", [1, 2, 3, 16])
def test_the_dealer_stays_awake_where_the_others_leave_it_a_processor(
    processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)), raising=False)
    assert [service._wakeful(role) for role in SERVERS] == [True, True, processors > 2]


def test_between_two_pieces_of_idle_work_every_connection_has_its_turn() -> None:
    """Preprocessing ahead keeps no query waiting for longer than one piece of it."""
    here, there = socket.socketpair()
    told: list[int] = []

    def idle() -> bool:
        told.append(watcher.told)
        if len(told) in (3, 6):
            there.send(b"x")
        return len(told) < 10

    reactor = Reactor(idle)
    watcher = Watcher(reactor, here)
    run(reactor, 0.1)
    assert told[:10] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    here.close()
    there.close()


def test_a_timer_set_by_a_timer_waits_for_the_connections() -> None:
    """Work that goes on by timers in small pieces keeps nobody waiting."""
    reactor = Reactor(lambda: False)
    here, there = socket.socketpair()
    watcher = Watcher(reactor, here)
    pieces: list[int] = []

    def work() -> None:
        pieces.append(watcher.told)
        if len(pieces) == 1:
            there.send(b"x")
        if len(pieces) < 20:
            reactor.after(0, work)

    reactor.after(0, work)
    run(reactor, 0.2)
    assert pieces[0] == 0
    assert pieces[-1] == 1
    here.close()
    there.close()


def test_a_fault_in_a_timer_or_in_idle_work_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    faults = iter([ValueError("idle")])

    def idle() -> bool:
        for fault in faults:
            raise fault
        return False

    reactor = Reactor(idle)
    said: list[str] = []
    reactor.after(0.0, lambda: said.append(str(1 // 0)))
    reactor.after(0.01, lambda: said.append("after"))
    run(reactor)
    assert said == ["after"]
    assert len(caplog.records) == 2


def test_while_several_queries_run_what_is_sent_waits_for_the_end_of_the_round() -> None:
    """All watchers of a round have their turn before anything goes; each sender is flushed once."""
    pairs = [socket.socketpair() for _ in range(2)]
    happened: list[str] = []
    crowded = True
    reactor = Reactor(lambda: False, crowded=lambda: crowded)

    class Sender(Watcher):
        def ready(self, readable: bool, writable: bool) -> None:
            super().ready(readable, writable)
            happened.append("ready")
            held = [reactor.holds(self) for _ in range(2)]
            assert held == [crowded] * 2

        def flush(self) -> None:
            """The loop's call."""
            happened.append("flush")

    for here, there in pairs:
        Sender(reactor, here)
        there.send(b"x")
    run(reactor)
    assert happened == ["ready", "ready", "flush", "flush"]
    happened.clear()
    crowded = False
    reactor = Reactor(lambda: False, crowded=lambda: crowded)
    for here, there in pairs:
        Sender(reactor, here)
        there.send(b"x")
    run(reactor)
    assert happened == ["ready", "ready"]
    for pair in pairs:
        for sock in pair:
            sock.close()
