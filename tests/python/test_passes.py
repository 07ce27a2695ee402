"""Queries of several clients in one pass: right answers, and nobody who is slow, gone or dishonest harms the others."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from harness import small_models
from syfr.errors import BusyError, DeadlineError, NotConnectedError, ProtocolError
from syfr.party.preprocessing import Cell, join_rows
from workers import (
    SERVERS,
    Client,
    Cluster,
    Model,
    Session,
    changed,
    cluster_of,
    dense,
    digits,
    perceptron,
    wait_for,
)

SEEN = """
import sys
from syfr.party import passes
passes.GATHER_SECONDS = 0.3
began = passes.Passes._begin
def begin(self, number, members):
    print("a pass of", len(members), file=sys.stderr, flush=True)
    began(self, number, members)
passes.Passes._begin = begin
"""
"""Workers that say how many queries a pass has, and wait long enough for all that a test asks at once."""


MODELS = small_models()


@pytest.mark.parametrize("name", MODELS)
def test_rows_that_were_prepared_apart_run_as_one_batch(name: str) -> None:
    """Of every kind of step, and in both forms of answers."""
    model, rows = MODELS[name], 3
    cluster = model.cluster()
    for _ in range(rows):
        cluster.prepare(1)
    blocks = [block for _, _, block in cluster._ready]
    cluster._ready = [(0, rows, {role: join_rows([Cell(block[role], 0) for block in blocks]) for role in blocks[0]})]
    x = model.inputs(rows)
    answer = cluster.query(x)
    reference = model.cluster().query(x)
    assert answer.delays == reference.delays
    np.testing.assert_allclose(answer.values, model.answer(x), atol=0.02)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers."""
    with cluster_of(tmp_path_factory.mktemp("cluster"), all=SEEN) as made:
        yield made


@pytest.fixture
def crowded(cluster: Cluster) -> Iterator[tuple[Model, str]]:
    """A model, and two clients' queries that stay under way, as only one server has each: so others run together."""
    model = perceptron()
    with cluster.owner() as owner, ExitStack() as stack:
        number = owner.shared(model)
        keep_under_way(cluster, stack, model, number)
        yield model, number
        owner.tell("drop", model=number)


def keep_under_way(cluster: Cluster, stack: ExitStack, model: Model, number: str) -> Client:
    """Have both servers wait for the other with a query of somebody: so others run together."""
    slow = stack.enter_context(cluster.client())
    for server in SERVERS[:2]:
        slow.wires[server].send(slow.open(number, model).frame(model.input(1), 0))
    until_under_way(cluster, *SERVERS[:2])
    return slow


def until_under_way(cluster: Cluster, *servers: str, count: int = 1) -> None:
    """Wait until so many queries have arrived at each."""
    with cluster.owner() as owner:
        wait_for(lambda: all(owner.wires[server].call("status")["under_way"] >= count for server in servers), 10)


def passes(cluster: Cluster, server: str = "server0") -> list[int]:
    """The sizes of all passes so far."""
    return [int(size) for size in re.findall(r"a pass of (\d+)", cluster.log(server))]


def together(cluster: Cluster) -> list[int]:
    """How many queries each worker has answered in passes."""
    with cluster.owner() as owner:
        return [owner.wires[server].call("status")["queries"]["together"] for server in SERVERS]


def open_sessions(cluster: Cluster, stack: ExitStack, model: Model, number: str, count: int) -> list[Session]:
    """Sessions of their own connections."""
    return [stack.enter_context(cluster.client()).open(number, model) for _ in range(count)]


def test_what_waits_runs_together_and_every_client_has_its_own_answer(
    cluster: Cluster, crowded: tuple[Model, str]
) -> None:
    model, number = crowded
    before, sizes = together(cluster), len(passes(cluster))
    with ExitStack() as stack:
        sessions = open_sessions(cluster, stack, model, number, 6)
        for turn in range(3):
            inputs = [model.input(1, seed=10 * turn + place) for place in range(6)]
            starts = [session.send(x) for session, x in zip(sessions, inputs, strict=True)]
            for session, start, x in zip(sessions, starts, inputs, strict=True):
                answer, clock = session.collect(start)
                np.testing.assert_allclose(answer, model.plain(x), atol=0.01)
                assert clock == 4
    assert [after - was for after, was in zip(together(cluster), before, strict=True)] == [18, 18, 18]
    new = passes(cluster)[sizes:]
    assert sum(new) == 18
    assert max(new) > 1
    assert passes(cluster, "server1") == passes(cluster, "server2") == passes(cluster)


def test_passes_are_of_one_model_each(cluster: Cluster, crowded: tuple[Model, str]) -> None:
    model, number = crowded
    other = digits()
    with ExitStack() as stack, cluster.owner() as owner:
        second = owner.shared(other, 100)
        sessions = open_sessions(cluster, stack, model, number, 3)
        sessions += open_sessions(cluster, stack, other, second, 3)
        starts = [session.send(session.model.input(1, seed=5)) for session in sessions]
        for session, start in zip(sessions, starts, strict=True):
            answer, _ = session.collect(start)
            np.testing.assert_allclose(answer, session.model.plain(session.model.input(1, seed=5)), atol=0.01)
        owner.tell("drop", model=second)


