"""The workflow as the control protocol has it, with three worker processes: sharing, serving, sessions, queries."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from syfr.errors import NotConnectedError, NotServedError, NotSharedError, SyfrError
from syfr.link import Frame
from syfr.party.preprocessing import program_cost
from syfr.program import Program
from syfr.protocol import sharing
from workers import (
    DEADLINE,
    SERVERS,
    Client,
    Cluster,
    Model,
    check_serving,
    cluster_of,
    dense,
    digits,
    perceptron,
    share_messages,
    truncated,
    wait_for,
)

Maker = Callable[[], Model]
ALL: dict[str, Maker] = {"dense": dense, "perceptron": perceptron, "truncated": truncated, "digits": digits}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers for the tests of this file."""
    with cluster_of(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def sessions(cluster: Cluster) -> list[int]:
    """Open sessions at each worker."""
    with cluster.owner() as owner:
        return [wire.call("status")["sessions"] for wire in owner.wires.values()]


# ---- answers ----


def test_workers_say_who_they_are(cluster: Cluster) -> None:
    for party in ("owner", "client"):
        for server in SERVERS:
            with cluster.dial(server, party) as wire:
                said = wire.call("hello")
                assert said["role"] == server
                assert said["ready"] is True
                assert said["waiting_for"] == []
                assert said["pid"] == cluster.processes[server].pid


@pytest.mark.parametrize("name", ALL)
def test_answers_are_those_of_the_plaintext(cluster: Cluster, name: str) -> None:
    model = ALL[name]()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        for rows in (1, 3, 17, 128, 2):
            session.check(rows, seed=rows)
        owner.tell("drop", model=number)


@pytest.mark.parametrize("rows", [2, 7, 64])
def test_batches_across_the_blocks_of_preprocessing(cluster: Cluster, rows: int) -> None:
    """Requests of ``rows`` rows are prepared in blocks of so many; queries begin and end inside of them."""
    model = truncated()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model, rows)
        for turn, size in enumerate((1, rows, rows + 1, 3 * rows - 1, 1)):
            session.check(size, seed=turn)
        owner.tell("drop", model=number)


def test_delays_and_bytes_are_those_declared(cluster: Cluster) -> None:
    model, queries = digits(), 4
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.share(model)
        before = [wire.call("status") for wire in owner.wires.values()]
        owner.serve(number, queries)  # no more than so many rows are prepared
        session = client.open(number, model)
        assert [session.check(seed=turn) for turn in range(queries)] == [12] * queries
        after = [wire.call("status") for wire in owner.wires.values()]
        for which in ("sent", "received"):
            total = sum(sum(a[which].values()) - sum(b[which].values()) for a, b in zip(after, before, strict=True))
            cost = program_cost(model.program)
            declared = queries * (cost.online_bytes + cost.preprocessing_bytes)
            assert declared <= total <= 1.02 * declared + 10_000
        owner.tell("drop", model=number)


def test_queries_may_overtake_their_answers(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        inputs = [model.input(1 + turn % 3, seed=turn) for turn in range(30)]
        starts = [session.send(x) for x in inputs]
        for x, start in reversed(list(zip(inputs, starts, strict=True))):
            np.testing.assert_allclose(session.collect(start)[0], model.plain(x), atol=0.01)
        owner.tell("drop", model=number)


def test_clients_at_the_same_time(cluster: Cluster) -> None:
    """Three connections of two clients, on two models, with all queries under way at once."""
    models = [perceptron(), truncated()]
    with cluster.owner() as owner:
        numbers = [owner.shared(model) for model in models]
        clients = [cluster.client("client"), cluster.client("mallory"), cluster.client("client")]
        opened = [c.open(numbers[i % 2], models[i % 2]) for i, c in enumerate(clients)]
        under_way = []
        for turn in range(8):
            for which, session in enumerate(opened):
                x = session.model.input(1 + turn, seed=10 * turn + which)
                under_way.append((session, x, session.send(x)))
        for session, x, start in reversed(under_way):
            np.testing.assert_allclose(session.collect(start)[0], session.model.plain(x), atol=0.01)
        for party in clients:
            party.close()
        for number in numbers:
            owner.tell("drop", model=number)


# ---- what the owner says ----


def test_nothing_is_served_that_is_not_shared_or_not_served(cluster: Cluster) -> None:
    model = dense()
    with cluster.owner() as owner, cluster.client() as client:
        with pytest.raises(NotSharedError, match="Its owner can share it again"):
            owner.serve(secrets.token_hex(16))
        with pytest.raises(NotSharedError):
            client.open(secrets.token_hex(16), model)
        number = owner.share(model)
        session = client.open(number, model)
        with pytest.raises(NotServedError, match="not served"):
            session.query(model.input(1))
        owner.serve(number, 1)
        session.check()
        owner.tell("drop", model=number)


@pytest.mark.parametrize("name", ["dense", "perceptron"])
def test_requests_are_counted_by_all_three_and_end_at_the_limit(cluster: Cluster, name: str) -> None:
    model = ALL[name]()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model, 3)
        session = client.open(number, model, rows=4)
        session.check(4)
        session.check(5)  # two requests of four rows
        assert [counted["served"] for counted in owner.counters(number)] == [3, 3, 3]
        assert [counted["serving"] for counted in owner.counters(number)] == [False] * 3
        for _ in range(2):
            with pytest.raises(NotServedError):
                session.query(model.input(1))
        owner.serve(number, 1)
        session.check(1)
        with pytest.raises(NotServedError):
            session.query(model.input(1))
        owner.serve(number)
        session.check(12)
        owner.tell("pause", model=number)
        with pytest.raises(NotServedError):
            session.query(model.input(1))
        owner.serve(number, 2)
        session.check(1)
        owner.tell("drop", model=number)


