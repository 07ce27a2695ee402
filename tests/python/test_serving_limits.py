"""Budgets: requests of all clients and rows of each, counted by all three workers, whatever a client does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import syfr as sy
from syfr.errors import NotServedError, ProtocolError, SyfrError, ValueRangeError, WorkerError
from syfr.face.owner import SharedModel
from syfr.party.preprocessing import program_cost
from syfr.party.serving import Serving
from workers import DEADLINE, SERVERS, Cluster, Owner, cluster_of, perceptron

UNLIMITED = """
from syfr.party.serving import Serving
Serving.left = property(lambda self: None)
Serving.rows_left = lambda self, client: None
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers for the tests of this file."""
    with cluster_of(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def shared(owner: Owner, requests: int | None = None, per_client: object = None) -> str:
    """A perceptron that is served within limits."""
    number = owner.share(perceptron())
    owner.tell("serve", model=number, requests=requests, per_client=per_client)
    return number


# ---- with processes ----


def test_each_client_has_rows_of_its_own(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client, cluster.client("mallory") as mallory:
        number = shared(owner, per_client=5)
        session = client.open(number, model)
        session.check(3)
        session.check(2)
        with pytest.raises(NotServedError, match=r"for 5 row\(s\) \(per_client\), 'client' has 0 left, and the"):
            session.check(1)
        mallory.open(number, model).check(5)
        for seen in owner.counters(number):
            assert (seen["per_client"], seen["clients"]) == (5, {"client": 5, "mallory": 5})
            assert seen["serving"]


def test_a_refused_query_leaves_the_budget_and_the_session_as_they_were(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = shared(owner, per_client=4)
        session = client.open(number, model)
        with pytest.raises(NotServedError, match=r"has 4 left, and the query has 5"):
            session.check(5)
        session.check(4)
        assert [seen["clients"] for seen in owner.counters(number)] == [{"client": 4}] * 3


def test_nothing_is_prepared_for_rows_of_refused_queries(cluster: Cluster) -> None:
    """Though there are more of them than the workers prepare for one query."""
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = shared(owner, requests=1)
        session = client.open(number, model, 256)
        session.check(256)
        for _ in range(36):
            with pytest.raises(NotServedError):
                session.check(256)
        before = dealt(owner)
        owner.serve(number)
        session.check(256)
        query = 256 * program_cost(model.program).preprocessing_bytes
        assert query <= dealt(owner) - before < 4 * query  # for this one, and some ahead


def test_a_query_that_one_worker_has_refused_does_not_begin_at_the_other(cluster: Cluster) -> None:
    """Though its frame comes there later."""
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        owner.wires["server1"].call("pause", model=number)
        frame = session.frame(model.input(1), 0)
        client.wires["server1"].send(frame)
        with pytest.raises(NotServedError):
            session.part("server1", 0)
        time.sleep(0.2)
        client.wires["server0"].send(frame)
        with pytest.raises(NotServedError):
            session.part("server0", 0)
        owner.serve(number)
        session.next_row = 1
        session.check()


def dealt(owner: Owner) -> int:
    """Bytes that the dealer has sent server1."""
    sent: int = owner.wires["server2"].call("status")["sent"]["server1"]
    return sent


def test_sessions_and_reconnects_give_no_new_budget(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner:
        number = shared(owner, per_client=3)
        with cluster.client() as first, cluster.client() as second:
            first.open(number, model).check()
            first.open(number, model).check()
            second.open(number, model).check()
        for _ in range(2):
            with cluster.client() as again:
                session = again.open(number, model)
                with pytest.raises(NotServedError):
                    session.check()
        for server in SERVERS[:2]:  # nor does asking one server only, or the servers one after the other
            with cluster.client() as client:
                session = client.open(number, model)
                client.wires[server].send(session.frame(model.input(1), 0))
                with pytest.raises(NotServedError):
                    session.part(server, 0)
        assert [seen["clients"] for seen in owner.counters(number)] == [{"client": 3}] * 3


def test_opening_again_begins_again_for_every_client(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = shared(owner, per_client=1)
        session = client.open(number, model)
        session.check()
        owner.tell("serve", model=number, requests=None, per_client=2)
        session.check(2)
        with pytest.raises(NotServedError):
            session.check()
        owner.tell("serve", model=number, requests=None)
        session.check(9)
        assert [seen["per_client"] for seen in owner.counters(number)] == [None] * 3


def test_both_limits_hold(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client, cluster.client("mallory") as mallory:
        number = shared(owner, requests=3, per_client=2)
        session = client.open(number, model)
        session.check()
        session.check()
        with pytest.raises(NotServedError, match="per_client"):
            session.check()
        other = mallory.open(number, model)
        other.check()
        with pytest.raises(NotServedError, match=r"0 are open\. Its owner can serve it again"):
            other.check()


def test_queries_that_run_at_once_share_the_budget(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = shared(owner, per_client=3)
        sessions = [client.open(number, model) for _ in range(5)]
        asked = [(session, session.send(model.input(1))) for session in sessions]
        outcomes = []
        for session, start in asked:
            try:
                session.collect(start)
                outcomes.append(True)
            except NotServedError:
                outcomes.append(False)
        assert sum(outcomes) == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, 1 << 60])
def test_a_budget_that_is_no_number_of_rows_is_refused(cluster: Cluster, value: object) -> None:
    with cluster.owner() as owner, pytest.raises(ProtocolError, match="per_client"):
        shared(owner, per_client=value)


def test_the_owner_opens_both_limits_from_its_session(cluster: Cluster) -> None:
    model = perceptron()
    workers = [sy.TFEWorker(address, auto_managed=False) for address in cluster.hosts.values()]
    described = sy.TFECluster(*workers, credentials=cluster.credentials.directory)
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.share(model)
        face = SharedModel(described, number, "model", model.program)
        face.open_serving(3.0, per_client=2.0).wait(DEADLINE)
        assert [(seen["requests"], seen["per_client"]) for seen in owner.counters(number)] == [(3, 2)] * 3
        session = client.open(number, model)
        session.check()
        serving = face.serving(1, 1)
        while not any(seen["requests"] == 1 for seen in owner.counters(number)):
            serving.step(0.01)
        session.check()
        assert serving.wait(DEADLINE) == 1
        with pytest.raises(ValueRangeError, match="per_client is 0"):
            face.serving(None, 0)
    described.stop()


@pytest.mark.parametrize("honest", ["server0", "server2"])
def test_one_worker_that_counts_is_enough(tmp_path: Path, honest: str) -> None:
    model = perceptron()
    patches = {name: UNLIMITED for name in SERVERS if name != honest}
    with cluster_of(tmp_path, **patches) as careless, careless.owner() as owner, careless.client() as client:
        budget, limit = shared(owner, per_client=2), shared(owner, requests=2)
        for number in (budget, limit):
            session = client.open(number, model)
            session.check()
            session.check()
            with pytest.raises(NotServedError):
                session.check()
            owner.tell("serve", model=number, requests=None, per_client=None)
            session.check()  # the rows that one worker has refused are no concern of the next query


# ---- the counters ----


def opened(requests: int | None = None, per_client: int | None = None) -> Serving:
    serving = Serving("m")
    serving.open(requests, per_client)
    return serving


def test_what_fails_is_given_back_and_what_is_answered_is_not() -> None:
    serving = opened(5, 4)
    first, second = serving.reserve("a", 2, 3), serving.reserve("b", 2, 2)
    assert (serving.left, serving.rows_left("a"), serving.rows_left("b"), serving.rows_left("c")) == (1, 1, 2, 4)
    serving.release(first)
    serving.commit(second)
    assert (serving.left, serving.rows_left("a"), serving.rows_left("b"), serving.served) == (3, 4, 2, 2)


@pytest.mark.parametrize("end", [Serving.release, Serving.commit])
def test_a_query_counts_for_the_opening_in_which_it_began(end: Callable[..., None]) -> None:
    serving = opened(2, 2)
    claim = serving.reserve("a", 2, 2)
    serving.open(1, 1)
    end(serving, claim)
    assert (serving.left, serving.rows_left("a"), serving.served, serving.reserved) == (1, 1, 0, 0)


def test_what_was_kept_is_gone_on_with_and_running_queries_count() -> None:
    serving = opened(4, 3)
    serving.commit(serving.reserve("a", 1, 1))
    serving.reserve("a", 1, 1)
    again = Serving("m")
    again.restore(serving.to_fields())
    assert (again.on, again.left, again.rows_left("a"), again.rows_left("b")) == (True, 2, 1, 3)
    again.commit(again.reserve("b", 2, 3))
    last = Serving("m")
    last.restore(again.to_fields())
    assert (last.on, last.left) == (False, 0)


@pytest.mark.parametrize("change", [{"used": -1}, {"limit": "3"}, {"per_client": 0}, {"rows": {"a": "b"}}, {"rows": 3}])
def test_counters_that_cannot_be_read_keep_serving_closed(change: dict[str, object]) -> None:
    serving = Serving("m")
    with pytest.raises(ProtocolError):
        serving.restore(opened(4, 3).to_fields() | change)
    assert not serving.on


def test_a_query_does_not_begin_when_it_cannot_be_recorded() -> None:
    writes = []

    def keep() -> None:
        writes.append(serving.to_fields())
        if full:
            raise WorkerError("no room")

    full = False
    serving = Serving("m", keep)
    serving.open(3, 3)
    full = True
    for action in (lambda: serving.reserve("a", 1, 1), lambda: serving.open(9, 9), serving.close):
        with pytest.raises(SyfrError):
            action()
        assert serving.reserved == 0
    assert not serving.on
    assert len(writes) == 4


def test_without_limits_a_query_writes_nothing() -> None:
    writes = []
    serving = Serving("m", lambda: writes.append(secrets.token_bytes(1)))
    serving.open(None, None)
    serving.commit(serving.reserve("a", 1, 1))
    serving.release(serving.reserve("a", 1, 1))
    assert len(writes) == 1