def test_a_model_without_compares_and_batches_run_by_themselves(
    cluster: Cluster, crowded: tuple[Model, str]
) -> None:
    model, number = crowded
    before = together(cluster)
    with ExitStack() as stack, cluster.owner() as owner:
        plain = dense()
        second = owner.shared(plain)
        for session in open_sessions(cluster, stack, plain, second, 2):
            session.check()
        for session in open_sessions(cluster, stack, model, number, 2):
            session.check(rows=3)
        owner.tell("drop", model=second)
    assert together(cluster) == before


def test_rows_of_one_session_keep_their_order(cluster: Cluster, crowded: tuple[Model, str]) -> None:
    """A session that asks again before it was answered, beside others that do the same."""
    model, number = crowded
    with ExitStack() as stack:
        sessions = open_sessions(cluster, stack, model, number, 3)
        asked = [
            (session, session.send(model.input(rows, seed=turn)), model.input(rows, seed=turn))
            for turn, rows in enumerate((1, 1, 2, 1))
            for session in sessions
        ]
        for session, start, x in asked:
            np.testing.assert_allclose(session.collect(start)[0], model.plain(x), atol=0.01)


def spoil(mallory: Session, x: np.ndarray) -> int:
    """Send one input to server0 and another to server1."""
    start, mallory.next_row = mallory.next_row, mallory.next_row + 1
    frame = mallory.frame(x, start)
    mallory.client.wires["server0"].send(frame)
    mallory.client.wires["server1"].send(changed(frame))
    return start


def test_a_client_that_spoils_a_pass_is_found_alone_and_the_others_are_answered(
    cluster: Cluster, crowded: tuple[Model, str]
) -> None:
    model, number = crowded
    with ExitStack() as stack:
        sessions = open_sessions(cluster, stack, model, number, 3)
        mallory = stack.enter_context(cluster.client("mallory")).open(number, model)
        sizes = len(passes(cluster))
        starts = [session.send(model.input(1)) for session in sessions]
        first = spoil(mallory, model.input(1))
        assert [failure(session, start) for session, start in zip(sessions, starts, strict=True)] == [BusyError] * 3
        assert failure(mallory, first) is BusyError
        assert passes(cluster)[sizes:] == [4]
        starts = [session.send(model.input(1)) for session in sessions]
        second = spoil(mallory, model.input(1))
        for session, start in zip(sessions, starts, strict=True):
            np.testing.assert_allclose(session.collect(start)[0], model.plain(model.input(1)), atol=0.01)
        assert failure(mallory, second) is ProtocolError
        assert passes(cluster)[sizes:] == [4], "they ran alone"


def failure(session: Session, start: int) -> type[Exception]:
    """What both servers say of a query that failed."""
    found = set()
    for server in SERVERS[:2]:
        with pytest.raises((BusyError, ProtocolError)) as error:
            session.part(server, start)
        found.add(error.type)
    assert len(found) == 1
    return found.pop()


def test_a_client_that_leaves_the_dealer_harms_only_itself(cluster: Cluster, crowded: tuple[Model, str]) -> None:
    model, number = crowded
    with ExitStack() as stack:
        sessions = open_sessions(cluster, stack, model, number, 3)
        leaving = stack.enter_context(cluster.client("mallory")).open(number, model)
        leaving.check()
        starts = [session.send(model.input(1)) for session in sessions]
        leaving.send(model.input(1))
        leaving.client.wires["server2"].close()
        collect(model, sessions, starts)
        starts = [session.send(model.input(1)) for session in sessions]
        leaving.send(model.input(1))
        collect(model, sessions, starts)


def test_clients_that_go_while_their_queries_wait_harm_nobody(cluster: Cluster, crowded: tuple[Model, str]) -> None:
    model, number = crowded
    with ExitStack() as stack:
        sessions = open_sessions(cluster, stack, model, number, 3)
        for server in (*SERVERS, None):
            gone = Client(cluster, "mallory")
            session = gone.open(number, model)
            starts = [one.send(model.input(1)) for one in sessions]
            session.send(model.input(1))
            for name, wire in gone.wires.items():
                if server in (name, None):
                    wire.close()
            collect(model, sessions, starts)
            gone.close()


def collect(model: Model, sessions: list[Session], starts: list[int]) -> None:
    """The right answers."""
    for session, start in zip(sessions, starts, strict=True):
        np.testing.assert_allclose(session.collect(start)[0], model.plain(model.input(1)), atol=0.01)


def lifted() -> Model:
    """A model whose clients are not trusted: of its first messages none goes to the other server."""
    model = perceptron()
    return replace(model, program=replace(model.program, untrusted_clients=True))


