"""Workers that are killed, stopped or told to end, at every step of a query: nothing hangs, nothing is lost.

The workers are as on hosts of their own: started by hand, with their shares on disk. After each fault the same client
goes on, without the owner, once the worker runs again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_cluster import Hosts, Seen, answered, hosts_of
from syfr.errors import (
    BusyError,
    ClosedError,
    DeadlineError,
    NotConnectedError,
    NotReadyError,
    SyfrError,
    UnreachableError,
)
from syfr.face.client import Client
from workers import DEADLINE, SERVERS, Owner, perceptron

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(300)

GONE = (UnreachableError, NotReadyError, ClosedError, NotConnectedError)
MODEL = perceptron()
MESSAGES = {"server0": 3, "server1": 3, "server2": 2}
"""Messages that each worker sends for one query of the model."""

QUICK = {("server0", 2), ("server2", 1)}
"""Those at which it is killed also without the slow tests."""

DIES = """
import os, signal
from pathlib import Path
from syfr.party import queries
def count(transmit):
    def counted(self, *given):
        where = Path(os.environ["SYFR_TEST_DIES"])
        left = int(where.read_text() or 0) if where.exists() else 0
        if left:
            where.write_text(str(left - 1))
        if left == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        transmit(self, *given)
    return counted
queries.LinkChannel.transmit = count(queries.LinkChannel.transmit)
"""
"""A worker that is killed in the place of sending the n-th message of a query, n being the content of a file."""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three workers that can be told when to die."""
    directory = tmp_path_factory.mktemp("hosts")
    each = {
        name: f"import os\nos.environ['SYFR_TEST_DIES'] = {str(directory / name)!r} + '.dies'\n{DIES}"
        for name in SERVERS
    }
    with hosts_of(directory, **each) as made:
        yield made


@pytest.fixture(scope="module")
def number(hosts: Hosts) -> str:
    """A model that was shared and served; its owner has gone since."""
    with hosts.owner() as owner:
        return owner.shared(MODEL)


@pytest.fixture
def client(hosts: Hosts, number: str) -> Iterator[Client]:
    """A client that has been answered before."""
    for name in SERVERS:
        if not hosts.alive(name):
            hosts.restart(name)
    hosts.wait_ready()
    found = hosts.face(MODEL)
    assert answered(found, MODEL)
    yield found
    found.disconnect()


def served(hosts: Hosts, number: str) -> list[int]:
    """What each worker has counted."""
    with Owner(hosts) as owner:
        return [int(counted["served"]) for counted in owner.counters(number)]


@pytest.mark.fault("a worker is killed while idle, and started again by hand")
@pytest.mark.parametrize("name", ["server1", *(pytest.param(name, marks=pytest.mark.slow) for name in SERVERS[::2])])
def test_killed_while_idle(hosts: Hosts, client: Client, seen: Seen, name: str) -> None:
    hosts.signal(name, signal.SIGKILL)
    seen.error(lambda: client.querying(MODEL.input(1), timeout=1.5).wait(DEADLINE), *GONE, match=name)
    seen.happens()
    hosts.restart(name)
    assert answered(client, MODEL)
    seen.over()


@pytest.mark.fault("a worker is killed during a query, at each of its messages")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(name, message, marks=() if (name, message) in QUICK else pytest.mark.slow)
        for name in SERVERS
        for message in range(1, MESSAGES[name] + 1)
    ],
)
def test_killed_at_a_message(
    hosts: Hosts, number: str, client: Client, seen: Seen, name: str, message: int
) -> None:
    """The client asks once: its query is asked again when the worker is back, for nothing of it was released."""
    before = served(hosts, number)
    (hosts.directory / f"{name}.dies").write_text(str(message))
    asking = client.querying(MODEL.input(2), timeout=DEADLINE)
    while hosts.processes[name].poll() is None:
        assert not asking.step(0.01), "the worker has not died"
    seen.happens()
    hosts.ended(name)
    hosts.start(name)
    answer = asking.wait(DEADLINE)
    assert abs(answer - MODEL.plain(MODEL.input(2))).max() < 0.01
    seen.over()
    seen.tells("the answer, late")
    after = served(hosts, number)
    assert all(new <= old + 2 + 2 for old, new in zip(before, after, strict=True)), "only what was released counts"


def test_the_messages_are_all_that_a_worker_sends(hosts: Hosts, client: Client) -> None:
    """So the test above kills at every step."""
    for name in SERVERS:
        (hosts.directory / f"{name}.dies").write_text("1000")
    assert answered(client, MODEL)
    left = {name: int((hosts.directory / f"{name}.dies").read_text()) for name in SERVERS}
    assert {name: 1000 - count for name, count in left.items()} == MESSAGES
    for name in SERVERS:
        (hosts.directory / f"{name}.dies").unlink()


