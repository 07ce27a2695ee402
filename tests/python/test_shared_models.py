"""Models that another session shared: listed, and dropped by their names or numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import syfr as sy
from syfr.errors import InputTypeError, NotSharedError
from syfr.face.models import dropping, listing
from syfr.protocol import sharing
from workers import DEADLINE, SERVERS, Cluster, cluster_of, perceptron, share_messages


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers for the tests of this file."""
    with cluster_of(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def cluster(workers: Cluster) -> Iterator[sy.TFECluster]:
    """A later session of the owner."""
    hosts = [sy.TFEWorker(address, auto_managed=False) for address in workers.hosts.values()]
    described = sy.TFECluster(*hosts, credentials=workers.credentials.directory)
    yield described
    described.stop()


def test_a_later_session_lists_and_drops_what_an_earlier_one_shared(workers: Cluster, cluster: sy.TFECluster) -> None:
    model = perceptron()
    with workers.owner() as owner:
        first, second = owner.share(model, "first"), owner.share(model, "second")
        owner.serve(second, 3)
    with workers.client() as client:
        client.open(second, model).check()
    found = {one["name"]: one for one in listing(cluster).wait(DEADLINE)}
    assert found["first"] == {
        "model": first,
        "name": "first",
        "requests": None,
        "served": 0,
        "serving": False,
        "workers": list(SERVERS),
    }
    assert (found["second"]["served"], found["second"]["requests"], found["second"]["serving"]) == (1, 3, True)
    assert dropping(cluster, "first").wait(DEADLINE)["model"] == first
    assert dropping(cluster, second).wait(DEADLINE)["name"] == "second"
    assert listing(cluster).wait(DEADLINE) == []
    with pytest.raises(NotSharedError, match=r"No model is called 'first' there.*none"):
        dropping(cluster, "first").wait(DEADLINE)


def test_a_name_that_two_models_have_does_not_say_which(workers: Cluster, cluster: sy.TFECluster) -> None:
    with workers.owner() as owner:
        numbers = [owner.share(perceptron(), "same") for _ in range(2)]
        with pytest.raises(NotSharedError, match=f"2 models are called 'same'.*{numbers[0]}.*{numbers[1]}"):
            dropping(cluster, "same").wait(DEADLINE)
        with pytest.raises(InputTypeError, match="model is"):
            dropping(cluster, 3)
        for number in numbers:
            dropping(cluster, number).wait(DEADLINE)


def test_a_share_that_one_worker_did_not_take_stays_at_none(workers: Cluster) -> None:
    """Also when its owner has gone before it could withdraw it."""
    model, other, number = perceptron(), perceptron(seed=7), "ab" * 16
    shares = sharing.share_weights(model.program, model.kernels, model.biases)
    wrong = sharing.share_weights(other.program, other.kernels, other.biases)
    fields, arrays = share_messages(model, [shares[0], wrong[1], shares[2]], number)
    fields["server1"]["seeds"] = list(shares[1].seeds)  # the dealer finds nothing wrong
    owner = workers.owner()
    for name, wire in owner.wires.items():
        wire.ask("share", arrays[name], **fields[name])
    owner.close()
    with workers.owner() as later:
        for wire in later.wires.values():
            for _ in range(100):
                if not [one for one in wire.call("status")["models"] if one["model"] == number]:
                    break
            else:
                raise AssertionError("a share was left behind")
