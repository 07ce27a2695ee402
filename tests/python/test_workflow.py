"""The whole way on real workers: sharing, serving, asking, the limit, sharing again, stopping, workers that die."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import syfr as sy
from keras_models import GENERATIONS, randomize
from small_model import IN, OUT, TOLERANCE, WAIT, images, plain, small
from syfr.errors import (
    ClosedError,
    NotServedError,
    NotSharedError,
    ShapeError,
    SyfrError,
)
from syfr.face.client import Client
from syfr.face.owner import SharedModel, shared_model, sharing
from syfr.importing.keras_layers import KerasObject

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(150)


@contextmanager
def held(model: KerasObject, cluster: sy.TFECluster, **options: Any) -> Iterator[SharedModel]:
    """A model shared on a cluster, and taken off it afterwards."""
    found = sharing(model, cluster, **options).wait(WAIT)
    try:
        yield found
    finally:
        found.dropping().wait(WAIT)


@pytest.fixture
def shared(cluster: sy.TFECluster) -> Iterator[tuple[KerasObject, SharedModel]]:
    """A model shared on the module's cluster."""
    model = small()
    with held(model, cluster) as found:
        yield model, found


@pytest.fixture
def client(cluster: sy.TFECluster) -> Iterator[Client]:
    made = Client(cluster)
    yield made
    made.disconnect()


@pytest.mark.parametrize("generation", sorted(GENERATIONS))
@pytest.mark.parametrize("last", ["softmax", "sigmoid", None])
def test_the_answer_is_what_the_model_predicts(
    cluster: sy.TFECluster, client: Client, generation: str, last: str | None
) -> None:
    model = small(GENERATIONS[generation], last=last)
    with held(model, cluster) as found:
        found.open_serving().wait(WAIT)
        client.connecting(IN, OUT).wait(WAIT)
        x = images(3)
        np.testing.assert_allclose(client.querying(x).wait(WAIT), plain(model, x), atol=TOLERANCE)
        assert client.last_query["delays"] == client.model_info["delays"]


def test_inputs_of_another_range_and_untrusted_clients(cluster: sy.TFECluster, client: Client) -> None:
    model = small(last=None)
    for untrusted in (False, True):
        with held(model, cluster, input_range=(-3, 3), untrusted_clients=untrusted) as found:
            found.open_serving().wait(WAIT)
            client.connecting(IN, OUT).wait(WAIT)
            x = images(2) * 6 - 3
            np.testing.assert_allclose(client.querying(x).wait(WAIT), plain(model, x), atol=TOLERANCE)
            assert client.last_query["delays"] == client.model_info["delays"]


def test_several_inputs_and_outputs_and_labels_alone(cluster: sy.TFECluster, client: Client) -> None:
    keras = GENERATIONS["keras3"]
    one, two = keras.Input((3,), name="one"), keras.Input((4, 4, 1), name="two")
    layers = keras.layers
    image = layers.Flatten()(layers.MaxPooling2D(2)(layers.Conv2D(2, 1, activation="relu")(two)))
    hidden = layers.Concatenate()([layers.Dense(3)(one), image])
    ends = {
        "class": layers.Dense(5, activation="softmax")(hidden),
        "gate": layers.Dense(1, activation="sigmoid")(hidden),
    }
    model = keras.Model([one, two], ends)
    randomize(model)
    random = np.random.default_rng(4)
    x = {"one": random.uniform(0, 1, (6, 3)), "two": random.uniform(0, 1, (6, 4, 4, 1))}
    expected = {name: np.asarray(value) for name, value in model([x["one"], x["two"]]).items()}
    shapes = [(6, 3), (6, 4, 4, 1)]
    with held(model, cluster, digits=None) as found:
        found.open_serving().wait(WAIT)
        client.connecting(shapes, [(6, 5), (6, 1)]).wait(WAIT)
        answer = client.querying(x).wait(WAIT)
        assert isinstance(answer, dict)
        for name, wanted in expected.items():
            np.testing.assert_allclose(answer[name], wanted, atol=TOLERANCE)
        assert client.last_query["delays"] == client.model_info["delays"]
    with held(model, cluster, output="label", untrusted_clients=True) as found:
        found.open_serving().wait(WAIT)
        client.connecting(shapes, [(6, 1), (6, 1)]).wait(WAIT)
        labels = client.querying([x["one"], x["two"]]).wait(WAIT)
        assert isinstance(labels, dict)
        np.testing.assert_array_equal(labels["class"][:, 0], expected["class"].argmax(1))
        np.testing.assert_array_equal(labels["gate"], expected["gate"] >= 0.5)