def test_a_query_of_more_requests_than_are_open_takes_none(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model, 2)
        session = client.open(number, model)
        with pytest.raises(NotServedError):
            session.query(model.input(3))
        session.check(2)
        assert [counted["served"] for counted in owner.counters(number)] == [2, 2, 2]
        owner.tell("drop", model=number)


def test_a_request_is_the_models_rows_where_it_fixes_them(cluster: Cluster) -> None:
    model = dense(rows=2)
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model, 3)
        session = client.open(number, model, rows=64)
        session.check(5)
        with pytest.raises(NotServedError):
            session.query(model.input(1))
        owner.tell("drop", model=number)


def test_the_answer_at_the_limit_is_not_held_back_by_a_query_too_many(cluster: Cluster) -> None:
    """One request is open and three queries are sent at once: exactly one is answered."""
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model, 1)
        session = client.open(number, model)
        x = model.input(1)
        starts = [session.send(x) for _ in range(3)]
        np.testing.assert_allclose(session.collect(starts[0])[0], model.plain(x), atol=0.01)
        for start in starts[1:]:
            with pytest.raises(NotServedError):
                session.collect(start)
        assert [counted["served"] for counted in owner.counters(number)] == [1, 1, 1]
        owner.tell("drop", model=number)


def test_describing_shows_the_public_side_and_nothing_else(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.share(model, "shown")
        for wire in client.wires.values():
            (described,) = wire.call("describe")["models"]
            assert set(described) == {"model", "name", "program", "serving"}
            assert (described["model"], described["name"], described["serving"]) == (number, "shown", False)
            assert Program.from_message(described["program"]) == model.program
        owner.tell("drop", model=number)


def test_a_model_is_shared_again_and_the_first_share_dropped(cluster: Cluster) -> None:
    first, second = perceptron(1), perceptron(2)
    with cluster.owner() as owner, cluster.client() as client:
        old, new = owner.shared(first), owner.shared(second)
        before, after = client.open(old, first), client.open(new, second)
        before.check()
        after.check()
        owner.tell("drop", model=old)
        with pytest.raises(NotConnectedError):
            before.query(first.input(1))
        with pytest.raises(NotSharedError):
            client.open(old, first)
        after.check()
        owner.tell("drop", model=new)


def test_an_owner_may_leave_and_come_back(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner:
        number = owner.shared(model, 4)
    with cluster.client() as client:
        session = client.open(number, model)
        session.check(2)
        with cluster.owner() as owner:
            assert [counted["served"] for counted in owner.counters(number)] == [2, 2, 2]
        session.check(2)
    with cluster.owner() as owner:
        owner.tell("drop", model=number)


def test_a_number_is_shared_once(cluster: Cluster) -> None:
    model = dense()
    with cluster.owner() as owner:
        number = owner.share(model)
        shares = sharing.share_weights(model.program, model.kernels, model.biases)
        with pytest.raises(SyfrError):
            owner.ask_all("share", *share_messages(model, shares, number))
        owner.tell("drop", model=number)


# ---- clients that are slow, or gone ----


def test_a_client_that_sends_half_a_frame_delays_nobody(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client, cluster.client("mallory") as slow:
        number = owner.shared(model)
        half = slow.open(number, model)
        data = half.frame(model.input(64), 0).encode()
        for server in SERVERS[:2]:
            connection = slow.wires[server].connection
            connection._unsent.append(memoryview(data[:50]))
            connection.flush()
        session = client.open(number, model)
        for turn in range(5):
            session.check(3, seed=turn)
        owner.tell("drop", model=number)


def test_a_client_that_does_not_read_delays_nobody(cluster: Cluster) -> None:
    model = dense(4, 2000)
    with cluster.owner() as owner, cluster.client() as client, cluster.client("mallory") as deaf:
        number = owner.shared(model)
        silent, session = deaf.open(number, model, 64), client.open(number, model)
        for _ in range(30):
            silent.send(model.input(64))
        for turn in range(5):
            session.check(3, seed=turn)
        owner.tell("drop", model=number)


def test_a_large_query_of_one_client_does_not_hold_up_anothers_small_ones(cluster: Cluster) -> None:
    model = digits()
    with cluster.owner() as owner, cluster.client() as client, cluster.client("mallory") as greedy:
        number = owner.shared(model)
        session, large = client.open(number, model), greedy.open(number, model)
        session.check()
        x = model.input(1024)
        start = large.send(x)
        session.check(seed=1)
        wire = greedy.wires["server0"]
        assert not wire.inbox
        assert not wire.connection.read(), "the small queries waited for the large one"
        np.testing.assert_allclose(large.collect(start)[0], model.plain(x), atol=0.01)
        owner.tell("drop", model=number)


@pytest.mark.parametrize("rows", [1, 300])
def test_a_client_that_vanishes_leaves_nothing(cluster: Cluster, rows: int) -> None:
    model = digits() if rows > 1 else perceptron()
    with cluster.owner() as owner:
        number = owner.shared(model, 1000)
        for _ in range(3):
            gone = cluster.client()
            session = gone.open(number, model)
            session.send(model.input(rows))
            gone.close()
        wait_for(lambda: sessions(cluster) == [0, 0, 0])
        wait_for(lambda: all(counted.get("running", 0) == 0 for counted in owner.counters(number)))
        with cluster.client() as client:
            client.open(number, model).check()
        owner.tell("drop", model=number)
    check_serving(cluster)


def test_a_session_that_is_closed_is_over(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        session.check()
        session.close()
        assert sessions(cluster) == [0, 0, 0]
        with pytest.raises(NotConnectedError):
            session.query(model.input(1))
        client.open(number, model).check()
        owner.tell("drop", model=number)


def test_sessions_of_a_connection_are_bounded(cluster: Cluster) -> None:
    model = dense()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        with pytest.raises(SyfrError, match="too many"):
            _open_many(client, number, model)
        owner.tell("drop", model=number)
    check_serving(cluster)


def _open_many(client: Client, number: str, model: Model) -> None:
    for _ in range(200):
        client.open(number, model)


def test_connections_that_come_and_go_leave_the_next_one_served(cluster: Cluster) -> None:
    for turn in range(40):
        wire = cluster.dial(SERVERS[turn % 3], "client")
        if turn % 2:
            wire.call("hello")
        wire.close()
    check_serving(cluster)


def test_a_query_fails_when_one_server_never_sees_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    patch = "from syfr.party import query\nquery.QUERY_SECONDS = 1.0"
    model = perceptron()
    with cluster_of(tmp_path_factory.mktemp("late"), all=patch) as cluster:
        with cluster.owner() as owner, cluster.client() as client:
            number = owner.shared(model, 5)
            session = client.open(number, model)
            x = model.input(1)
            client.wires["server0"].send(session.frame(x, 0))
            with pytest.raises(SyfrError, match=r"No answer in 1 s: server0 waits for server1"):
                session.part("server0", 0)
            assert [counted["served"] for counted in owner.counters(number)] == [0, 0, 0]
            session.next_row = 1
            client.open(number, model).check()
        check_serving(cluster)


def test_shutting_down_answers_first(tmp_path_factory: pytest.TempPathFactory) -> None:
    with cluster_of(tmp_path_factory.mktemp("down")) as cluster, cluster.owner() as owner:
        owner.tell("shutdown")
        for server in SERVERS:
            assert cluster.processes[server].wait(DEADLINE) == 0


@pytest.mark.slow
def test_managed_workers_end_with_their_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    with cluster_of(tmp_path_factory.mktemp("eof")) as cluster:
        for server in SERVERS:
            stdin = cluster.processes[server].stdin
            assert stdin is not None
            stdin.close()
            assert cluster.processes[server].wait(DEADLINE) == 0


def test_frames_of_unknown_kinds_end_their_connection_only(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.wires["server0"].send(Frame("gossip", {}))
        assert client.wires["server0"].ended()
        assert client.wires["server1"].call("hello")["ready"]
    check_serving(cluster)
