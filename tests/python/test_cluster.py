"""Clusters: described, started, attached to, looked at, stopped; and ended with the session whatever happens to it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import syfr as sy
from cluster_processes import START, described, exists, pids, running, wait_until
from fault_cluster import Seen
from syfr import hosts
from syfr.errors import (
    CredentialsError,
    DeadlineError,
    InputTypeError,
    PortInUseError,
    UnreachableError,
    ValueRangeError,
    WorkerError,
)
from syfr.face import managed, starting
from syfr.face.cluster import cluster_argument
from syfr.face.tasks import Task
from syfr.trust.credentials import create_credentials
from syfr.trust.identity import SERVERS

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(150)

# ---- describing ----


def test_describing_touches_nothing(home: Path) -> None:
    cluster = described([4000, 4001, 4002])
    assert cluster.addresses == {"server0": "localhost:4000", "server1": "localhost:4001", "server2": "localhost:4002"}
    assert repr(cluster) == "TFECluster(server0=localhost:4000, server1=localhost:4001, server2=localhost:4002)"
    assert not cluster.started
    assert cluster.directory.is_relative_to(home)
    assert not list(home.iterdir())


def test_who_has_no_owners_credentials_is_told_where_they_come_from(home: Path) -> None:
    cluster = sy.local_cluster()
    with pytest.raises(CredentialsError, match=r"only its owner may ask this\. Start the cluster first"):
        cluster.owner_bundle()
    with socket.socket() as anothers:
        anothers.bind(("127.0.0.1", 0))
        anothers.listen()
        cluster = sy.TFECluster(sy.TFEWorker(f"localhost:{anothers.getsockname()[1]}"), *cluster.workers[1:])
        with pytest.raises(CredentialsError, match=r"may ask this.* with the folder that holds them as `credentials`"):
            cluster.owner_bundle()


def test_hosts_without_ports_get_them_in_turn() -> None:
    cluster = sy.TFECluster(*(sy.TFEWorker(host) for host in ("localhost", "LocalHost", "[::1]")))
    assert list(cluster.addresses.values()) == ["localhost:4000", "localhost:4001", "[::1]:4002"]


def test_workers_without_hosts_get_free_ports_when_they_are_asked_for() -> None:
    cluster = sy.local_cluster()
    assert repr(cluster).count("a free local port") == 3
    addresses = cluster.addresses
    assert cluster.addresses == addresses
    assert len(set(addresses.values())) == 3


def test_the_dealer_may_be_named(home: Path) -> None:
    a, b, c = (sy.TFEWorker(f"localhost:{port}") for port in (1, 2, 3))
    assert sy.TFECluster(a, b, crypto_provider=c).addresses["server2"] == "localhost:3"
    with pytest.raises(InputTypeError, match="name the same worker"):
        sy.TFECluster(a, b, c, crypto_provider=c)


@pytest.mark.parametrize("given", [(1, 2, 3), ("localhost:1", "localhost:2", "localhost:3"), (None, None, None)])
def test_other_things_are_no_workers(given: tuple[Any, Any, Any]) -> None:
    with pytest.raises(InputTypeError, match=r"server0 is not a worker.*TFEWorker"):
        sy.TFECluster(*given)


def test_two_workers_at_one_address() -> None:
    with pytest.raises(InputTypeError, match="Two workers have the address localhost:4000"):
        described([4000, 4000, 4001])


@pytest.mark.parametrize("host", ["localhost:0", "localhost:70000", "a b", 3, ""])
def test_addresses_that_cannot_be(host: Any) -> None:
    with pytest.raises(InputTypeError):
        sy.TFEWorker(host)


def test_a_worker_by_hand_needs_an_address() -> None:
    with pytest.raises(InputTypeError, match="needs an address"):
        sy.TFEWorker(auto_managed=False)
    with pytest.raises(InputTypeError, match="auto_managed"):
        sy.TFEWorker("localhost", auto_managed=3)  # type: ignore[arg-type]


def test_a_cluster_or_three_workers() -> None:
    cluster = described([1, 2, 3])
    assert cluster_argument((cluster,)) is cluster
    assert cluster_argument(cluster.workers).addresses == cluster.addresses
    assert cluster_argument((list(cluster.workers),)).addresses == cluster.addresses
    for given in [(), (cluster, cluster), (cluster.workers[0],), (3,)]:
        with pytest.raises(InputTypeError, match="three workers"):
            cluster_argument(given)


def test_which_hosts_are_this_machine() -> None:
    assert all(map(hosts.is_local, ("localhost", "127.0.0.1", "127.1.2.3", "::1", socket.gethostname().lower())))
    assert not any(map(hosts.is_local, ("example.org", "192.0.2.1", "2001:db8::1")))


# ---- starting ----


def test_starting_and_stopping(home: Path) -> None:
    cluster = described()
    task = cluster.starting(START)
    task.wait()
    events = task.events()
    assert sorted(event["worker"] for event in events if event["event"] == "worker_starting") == list(SERVERS)
    assert sorted(event["worker"] for event in events if event["event"] == "worker_ready") == list(SERVERS)
    assert cluster.started
    status = cluster.status()
    assert [report["worker"] for report in status] == list(SERVERS)
    assert all(report["running"] and report["ours"] and report["managed"] for report in status)
    config = cluster.directory / "run" / "cluster.json"
    assert json.loads(config.read_text()) == cluster.addresses
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.parent.stat().st_mode) == 0o700
    processes = pids(cluster)
    report = cluster.stop()
    assert [(item["worker"], item["stopped"]) for item in report] == [(role, True) for role in SERVERS]
    assert not any(map(exists, processes))
    assert not cluster.started
    assert not (cluster.directory / "run").exists()
    assert all(not report["running"] for report in cluster.status())
    assert "does not answer" in cluster.status()[0]["problem"]


def test_stopping_what_was_not_started(home: Path) -> None:
    assert all(item["stopped"] for item in described().stop())


def test_a_cluster_on_free_ports_leaves_nothing_behind(home: Path) -> None:
    with running(sy.local_cluster()) as cluster:
        assert cluster.directory.exists()
    assert not list((home / "R" / "syfr" / "clusters").iterdir())


def test_starting_twice_and_from_a_second_description_attaches(home: Path) -> None:
    with running(described()) as cluster:
        processes = pids(cluster)
        cluster.start(START)
        again = described([int(address.rpartition(":")[2]) for address in cluster.addresses.values()])
        task = again.starting(START)
        task.wait()
        assert not [event for event in task.events() if event["event"] == "worker_starting"]
        assert pids(again) == pids(cluster) == processes
        del cluster
        assert all(map(exists, processes)), "a second description of this session keeps its workers"
        assert all(item["stopped"] for item in again.stop())
    assert not any(map(exists, processes))


def test_a_second_description_knows_and_stops_what_this_session_has_started(home: Path) -> None:
    with running(described()) as cluster:
        processes = pids(cluster)
        again = described([int(address.rpartition(":")[2]) for address in cluster.addresses.values()])
        assert all(report["ours"] for report in again.status())
        assert all(item["stopped"] for item in again.stop())
    assert not any(map(exists, processes))
    assert not any(report["ours"] for report in again.status())


def test_one_worker_that_has_died_is_started_again_by_the_next_call(home: Path) -> None:
    with running(described()) as cluster:
        before = pids(cluster)
        os.kill(before[1], signal.SIGKILL)
        wait_until(lambda: not exists(before[1]))
        task = Task(lambda emit: cluster.ask_all("status", time.monotonic() + 60, emit=emit))
        task.wait(60)
        ended = next(event for event in task.events() if event["event"] == "worker_ended")
        assert ended["worker"] == "server1"
        assert "has ended (exit status -9)" in ended["reason"]
        after = pids(cluster)
        assert [after[0], after[2]] == [before[0], before[2]]
        assert after[1] != before[1]
        assert cluster.restarts == 1


@pytest.mark.fault("a port that a worker of this session needs is taken")
def test_a_port_in_use(home: Path, seen: Seen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = hosts.free_ports(2)
        cluster = described([free[0], port, free[1]])
        taken.listen()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(starting, "PROBE_SECONDS", 0.5)
            taken_by = f"localhost:{port}, the address of server1, is taken"
            seen.error(lambda: cluster.start(START), PortInUseError, match=taken_by)
    assert not cluster.started
    assert not any(report["running"] for report in cluster.status()), "what was started is ended when starting fails"


@pytest.mark.fault("two clusters on one port")
def test_a_worker_of_another_cluster_is_in_the_way(home: Path, tmp_path: Path, seen: Seen) -> None:
    with running(described()) as cluster:
        ports = [int(address.rpartition(":")[2]) for address in cluster.addresses.values()]
        other = sy.TFECluster(*cluster.workers, credentials=tmp_path / "other")
        seen.error(lambda: other.start(START), PortInUseError, match="another cluster or user")
        rotated = described([ports[1], ports[0], ports[2]])
        with pytest.raises(PortInUseError, match="is taken"):
            rotated.start(START)


def test_a_worker_that_ends_at_this_moment_is_waited_for(home: Path) -> None:
    """What hangs up may be a worker whose session has just ended: then the port is soon free."""
    ports = hosts.free_ports(3)
    cluster = described(ports)
    with socket.create_server(("127.0.0.1", ports[1])) as ending:

        def hang_up() -> None:
            for _ in range(2):
                ending.accept()[0].close()
            ending.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with running(cluster):
            assert all(report["running"] for report in cluster.status())
        thread.join(10)


def test_a_managed_worker_elsewhere_is_refused(home: Path) -> None:
    cluster = sy.TFECluster(sy.TFEWorker("localhost"), sy.TFEWorker("192.0.2.1"), sy.TFEWorker("localhost"))
    with pytest.raises(InputTypeError, match=r"server1 at 192\.0\.2\.1:4001 is not on this.* as not auto_managed, and"):
        cluster.starting()
    assert not list(home.iterdir())


@pytest.mark.parametrize("timeout", [0, -1, "soon"])
def test_timeouts_that_cannot_be(timeout: Any) -> None:
    with pytest.raises((InputTypeError, ValueRangeError), match="timeout"):
        described().starting(timeout)


@pytest.mark.parametrize("give_up", ["deadline", "cancel"])
def test_a_start_that_takes_too_long_or_is_cancelled_leaves_no_process(
    home: Path, monkeypatch: pytest.MonkeyPatch, give_up: str
) -> None:
    started: list[managed.ManagedWorker] = []
    make = managed.ManagedWorker.__init__

    def remember(self: managed.ManagedWorker, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        started.append(self)

    monkeypatch.setattr(managed.ManagedWorker, "__init__", remember)
    task = described().starting(0.2 if give_up == "deadline" else START)
    if give_up == "deadline":
        with pytest.raises(DeadlineError, match="did not start in time"):
            task.wait(60)
    else:
        while len(started) < 3:
            task.step(0.01)
        task.cancel()
    assert len(started) == 3
    assert not any(worker.running for worker in started)


def test_a_worker_that_fails_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = described()
    with running(cluster):
        pass
    (cluster.directory / "server1" / "key.pem").chmod(0o644)
    with pytest.raises(CredentialsError, match=r"key\.pem can be read or changed by others"):
        cluster.start(START)
    (cluster.directory / "server1" / "key.pem").chmod(0o600)
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    with pytest.raises(WorkerError, match=r"(?s)has ended \(exit status 1\).*Its log ends:\n.*Python"):
        cluster.start(START)


def test_the_workers_python_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Path(sys.executable)
    assert managed.python_executable() == str(expected)
    monkeypatch.setattr(sys, "executable", "/usr/lib/R/bin/exec/R")
    assert Path(managed.python_executable()).parent == Path(sys.prefix) / "bin"
    monkeypatch.setattr(sys, "executable", "")
    assert Path(managed.python_executable()).parent == Path(sys.prefix) / "bin"


def test_the_environment_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/lib/R/lib")
    monkeypatch.delenv("R_HOME", raising=False)
    monkeypatch.delenv("SYFR_LIBRARY_PATH", raising=False)
    environment = managed.child_environment()
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(Path(sy.__file__).parents[1]), "/somewhere"]
    assert environment["LD_LIBRARY_PATH"] == "/usr/lib/R/lib"
    assert managed.child_environment("/python")["LD_LIBRARY_PATH"] == "/python:/usr/lib/R/lib"
    monkeypatch.setenv("SYFR_LIBRARY_PATH", "/ours")
    assert managed.child_environment()["LD_LIBRARY_PATH"] == "/ours:/usr/lib/R/lib"
    assert managed.child_environment("/python")["LD_LIBRARY_PATH"] == "/python:/usr/lib/R/lib"


# ---- by hand ----


def start_by_hand(stack: ExitStack, event: dict[str, Any], env: dict[str, str]) -> subprocess.Popen[bytes]:
    words = [word for word in shlex.split(event["command"]) if "=" not in word]
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(words, env=env, stdin=nothing, stdout=nothing, stderr=nothing)
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)
    return process


def test_workers_by_hand_and_a_managed_one(home: Path, child_env: dict[str, str]) -> None:
    ports = hosts.free_ports(3)
    workers = [sy.TFEWorker(f"localhost:{port}", auto_managed=port == ports[2]) for port in ports]
    cluster = sy.TFECluster(*workers)
    task = cluster.starting(START)
    env = {**child_env, "R_USER_DATA_DIR": str(home)}
    with ExitStack() as stack:
        commands: dict[str, dict[str, Any]] = {}
        while not task.step(0.1):
            for event in task.events():
                if event["event"] == "manual_command":
                    commands[event["worker"]] = event
                    start_by_hand(stack, event, env)
        task.result()
        assert sorted(commands) == ["server0", "server1"]
        assert all(event["host"] == "localhost" and "copy" not in event for event in commands.values())
        stopping = cluster.stopping()
        report = stopping.wait()
        assert [item["stopped"] for item in report] == [False, False, True]
        assert "started by hand on this machine" in report[0]["remedy"]
        assert [event["event"] for event in stopping.events()] == ["worker_left", "worker_left", "worker_stopped"]
        again = sy.TFECluster(*workers)
        with running(again):
            assert [item["ours"] for item in again.status()] == [False, False, True]


def test_workers_by_hand_that_nobody_starts(home: Path) -> None:
    cluster = described(auto_managed=False)
    task = cluster.starting(0.5)
    with pytest.raises(UnreachableError, match=r"server0 at \S+ and server1 at \S+ and server2 at \S+ did not answer"):
        task.wait(60)


def test_the_command_for_another_host(home: Path) -> None:
    workers = [sy.TFEWorker("localhost"), sy.TFEWorker("192.0.2.1:9", auto_managed=False), sy.TFEWorker("localhost")]
    cluster = sy.TFECluster(*workers)
    create_credentials(cluster.directory, cluster.addresses)
    starting.write_config(cluster.addresses, cluster.directory)
    told = starting.manual_command("server1", "192.0.2.1:9", cluster.directory)
    assert told == {
        "host": "192.0.2.1",
        "copy": str(cluster.directory / "server1"),
        "command": "python -m syfr.player --config server1/cluster.json --credentials server1 server1",
    }
    assert json.loads((cluster.directory / "server1" / "cluster.json").read_text()) == cluster.addresses


def test_an_owner_on_another_machine_than_the_authority(home: Path, tmp_path: Path) -> None:
    cluster = described()
    made = create_credentials(tmp_path / "made", cluster.addresses).directory
    (made / "authority").rename(tmp_path / "authority")
    with running(sy.TFECluster(*cluster.workers, credentials=made)) as started:
        assert all(report["running"] for report in started.status())
