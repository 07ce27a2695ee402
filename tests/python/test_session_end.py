"""Workers end with the session that started them, whatever happens to it, and not with another one."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from cluster_processes import START, described, exists, pids, wait_until
from fault_cluster import Seen
from syfr import hosts
from syfr.trust.identity import SERVERS

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(150)

SESSION = """
    import sys, time
    import syfr as sy
    cluster = sy.TFECluster(*(sy.TFEWorker(f"localhost:{port}") for port in sys.argv[1:4]))
    cluster.start(100)
    print(*(report["pid"] for report in cluster.status()), flush=True)
    if sys.argv[4] == "wait":
        time.sleep(600)
    if sys.argv[4] == "raise":
        raise KeyboardInterrupt
"""


@pytest.mark.fault("the session that has started the workers ends, crashes or is killed")
@pytest.mark.parametrize("end", ["exit", "raise", "SIGTERM", "SIGKILL"])
def test_workers_end_with_the_session_that_started_them(
    home: Path, child_env: dict[str, str], seen: Seen, end: str
) -> None:
    ports = [str(port) for port in hosts.free_ports(3)]
    how = "wait" if end.startswith("SIG") else end
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SESSION), *ports, how],
        env={**child_env, "R_USER_DATA_DIR": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as session:
        assert session.stdout is not None
        said = session.stdout.readline()
        assert len(said.split()) == 3, said + session.stdout.read()
        processes = [int(word) for word in said.split()]
        if how == "wait":
            assert all(map(exists, processes))
            session.send_signal(signal.Signals[end])
        session.wait(60)
        seen.happens()
        wait_until(lambda: not any(map(exists, processes)))
        seen.over()
        seen.tells("no process, port or file is left")
    assert {path.name for path in home.rglob("run/*")} <= {"cluster.json"}


def test_a_session_that_is_killed_leaves_nothing_of_a_cluster_on_free_ports(
    home: Path, child_env: dict[str, str]
) -> None:
    code = "import syfr, time\nc = syfr.local_cluster()\nc.start(90)\nprint('up', flush=True)\ntime.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**child_env, "R_USER_DATA_DIR": str(home)}, stdout=subprocess.PIPE, text=True
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == "up\n"
        session.kill()
        session.wait(60)
    clusters = home / "R" / "syfr" / "clusters"
    wait_until(lambda: not list(clusters.iterdir()))


def test_a_worker_of_another_session_is_left_running(home: Path, child_env: dict[str, str]) -> None:
    ports = hosts.free_ports(3)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SESSION), *map(str, ports), "wait"],
        env={**child_env, "R_USER_DATA_DIR": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    ) as session:
        assert session.stdout is not None
        session.stdout.readline()
        with pytest.MonkeyPatch.context() as patch:
            cluster = described(ports)
            cluster.start(START)
            shown: list[str] = []
            patch.setattr("builtins.print", lambda text, **_: shown.append(text))
            report = cluster.stop()
        assert [item["stopped"] for item in report] == [False, False, False]
        assert all("Another session on this machine has started it" in item["remedy"] for item in report)
        assert [text.split(" at ")[0] for text in shown] == list(SERVERS)
        assert (cluster.directory / "run" / "cluster.json").exists()
        assert all(item["running"] for item in cluster.status())
        session.kill()


def test_a_description_that_is_dropped_takes_its_workers_along(home: Path) -> None:
    cluster = described()
    cluster.start(START)
    processes = pids(cluster)
    del cluster
    gc.collect()
    assert not any(map(exists, processes))


def test_ending_at_once(home: Path) -> None:
    cluster = described()
    cluster.start(START)
    processes = pids(cluster)
    cluster.end()
    cluster.end()
    assert not any(map(exists, processes))
    assert not cluster.started
