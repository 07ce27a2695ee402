"""Links between workers that break while queries run: what ends says so, and all goes on when the worker is back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from syfr.errors import DeadlineError, NotConnectedError, SyfrError, WorkerError
from workers import SERVERS, Cluster, Session, check_serving, cluster_of, digits, perceptron, wait_for


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers that give up a query after two seconds."""
    patch = "from syfr.party import query\nquery.QUERY_SECONDS = 2.0"
    with cluster_of(tmp_path_factory.mktemp("cluster"), all=patch) as made:
        yield made


@pytest.mark.parametrize("server", SERVERS)
def test_a_worker_that_dies_ends_sessions_and_comes_back(cluster: Cluster, server: str) -> None:
    model = perceptron()
    others = [other for other in SERVERS if other != server]
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        session.check()
        cluster.signal(server, signal.SIGKILL)
        wait_for(lambda: all(owner.wires[other].call("status")["sessions"] == 0 for other in others))
        for other in others:
            said = owner.wires[other].call("hello")
            assert said["ready"] is False
            assert said["waiting_for"] == [server]
            with pytest.raises(WorkerError):
                client.wires[other].call("open", (), **Session(client, number, model).fields()[other])
        for other in others:
            if other != "server2":
                client.wires[other].send(session.frame(model.input(1), 1))
                with pytest.raises(NotConnectedError, match="link between workers"):
                    session.part(other, 1)
    cluster.start(server)
    check_serving(cluster)


@pytest.mark.parametrize("server", SERVERS)
def test_a_worker_that_dies_during_a_query(cluster: Cluster, server: str) -> None:
    model = digits()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        session.check()
        start = session.send(model.input(512))
        cluster.signal(server, signal.SIGKILL)
        try:
            with pytest.raises(SyfrError, match=r"lost its link to|closed|not open"):
                session.part(next(other for other in SERVERS[:2] if other != server), start)
        finally:
            cluster.start(server)
    check_serving(cluster)


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_a_worker_that_dies_while_preprocessing_is_made(cluster: Cluster, server: str) -> None:
    """The dealer must outlive a server that goes while it is sent blocks, and a server a dealer that goes."""
    model = digits()
    for _ in range(2):
        with cluster.owner() as owner, cluster.client() as client:
            number = owner.shared(model)
            for _ in range(4):
                client.open(number, model, 64)
            cluster.signal(server, signal.SIGKILL)
            for other in SERVERS:
                if other != server:
                    assert owner.wires[other].call("hello")["role"] == other
        cluster.start(server)
        check_serving(cluster)


@pytest.mark.parametrize("server", SERVERS)
def test_a_worker_that_stands_still_ends_the_query_with_its_name(cluster: Cluster, server: str) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        session.check()
        cluster.signal(server, signal.SIGSTOP)
        try:
            other = next(other for other in SERVERS[:2] if other != server)
            start = session.send(model.input(1))
            with pytest.raises(DeadlineError, match=f"waits for {server}"):
                session.part(other, start)
        finally:
            cluster.signal(server, signal.SIGCONT)
        client.open(number, model).check()
    check_serving(cluster)


def test_a_model_of_a_worker_that_was_restarted_must_be_shared_again(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner:
        number = owner.shared(model)
    cluster.signal("server1", signal.SIGKILL)
    cluster.start("server1")
    cluster.wait_ready()
    with cluster.client() as client, pytest.raises(SyfrError):
        client.open(number, model)
    with cluster.owner() as owner:
        owner.tell("drop", model=number)
    check_serving(cluster)


@pytest.mark.slow
def test_links_have_new_keys_after_a_reconnect(tmp_path: Path) -> None:
    """One session number before and after: the parts of the answers have nothing in common."""
    model = perceptron()
    with cluster_of(tmp_path) as cluster:
        parts = []
        used = None
        for _ in range(2):
            with cluster.owner() as owner, cluster.client() as client:
                number = owner.shared(model)
                session = Session(client, number, model)
                if used is not None:
                    session.number, session.seeds = used.number, used.seeds
                session.open()
                start = session.send(model.input(1))
                parts.append(session.part("server0", start).arrays[0].tobytes())
                used = session
            for server in SERVERS:
                cluster.signal(server, signal.SIGKILL)
            cluster.start()
            cluster.wait_ready()
        assert parts[0] != parts[1]