@pytest.mark.parametrize("server", SERVERS[:2])
@pytest.mark.parametrize("model", [perceptron(), lifted()], ids=["trusted", "untrusted"])
def test_one_server_has_a_query_wait_and_the_other_does_not(cluster: Cluster, server: str, model: Model) -> None:
    """As queries of others run at one of them only."""
    with ExitStack() as stack, cluster.owner() as owner:
        number = owner.shared(model)
        slow, session = open_sessions(cluster, stack, model, number, 2)
        slow.client.wires[server].send(slow.frame(model.input(1), 0))
        until_under_way(cluster, server)
        for turn in range(4):
            x = model.input(1, seed=turn)
            np.testing.assert_allclose(session.collect(session.send(x), 10)[0], model.plain(x), atol=0.01)
        owner.tell("drop", model=number)


SHORT = """
from syfr.party import passes, sessions
passes.GATHER_SECONDS = 0.6
sessions.KEPT_SECONDS = 0.1
"""
"""Workers at which a query waits for longer than the dealer remembers a session that has ended."""


def test_a_query_that_waits_does_not_outlive_its_session_at_the_dealer(tmp_path: Path) -> None:
    model = perceptron()
    with cluster_of(tmp_path, all=SHORT) as cluster, ExitStack() as stack, cluster.owner() as owner:
        number = owner.shared(model)
        keep_under_way(cluster, stack, model, number)
        *sessions, leaving = open_sessions(cluster, stack, model, number, 3)
        starts = [session.send(model.input(1)) for session in sessions]
        start = leaving.send(model.input(1))
        until_under_way(cluster, *SERVERS[:2], count=4)
        leaving.client.wires["server2"].close()
        with pytest.raises(NotConnectedError):
            leaving.collect(start, 10)
        collect(model, sessions, starts)


def test_a_pass_ends_when_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    """So that what cannot go on does not keep others from running together."""
    silent = "from syfr.party import passes\npasses.Passes.message = lambda *_: None"
    model = perceptron()
    with cluster_of(tmp_path, server0=SEEN, server2=silent) as cluster, ExitStack() as stack:
        number = stack.enter_context(cluster.owner()).shared(model)
        keep_under_way(cluster, stack, model, number)
        session = stack.enter_context(cluster.client()).open(number, model)
        for turn in range(3):
            for server in SERVERS[:2]:
                session.client.wires[server].send(session.frame(model.input(1), turn, {"seconds": 0.5}))
            for server in SERVERS[:2]:  # one that has not ended there would have the next run alone
                with pytest.raises(DeadlineError, match="No answer in"):
                    session.part(server, turn)
        assert passes(cluster) == [1, 1, 1]


SLOW = """
from syfr.party import passes, service
from syfr.protocol.roles import Role
received = service.Worker._from_peer
def later(self, peer, frame):
    if peer is Role.SERVER0:
        self.reactor.after(0.3, lambda: received(self, peer, frame))
    else:
        received(self, peer, frame)
service.Worker._from_peer = later
"""
"""A worker to which the way from server0 is long."""


def test_the_dealer_counts_nothing_that_ended_before_it_heard_of_the_pass(tmp_path: Path) -> None:
    model = perceptron()
    with cluster_of(tmp_path, server2=SLOW) as cluster, ExitStack() as stack:
        owner = stack.enter_context(cluster.owner())
        number = owner.shared(model, 10)
        keep_under_way(cluster, stack, model, number)
        session = stack.enter_context(cluster.client()).open(number, model)
        for server in SERVERS[:2]:
            session.client.wires[server].send(session.frame(model.input(1), 0, {"seconds": 0.2}))
        with pytest.raises(DeadlineError):
            session.collect(0)
        time.sleep(0.5)
        assert owner.wires["server2"].call("status")["under_way"] == 0
        assert [counted["running"] for counted in owner.counters(number)] == [1, 1, 0]


def test_messages_of_sessions_that_have_ended_are_not_taken_for_those_of_passes(tmp_path: Path) -> None:
    """What the dealer keeps of passes that it has not heard of yet must not give way to them."""
    model = perceptron()
    with cluster_of(tmp_path, server2=SLOW + "passes.MAX_EARLY = 2") as cluster, ExitStack() as stack:
        number = stack.enter_context(cluster.owner()).shared(model)
        session, *leaving = open_sessions(cluster, stack, model, number, 4)
        for one in (session, *leaving):
            one.check()
        for one in leaving:
            one.client.wires["server2"].close()
        keep_under_way(cluster, stack, model, number)
        starts = [session.send(model.input(1))]
        time.sleep(0.1)
        for one in leaving:
            one.send(model.input(1))
        collect(model, [session], starts)


@pytest.mark.parametrize("server", SERVERS)
def test_a_worker_that_leaves_finishes_what_waits_for_a_pass(tmp_path: Path, server: str) -> None:
    model = perceptron()
    with cluster_of(tmp_path, all=SHORT) as cluster, ExitStack() as stack:
        number = stack.enter_context(cluster.owner()).shared(model)
        slow = keep_under_way(cluster, stack, model, number)
        sessions = open_sessions(cluster, stack, model, number, 3)
        starts = [session.send(model.input(1)) for session in sessions]
        until_under_way(cluster, *SERVERS[:2], count=4)
        cluster.signal(server, signal.SIGTERM)
        collect(model, sessions, starts)
        slow.close()
        assert cluster.processes[server].wait(10) == 0
