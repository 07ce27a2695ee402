"""A model that is shared while a link between two workers is renewed: the owner shares it again, and need not know."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import syfr as sy
from syfr.errors import DeadlineError, NotReadyError, ProtocolError
from syfr.face.sending import send
from syfr.face.tasks import Task
from syfr.importing.keras_import import Imported
from syfr.importing.operations import Weights
from workers import DEADLINE, Cluster, cluster_of, perceptron, wait_for

RENEWED = """
from syfr.party.shares import Shares
from syfr.protocol.roles import Role
times, compare = {times}, Shares._compare
def renewed(self, number):
    global times
    if number in self._waiting and times:
        times -= 1
        self._links._renew(Role.{peer})
    compare(self, number)
Shares._compare = renewed
"""
"""A worker that has got its part of a model sets up a link anew before it looks what the others have."""

MODEL = perceptron()


def sharing(cluster: Cluster, seconds: float) -> tuple[sy.TFECluster, Task[str]]:
    """The owner shares a model as users do, but for Keras."""
    workers = [sy.TFEWorker(address, auto_managed=False) for address in cluster.hosts.values()]
    described = sy.TFECluster(*workers, credentials=cluster.credentials.directory)
    weights = {step: Weights(kernel, MODEL.biases[step]) for step, kernel in MODEL.kernels.items()}
    imported = Imported(MODEL.program, weights)
    return described, Task(lambda emit: send(described, "model", imported, time.monotonic() + seconds))


@pytest.mark.parametrize(("one", "peer"), [("server0", "SERVER1"), ("server1", "SERVER2"), ("server2", "SERVER0")])
def test_a_link_that_is_renewed_meanwhile(tmp_path: Path, one: str, peer: str) -> None:
    with cluster_of(tmp_path, **{one: RENEWED.format(times=2, peer=peer)}) as cluster:
        described, task = sharing(cluster, DEADLINE)
        number = task.wait(DEADLINE)
        with cluster.owner() as owner, cluster.client() as client:
            for wire in owner.wires.values():
                assert [model["model"] for model in wire.call("status")["models"]] == [number]
            owner.serve(number)
            client.open(number, MODEL).check()
        assert cluster.log(one).count("did not take its share") == 2
        described.stop()


def test_a_link_that_does_not_last_ends_at_the_deadline(tmp_path: Path) -> None:
    with cluster_of(tmp_path, server1=RENEWED.format(times=1_000, peer="SERVER2")) as cluster:
        described, task = sharing(cluster, 2.0)
        with pytest.raises((NotReadyError, DeadlineError), match=r"link to server|in time"):
            task.wait(DEADLINE)
        with cluster.owner() as owner:
            wait_for(lambda: not any(wire.call("status")["models"] for wire in owner.wires.values()))
        described.stop()


def test_parts_that_do_not_match_are_not_shared_again(tmp_path: Path) -> None:
    other = "from syfr.party.models import Model\nModel.digests_for = lambda self, peer: {'program': b'another'}"
    with cluster_of(tmp_path, server1=other) as cluster:
        described, task = sharing(cluster, DEADLINE)
        began = time.monotonic()
        with pytest.raises(ProtocolError, match="do not match"):
            task.wait(DEADLINE)
        assert time.monotonic() - began < 5
        described.stop()