@pytest.mark.fault("a worker is killed while a model is shared")
@pytest.mark.parametrize("name", ["server2", *(pytest.param(name, marks=pytest.mark.slow) for name in SERVERS[:2])])
def test_killed_while_sharing(hosts: Hosts, client: Client, seen: Seen, name: str) -> None:
    with hosts.owner() as owner:
        hosts.processes[name].send_signal(signal.SIGSTOP)
        killing = threading.Timer(0.3, lambda: hosts.processes[name].kill())
        killing.start()
        seen.error(lambda: owner.share(MODEL, "another"), SyfrError)
    seen.happens()
    hosts.ended(name)
    hosts.start(name)
    hosts.wait_ready()
    with hosts.owner() as owner:
        held = [[one["name"] for one in wire.call("status")["models"]] for wire in owner.wires.values()]
        assert held == [["model"]] * 3, "nothing is half shared"
        owner.tell("drop", model=owner.share(MODEL, "another"))
    assert answered(client, MODEL)
    seen.over()


@pytest.mark.fault("a worker hangs")
def test_a_worker_hangs(hosts: Hosts, client: Client, seen: Seen) -> None:
    hosts.processes["server1"].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    seen.error(
        lambda: client.querying(MODEL.input(1), timeout=1).wait(DEADLINE), DeadlineError, match="waits for server1"
    )
    assert time.monotonic() - began < DEADLINE
    hosts.processes["server1"].send_signal(signal.SIGCONT)
    seen.happens()
    assert answered(client, MODEL)
    seen.over()


@pytest.mark.fault("a worker is told to end (SIGTERM) during a query")
@pytest.mark.parametrize("name", ["server0", pytest.param("server2", marks=pytest.mark.slow)])
def test_told_to_end(hosts: Hosts, number: str, client: Client, seen: Seen, name: str) -> None:
    """It finishes what runs, refuses what is new, and exits with 0; the others serve again when it is back."""
    asking = client.querying(MODEL.input(256), timeout=DEADLINE)
    other = hosts.face(MODEL)
    asking.step(0.0)
    hosts.processes["server1"].send_signal(signal.SIGSTOP)  # so that it does not end at once
    time.sleep(0.1)
    hosts.processes[name].send_signal(signal.SIGTERM)
    time.sleep(0.2)
    hosts.processes["server1"].send_signal(signal.SIGCONT)
    assert abs(asking.wait(DEADLINE) - MODEL.plain(MODEL.input(256))).max() < 0.01, "what ran is finished"
    seen.error(lambda: other.querying(MODEL.input(1), timeout=1).wait(DEADLINE), *GONE, BusyError, match=name)
    assert hosts.ended(name) == 0
    seen.happens()
    hosts.start(name)
    assert answered(other, MODEL)
    seen.over()
    other.disconnect()


def test_told_to_end_while_a_query_cannot(hosts: Hosts, client: Client) -> None:
    """A query whose other worker is silent does not keep it beyond ten seconds."""
    hosts.processes["server1"].send_signal(signal.SIGSTOP)
    asking = client.querying(MODEL.input(1), timeout=DEADLINE)
    asking.step(0.2)
    began = time.monotonic()
    hosts.processes["server0"].send_signal(signal.SIGTERM)
    assert hosts.ended("server0") == 0
    assert time.monotonic() - began < 10
    asking.cancel()
    hosts.processes["server1"].send_signal(signal.SIGCONT)


@pytest.mark.fault("the owner vanishes while serving")
def test_the_owner_vanishes(hosts: Hosts, client: Client, seen: Seen) -> None:
    owner = hosts.owner()
    number = owner.shared(MODEL, 2)
    seen.happens()
    for wire in owner.wires.values():
        wire.connection._sock.detach()  # not even an end of the connection is sent
    with hosts.client() as asks:
        asks.open(number, MODEL).check()
    assert answered(client, MODEL)
    seen.over()
    seen.tells("clients: nothing")
    with hosts.owner() as later:
        assert [counted["served"] for counted in later.counters(number)] == [1, 1, 1]
        later.tell("drop", model=number)


@pytest.mark.fault("all three workers are killed at once, and started again by hand")
def test_all_are_killed(hosts: Hosts, client: Client, seen: Seen) -> None:
    for name in SERVERS:
        os.kill(hosts.processes[name].pid, signal.SIGKILL)
    seen.error(lambda: client.querying(MODEL.input(1), timeout=1).wait(DEADLINE), *GONE)
    for name in SERVERS:
        hosts.ended(name)
    seen.happens()
    hosts.start()
    assert answered(client, MODEL)
    seen.over()


@pytest.mark.fault("the worker's port is taken by another program")
def test_a_port_that_is_taken(hosts: Hosts, client: Client, seen: Seen, tmp_path: Path) -> None:
    """A worker that is started twice, by hand: the second says why it cannot start, and harms nobody."""
    second = hosts._launch("server0")
    said, _ = second.communicate(timeout=DEADLINE)
    assert second.returncode == 1
    assert b"port_in_use" in said
    assert b"is taken by another program. Stop it or choose another port." in said
    seen.tells("port_in_use: The address HOST:PORT is taken by another program. Stop it or choose another port.")
    seen.happens()
    assert answered(client, MODEL)
    seen.over()
