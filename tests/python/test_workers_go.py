"""Workers that die, hang, or outlive the session of the model's owner."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from client_process import in_another_process
from cluster_processes import START, described, exists, pids, running, wait_until
from fault_cluster import Seen
from small_model import IN, OUT, TOLERANCE, WAIT, images, plain, small
from syfr.errors import NotServedError, NotSharedError, SyfrError
from syfr.face.client import Client
from syfr.face.owner import sharing

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(150)


@pytest.mark.fault("a worker that this session has started is killed while it serves")
def test_a_worker_that_dies_while_serving_is_replaced(home: Path, seen: Seen) -> None:
    """The owner's session starts it again, shares the model anew and opens what is left; the client asks once."""
    model = small()
    with running(described()) as cluster:
        found = sharing(model, cluster).wait(WAIT)
        number = found.number
        serving = found.serving(3, per_client=3)
        serving.step(0.5)
        client = Client(cluster)
        client.connecting(IN, OUT).wait(WAIT)
        client.querying(images(1)).wait(WAIT)
        os.kill(pids(cluster)[1], signal.SIGKILL)
        seen.happens()
        asking = client.querying(images(1))
        while not asking.step(0.05):
            serving.step(0.05)
        np.testing.assert_allclose(asking.result(), plain(model, images(1)), atol=TOLERANCE)
        seen.over()
        seen.tells("clients: the answer, late; the owner: that the worker has ended and is started again")
        assert found.number != number
        client.querying(images(1)).wait(WAIT)
        assert serving.wait(WAIT) == 3
        told = [event["event"] for event in serving.events()]
        assert "worker_ended" in told
        assert "shared" in told
        with pytest.raises(NotServedError):
            client.querying(images(1)).wait(WAIT)
        client.disconnect()
        cluster.tell("drop", model=found.number)


def test_a_model_that_has_changed_is_not_shared_anew(home: Path) -> None:
    model = small()
    with running(described()) as cluster:
        found = sharing(model, cluster).wait(WAIT)
        model.set_weights([2 * weights for weights in model.get_weights()])
        os.kill(pids(cluster)[2], signal.SIGKILL)
        with pytest.raises(NotSharedError, match="Share it again"):
            found.open_serving().wait(WAIT)


def test_a_worker_that_hangs_during_a_query(home: Path) -> None:
    with running(described()) as cluster:
        found = sharing(small(), cluster).wait(WAIT)
        found.open_serving().wait(WAIT)
        client = Client(cluster)
        client.connecting(IN, OUT).wait(WAIT)
        processes = pids(cluster)
        os.kill(processes[0], signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(SyfrError, match="waits for server0"):
                client.querying(images(1), timeout=1).wait(WAIT)
            assert time.monotonic() - began < WAIT
        finally:
            os.kill(processes[0], signal.SIGCONT)
        assert client.querying(images(1)).wait(WAIT).shape == (1, 4)
        client.disconnect()


def test_workers_serve_without_the_owner(home: Path, child_env: dict[str, str]) -> None:
    """Workers that are started by hand go on when the session that shared the model has ended."""
    cluster = described(auto_managed=False)
    ports = [address.rpartition(":")[2] for address in cluster.addresses.values()]
    env = {**child_env, "R_USER_DATA_DIR": str(home)}
    started: list[subprocess.Popen[bytes]] = []
    task = cluster.starting(START)
    try:
        while not task.step(0.1):
            for event in task.events():
                if event["event"] == "manual_command":
                    words = [word for word in shlex.split(event["command"]) if "PYTHONPATH" not in word]
                    nothing = subprocess.DEVNULL
                    started.append(subprocess.Popen(words, env=env, stderr=nothing, stdout=nothing))
        task.result()
        found = sharing(small(), cluster).wait(WAIT)
        found.open_serving(3).wait(WAIT)
        report = cluster.stop()
        assert not any(item["stopped"] for item in report)
        with in_another_process(home, cluster) as asking:
            answers, _ = asking.communicate(timeout=WAIT)
        assert asking.returncode == 0, answers
        assert len(ports) == len(answers.splitlines()) == 3
    finally:
        for process in started:
            process.terminate()
            process.wait(20)
        wait_until(lambda: not any(exists(process.pid) for process in started))