def test_a_batch_larger_than_a_query(
    shared: tuple[KerasObject, SharedModel], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syfr.face.client.QUERY_ROWS", 16)
    model, found = shared
    found.open_serving().wait(WAIT)
    client.connecting(IN, OUT).wait(WAIT)
    x = images(50)
    np.testing.assert_allclose(client.querying(x).wait(WAIT), plain(model, x), atol=TOLERANCE)


def test_serving_counts_requests_and_ends_at_the_limit(shared: tuple[KerasObject, SharedModel], client: Client) -> None:
    _, found = shared
    serving = found.serving(3.0)
    serving.step(1.0)
    client.connecting(IN, OUT).wait(WAIT)
    for rows in (1, 2):
        assert not serving.done
        client.querying(images(rows)).wait(WAIT)
    assert serving.wait(WAIT) == 3
    events = serving.events()
    assert events[0] == {"event": "serving", "of": 3}
    assert events[-1] == {"event": "served", "served": 3, "of": 3}
    with pytest.raises(NotServedError, match=r"'sequential\S*' is shared, but"):
        client.querying(images(1)).wait(WAIT)
    found.open_serving(1).wait(WAIT)
    assert client.querying(images(1)).wait(WAIT).shape == (1, 4)


def test_serving_tells_how_far_it_is_with_preprocessing(
    shared: tuple[KerasObject, SharedModel], client: Client
) -> None:
    _, found = shared
    serving = found.serving(4)
    client.connecting(IN, OUT).wait(WAIT)
    events: list[dict[str, object]] = []
    end = time.monotonic() + WAIT
    while {"event": "prepared", "rows": 4, "of": 4} not in events and time.monotonic() < end:
        serving.step(0.1)
        events += serving.events()
    prepared = [event for event in events if event["event"] == "prepared"]
    assert prepared[-1] == {"event": "prepared", "rows": 4, "of": 4}
    assert len(prepared) == len({event["rows"] for event in prepared})
    client.querying(images(4)).wait(WAIT)
    assert serving.wait(WAIT) == 4
    assert serving.events()[-1] == {"event": "served", "served": 4, "of": 4}


def test_a_batch_that_is_larger_than_what_is_open_is_not_begun(
    shared: tuple[KerasObject, SharedModel], client: Client
) -> None:
    _, found = shared
    found.open_serving(2).wait(WAIT)
    client.connecting(IN, OUT).wait(WAIT)
    with pytest.raises(NotServedError):
        client.querying(images(3)).wait(WAIT)
    assert client.querying(images(2)).wait(WAIT).shape == (2, 4)


def test_one_request_is_a_batch_of_the_model(cluster: sy.TFECluster, client: Client) -> None:
    with held(small(rows=4), cluster) as found:
        serving = found.serving(2)
        serving.step(1.0)
        client.connecting(IN, OUT).wait(WAIT)  # whatever batch size the model or its client says
        client.querying(images(3)).wait(WAIT)
        client.querying(images(4)).wait(WAIT)
        assert serving.wait(WAIT) == 2


def test_an_interrupt_closes_serving_and_keeps_the_share(
    shared: tuple[KerasObject, SharedModel], client: Client
) -> None:
    _, found = shared
    serving = found.serving()
    serving.step(1.0)
    client.connecting(IN, OUT).wait(WAIT)
    client.querying(images(1)).wait(WAIT)
    serving.cancel()
    with pytest.raises(ClosedError, match="cancelled"):
        serving.result()
    states = [report["models"][0] for report in found.cluster.status()]
    assert not any(state["serving"] for state in states)
    with pytest.raises(NotServedError):
        client.querying(images(1)).wait(WAIT)
    found.open_serving().wait(WAIT)
    client.querying(images(1)).wait(WAIT)


def test_sharing_again_puts_new_shares_in_the_place_of_the_old(cluster: sy.TFECluster, client: Client) -> None:
    model = small()
    first = sharing(model, cluster).wait(WAIT)
    first.open_serving().wait(WAIT)
    client.connecting(IN, OUT).wait(WAIT)
    model.set_weights([weight * 0.5 for weight in model.get_weights()])
    with held(model, cluster) as second:
        assert shared_model(model) is second
        second.open_serving().wait(WAIT)
        with pytest.raises(NotSharedError):
            first.serving(1).wait(WAIT)
        x = images(2)  # the client, which was connected to the old ones, finds the new
        np.testing.assert_allclose(client.querying(x).wait(WAIT), plain(model, x), atol=TOLERANCE)


def test_two_models_and_two_clients_on_one_cluster(cluster: sy.TFECluster) -> None:
    models = {name: small() for name in ("first", "second")}
    for place, model in enumerate(models.values()):
        model.set_weights([weight * (place + 1) for weight in model.get_weights()])
    clients = {name: Client(cluster) for name in models}
    with ExitStack() as stack:
        for name, model in models.items():
            stack.callback(clients[name].disconnect)
            stack.enter_context(held(model, cluster, name=name)).open_serving().wait(WAIT)
        with pytest.raises(ShapeError, match="Name one of them"):
            clients["first"].connecting(IN, OUT).wait(WAIT)
        for name, client in clients.items():
            client.connecting(IN, OUT, name).wait(WAIT)
        x = images(2)
        queries = {name: client.querying(x) for name, client in clients.items()}
        for query in queries.values():
            query.step(0)
        for name, query in queries.items():
            np.testing.assert_allclose(query.wait(WAIT), plain(models[name], x), atol=TOLERANCE)


def test_bad_queries_leave_the_workers_serving(shared: tuple[KerasObject, SharedModel], client: Client) -> None:
    model, found = shared
    found.open_serving(5).wait(WAIT)
    client.connecting(IN, OUT).wait(WAIT)
    bad: list[Any] = [np.zeros((1, 9, 9, 1)), "text", images(1) * np.nan, images(1) + 2, np.array([["a"]])]
    for x in bad:
        with pytest.raises(SyfrError):
            client.querying(x)
    np.testing.assert_allclose(client.querying(images(1)).wait(WAIT), plain(model, images(1)), atol=TOLERANCE)
    assert {report["models"][0]["served"] for report in found.cluster.status()} == {1}


def test_what_the_workers_saw_is_not_the_input(shared: tuple[KerasObject, SharedModel], client: Client) -> None:
    _, found = shared
    found.open_serving().wait(WAIT)
    client.connecting(IN, OUT).wait(WAIT)
    black = np.zeros((40, 8, 8, 1))
    client.querying(black).wait(WAIT)
    seen = client.sent_view()["server0"]
    assert len(np.unique(seen)) == seen.size
    assert abs(seen.mean() - 0.5) < 0.05


def test_no_share_is_left_of_a_dropped_model(cluster: sy.TFECluster, client: Client) -> None:
    model = small()
    found = sharing(model, cluster).wait(WAIT)
    found.open_serving().wait(WAIT)
    client.connecting(IN, OUT).wait(WAIT)
    found.dropping().wait(WAIT)
    with pytest.raises(NotSharedError):
        client.querying(images(1)).wait(WAIT)
    with pytest.raises(NotSharedError):
        client.connecting(IN, OUT).wait(WAIT)
    assert all(report["models"] == [] for report in cluster.status())


def test_a_worker_object_as_a_client(shared: tuple[KerasObject, SharedModel], cluster: sy.TFECluster) -> None:
    model, found = shared
    found.open_serving().wait(WAIT)
    client = sy.TFEWorker()
    with pytest.raises(SyfrError, match="not connected"):
        client.query_model(images(1))
    with pytest.raises(SyfrError, match="No query is under way"):
        client.query_model_join()
    client.connect_to_model([1.0, 8.0, 8.0, 1.0], [1.0, 4.0], cluster)
    np.testing.assert_allclose(client.query_model(images(2)), plain(model, images(2)), atol=TOLERANCE)
    client.query_model_async(images(1))
    client.disconnect()
    with pytest.raises(SyfrError, match="not connected"):
        client.query_model(images(1))
