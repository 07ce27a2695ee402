"""Clients that vanish, never read, send half a frame, or come in crowds; and a disk that is full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_cluster import Hosts, Seen, answered, hosts_of
from syfr.errors import BusyError, ClosedError, ProtocolError, WorkerError
from syfr.face.client import Client
from workers import DEADLINE, SERVERS, dense, perceptron

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(300)

MODEL = perceptron()

NOT_KEPT = r"cannot be kept|could not keep"
SMALL_DISK = """
import resource
said = player._say
def limited(fields):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    said(fields)
player._say = limited
"""
"""No file of the worker may grow beyond this: the share of a larger model cannot be kept."""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three workers, and a model that is served."""
    with hosts_of(tmp_path_factory.mktemp("hosts")) as made:
        with made.owner() as owner:
            owner.shared(MODEL)
        yield made


@pytest.fixture
def client(hosts: Hosts) -> Iterator[Client]:
    """A client that has been answered before."""
    found = hosts.face(MODEL)
    assert answered(found, MODEL)
    yield found
    found.disconnect()


def status(hosts: Hosts) -> list[dict[str, Any]]:
    """What the workers say of themselves."""
    with hosts.owner() as owner:
        return [wire.call("status") for wire in owner.wires.values()]


def number_of(hosts: Hosts) -> str:
    """The number of the model that is served."""
    return str(status(hosts)[0]["models"][0]["model"])


@pytest.mark.fault("a client vanishes after sending")
def test_a_client_that_vanishes_after_sending(hosts: Hosts, client: Client, seen: Seen) -> None:
    number = number_of(hosts)
    with hosts.client("mallory") as vanishing:
        session = vanishing.open(number, MODEL)
        for _ in range(20):
            session.send(MODEL.input(4))
    seen.happens()
    assert answered(client, MODEL)
    seen.over()
    seen.tells("others: nothing")
    stop = time.monotonic() + DEADLINE
    while any(state["sessions"] != 1 or state["under_way"] for state in status(hosts)):
        assert time.monotonic() < stop, "its sessions and queries are left"
        time.sleep(0.05)


