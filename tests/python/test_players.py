"""Workers that are started together are forked from one process, and are as much apart as if each had its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import syfr as sy
from cluster_processes import described, exists, pids, running, wait_until
from cryptography.hazmat.primitives import serialization
from fault_cluster import Seen
from syfr.errors import WorkerError
from syfr.face import forked, starting
from syfr.face.tasks import Task
from syfr.trust.identity import SERVERS

pytest_plugins = ("cluster_fixtures",)
pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.skipif(not forked.POSSIBLE, reason="workers are forked on Linux alone"),
]


def parent_of(pid: int) -> int:
    """The number of the process that is the parent of another."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pipes_of(pid: int) -> set[str]:
    """The pipes that a process has open."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            found.add(os.readlink(path))
    return {name for name in found if name.startswith("pipe:")}


def memory_of(pid: int) -> bytes:
    """All memory that a process can write to."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights = line.split()[:2]
            first, last = (int(end, 16) for end in place.split("-"))
            if rights.startswith("rw") and not line.endswith(("[vvar]", "[vsyscall]")):
                with contextlib.suppress(OSError):  # it was given back meanwhile
                    memory.seek(first)
                    found.append(memory.read(last - first))
    return b"".join(found)


def test_workers_are_processes_of_their_own_with_one_parent(home: Path) -> None:
    with running(described()) as cluster:
        processes = pids(cluster)
        (parent,) = {parent_of(pid) for pid in processes}
        assert parent_of(parent) == os.getpid()
        assert len(set(processes)) == 3
        assert [os.getsid(pid) for pid in processes] == processes
        assert all(len(list(Path(f"/proc/{pid}/task").iterdir())) == 1 for pid in [parent, *processes])
        logs = [Path(f"/proc/{pid}/fd/2").resolve().name for pid in processes]
        assert logs == [f"{role}.log" for role in SERVERS]
        assert len(set.union(*map(pipes_of, processes))) == 3, "each has its own standard input, and no other pipe"
    assert not exists(parent)
    assert not Path(f"/proc/{parent}").exists(), "it is waited for"


def test_a_key_is_in_the_memory_of_its_worker_alone(home: Path) -> None:
    """Looked for as OpenSSL keeps it: a large number, in the machine's order of bytes."""
    with running(described()) as cluster:
        processes = pids(cluster)
        memories = [memory_of(pid) for pid in [*processes, parent_of(processes[0])]]
        for place, role in enumerate(SERVERS):
            pem = (cluster.directory / role / "key.pem").read_bytes()
            key = serialization.load_pem_private_key(pem, password=None)
            number = key.private_numbers().private_value.to_bytes(32, sys.byteorder)  # type: ignore[union-attr]
            assert [number in memory for memory in memories] == [place == other for other in range(4)]


def test_forked_processes_share_no_random_numbers(child_env: dict[str, str]) -> None:
    script = """
import os, random, secrets, ssl, tempfile
from cryptography.hazmat.primitives.asymmetric import ec
import numpy, syfr.party.service
def draw():
    key = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return [secrets.token_hex(8), ssl.RAND_bytes(8).hex(), key, random.random()]
draw()
for _ in range(2):
    if os.fork() == 0:
        print(*draw(), flush=True)
        os._exit(0)
    os.wait()
print(*draw())
"""
    said = subprocess.check_output([sys.executable, "-c", script], env=child_env, text=True, timeout=120)
    drawn = [line.split() for line in said.splitlines()]
    assert len(drawn) == 3
    assert len({number for line in drawn for number in line}) == 3 * 4


@pytest.mark.fault("the process that has forked the workers is killed")
def test_workers_go_on_without_their_parent(home: Path, seen: Seen) -> None:
    with running(described()) as cluster:
        processes = pids(cluster)
        parent = parent_of(processes[0])
        os.kill(parent, signal.SIGKILL)
        seen.happens()
        wait_until(lambda: not exists(parent))
        assert [report["running"] for report in cluster.status()] == [True] * 3
        assert pids(cluster) == processes
        seen.over()
        seen.tells("the workers go on, and one that dies then is started again")
        os.kill(processes[1], signal.SIGKILL)
        wait_until(lambda: not exists(processes[1]))
        Task(lambda _: cluster.ask_all("status", time.monotonic() + 60)).wait()
        assert cluster.restarts == 1
    assert not any(map(exists, processes))


def test_a_start_ends_when_what_forks_does(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = forked.Company.begin

    def begin_and_die(self: forked.Company, python: str) -> None:
        begin(self, python)
        assert self._parent is not None
        self._parent.kill()

    monkeypatch.setattr(forked.Company, "begin", begin_and_die)
    cluster = described()
    with pytest.raises(WorkerError, match=r"server\d at .* has ended \(exit status -9\)"):
        cluster.start(60)
    assert not any(report["running"] for report in cluster.status())


def test_workers_load_by_themselves_where_nothing_can_be_forked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "POSSIBLE", False)
    with running(sy.local_cluster()) as cluster:
        assert {parent_of(pid) for pid in pids(cluster)} == {os.getpid()}