@pytest.mark.fault("a client sends half a frame, and then nothing, or goes")
@pytest.mark.parametrize("goes", [True, False])
def test_half_a_frame_of_a_client(hosts: Hosts, client: Client, seen: Seen, goes: bool) -> None:
    number = number_of(hosts)
    with hosts.client("mallory") as halving:
        session = halving.open(number, MODEL)
        frame = session.frame(MODEL.input(4), 0).encode()
        halving.wires["server0"].connection._sock.send(frame[: len(frame) // 2])
        if goes:
            halving.close()
        seen.happens()
        assert answered(client, MODEL)
        seen.over()
        seen.tells("others: nothing")


@pytest.mark.fault("a client never reads its answers")
def test_a_client_that_never_reads(tmp_path: Path, seen: Seen) -> None:
    """What waits for it is bounded; then its connection is closed. Others are answered all the time."""
    model = dense(3, 2000)
    patch = "from syfr.party import service\nfrom syfr.link import Limits\n"
    patch += "service.CLIENT_LIMITS = Limits(header=1 << 12, body=1 << 28, unsent=1 << 20)"
    with hosts_of(tmp_path, all=patch) as made, made.owner() as owner:
        number = owner.shared(model)
        other = made.face(model, "mallory")
        with made.client() as silent:
            session = silent.open(number, model, 64)
            assert [state["sessions"] for state in status(made)] == [2] * 3
            seen.happens()
            with contextlib.suppress(ClosedError):  # a worker may have had enough before all was sent
                for turn in range(100):
                    frame = session.frame(model.input(64), 64 * turn)
                    for server in SERVERS[:2]:
                        silent.wires[server].connection.send(frame)
            stop = time.monotonic() + DEADLINE
            while [state["sessions"] for state in status(made)] == [2] * 3:
                assert answered(other, model)
                assert time.monotonic() < stop, "a worker keeps all that is never read"
            seen.over()
        seen.tells("others: nothing")
        assert answered(other, model)
        other.disconnect()


@pytest.mark.fault("100 clients at once")
def test_a_hundred_clients_at_once(hosts: Hosts, seen: Seen) -> None:
    clients = [Client(hosts.described(), hosts.credentials.directory / name) for name in ("client", "mallory") * 50]
    seen.happens()
    connecting = [client.connecting((1, 12), (1, 4), timeout=100) for client in clients]
    assert all(task.wait(100) is None for task in connecting)
    x = MODEL.input(1)
    asking = [client.querying(x, timeout=100) for client in clients]
    pending = list(asking)
    while pending:
        pending = [task for task in pending if not task.step(0.001)]
    for task in asking:
        np.testing.assert_allclose(task.result(), MODEL.plain(x), atol=0.01)
    seen.over()
    seen.tells("the answer")
    for client in clients:
        client.disconnect()


def test_a_client_gets_no_more_with_many_connections(hosts: Hosts) -> None:
    """Queries that cannot end fill what one client may have under way, over all its connections."""
    number = number_of(hosts)
    refused = None
    several = [hosts.client("mallory") for _ in range(3)]
    sessions = [one.open(number, MODEL, 64) for one in several]
    for turn in range(150):
        session, one = sessions[turn % 3], several[turn % 3]
        one.wires["server0"].send(session.frame(MODEL.input(64), 64 * (turn // 3)))
    for one in several:
        frames = [frame for frame in one.wires["server0"].inbox if frame.kind == "failed"]
        if frames:
            refused = frames[0]
    if refused is None:
        refused = several[149 % 3].wires["server0"].get(lambda frame: frame.kind == "failed")
    assert refused.meta["code"] == BusyError.code
    assert "'mallory'" in refused.meta["message"]
    for one in several:
        one.close()


@pytest.mark.fault("the disk of the state directory is full")
def test_a_full_disk(tmp_path: Path, seen: Seen) -> None:
    large = dense(200, 40)
    with hosts_of(tmp_path, server1=SMALL_DISK) as made, made.owner() as owner:
        number = owner.shared(MODEL)
        client = made.face(MODEL)
        seen.error(lambda: owner.share(large, "large"), WorkerError, ProtocolError, match=NOT_KEPT)
        seen.happens()
        assert [one["name"] for state in status(made) for one in state["models"]] == ["model"] * 3
        assert answered(client, MODEL)
        seen.over()
        assert sorted(path.suffix for path in made.state("server1").iterdir()) == [".key", ".serving", ".share"]
        made.restart("server1")
        assert answered(client, MODEL), "what was kept before is kept"
        client.disconnect()
        owner.close()
        assert number in {state["models"][0]["model"] for state in status(made)}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k,mode=0700", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        made = Hosts(tmp_path, options={"server1": ["--state-dir", str(disk)]})
        try:
            made.start()
            made.wait_ready()
            with made.owner() as owner:
                owner.shared(MODEL)
                with pytest.raises((WorkerError, ProtocolError), match=NOT_KEPT):
                    owner.share(dense(400, 90), "large")
            client = made.face(MODEL)
            assert answered(client, MODEL)
            client.disconnect()
        finally:
            made.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.fault("10,000 queries in a row")
def test_ten_thousand_queries_in_a_row(hosts: Hosts, client: Client, seen: Seen) -> None:
    """Memory stays within 5 %, and no descriptor or thread is left open."""
    processes = [hosts.processes[name].pid for name in SERVERS]
    x = MODEL.input(1)

    def ask(count: int) -> None:
        for _ in range(count):
            assert abs(client.querying(x).wait(DEADLINE) - MODEL.plain(x)).max() < 0.01

    ask(1000)
    before = [(memory(pid), len(os.listdir(f"/proc/{pid}/fd"))) for pid in processes]
    own, threads = memory(os.getpid()), threading.active_count()
    seen.happens()
    ask(9000)
    seen.over()
    seen.tells("the answers")
    after = [(memory(pid), len(os.listdir(f"/proc/{pid}/fd"))) for pid in processes]
    for (was, files), (now, open_now) in zip(before, after, strict=True):
        assert now <= 1.05 * was
        assert open_now <= files
    assert memory(os.getpid()) <= 1.05 * own
    assert threading.active_count() == threads
