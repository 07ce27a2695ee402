"""The published evaluation: data, labels and model are shared, and only the count of right answers is opened."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import syfr as sy
from keras_models import GENERATIONS, KerasObject, randomize
from syfr.errors import (
    InputTypeError,
    NotSharedError,
    ProtocolError,
    RangeCheckError,
    RefusedError,
    ShapeError,
    ValueRangeError,
)
from syfr.face.owner import sharing
from syfr.face.remote import Remote
from syfr.party.sessions import MAX_PER_CONNECTION
from syfr.tensors.evaluate import evaluating
from syfr.tensors.places import Workers
from syfr.tensors.private import PlainTensor, PrivateTensor, place_of, predict
from syfr.trust.identity import Bundle

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(150)

KERAS = GENERATIONS["keras3"]


def classifier(seed: int = 1) -> object:
    """A network with every kind of layer that tensors need: convolution, pooling, flattening, dense."""
    KERAS.utils.set_random_seed(seed)
    layers = KERAS.layers
    return KERAS.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )


def test_the_published_script_runs_over_virtual_workers() -> None:
    sy.KerasHook(KERAS)
    rng = np.random.default_rng(3)
    images, model = rng.uniform(0, 1, (20, 6, 6, 1)), classifier()
    labels = rng.integers(0, 5, 20).astype(float)
    plain = model.predict(images, verbose=0).argmax(1)  # type: ignore[attr-defined]

    alice, bob, carol = (sy.VirtualWorker(None, id=name) for name in ("alice", "bob", "carol"))
    data = sy.tensor(images, (0, 1)).fix_precision().share(alice, bob, crypto_provider=carol)
    target = sy.tensor(labels, (0, 4)).fix_precision().share(alice, bob, crypto_provider=carol)
    private = model.fix_precision().share(alice, bob, crypto_provider=carol)  # type: ignore[attr-defined]
    output = private(data)
    pred = output.argmax(dim=1)
    correct = pred.eq(target.view_as(pred)).sum()
    total = 0 + correct
    assert total.copy().get().float_precision().long().item() == (plain == labels).sum()
    assert np.array_equal(pred.get(), plain)


def test_a_model_that_ends_in_a_product_can_be_used_on_tensors() -> None:
    sy.KerasHook(KERAS)
    layers, start = KERAS.layers, KERAS.Input((4, 3))
    found = layers.Attention()([layers.Dense(5)(start), layers.Dense(5)(start)])
    model = KERAS.Model(start, layers.Multiply()([found, found]))
    x = np.random.default_rng(4).uniform(-1, 1, (3, 4, 3))
    workers = [sy.VirtualWorker(id=name) for name in "abc"]
    output = model.fix_precision().share(*workers)(sy.tensor(x, (-1, 1)).share(*workers))
    assert np.abs(output.get() - np.asarray(model(x))).max() < 0.005


def test_models_refuse_what_does_not_fit() -> None:
    sy.KerasHook(KERAS)
    workers = [sy.VirtualWorker(id=name) for name in "abc"]
    private = classifier().fix_precision().share(*workers)  # type: ignore[attr-defined]
    with pytest.raises(ShapeError, match=r"takes a tensor of shape .* Reshape it\."):
        private(sy.tensor(np.zeros((2, 36)), (0, 1)).share(*workers))
    with pytest.raises(InputTypeError, match="different workers"):
        private(sy.tensor(np.zeros((2, 6, 6, 1)), (0, 1)).share(*(sy.VirtualWorker(id=name) for name in "abc")))


def reader() -> KerasObject:
    """Three tokens of twenty, read one after the other."""
    k = KERAS.layers
    model = KERAS.Sequential([KERAS.Input((3,)), k.Embedding(20, 2), k.LSTM(2), k.Dense(4, activation="softmax")])
    randomize(model)
    return model


def test_a_model_of_tokens_reads_rows_with_a_one_in_the_place_of_each() -> None:
    sy.KerasHook(KERAS)
    workers = [sy.VirtualWorker(id=name) for name in "abc"]
    model, tokens = reader(), np.random.default_rng(2).integers(0, 20, (6, 3))
    private = model.fix_precision().share(*workers)
    found = np.asarray(private(sy.tensor(np.eye(20)[tokens], (0, 1)).share(*workers)).get())
    plain = np.log(np.asarray(model(tokens.astype(np.float32))))
    np.testing.assert_allclose(found - found[:, :1], plain - plain[:, :1], atol=0.02)
    with pytest.raises(ShapeError, match="a 1 in the place of each"):
        private(sy.tensor(tokens / 20, (0, 1)).share(*workers))


def test_a_recurrent_model_of_tokens_is_evaluated_over_workers(cluster: sy.TFECluster) -> None:
    model, tokens = reader(), np.random.default_rng(2).integers(0, 20, (8, 3))
    right = np.asarray(model(tokens.astype(np.float32))).argmax(1)
    found = sharing(model, cluster).wait()
    figures = evaluating(found, tokens, np.where(np.arange(8) < 6, right, (right + 1) % 4)).wait()
    assert figures["accuracy"] == 6 / 8
    with pytest.raises(ValueRangeError, match="20 among its tokens"):
        evaluating(found, np.full((8, 3), 20), right)
    found.dropping().wait()


@pytest.fixture(scope="module")
def shared(cluster: sy.TFECluster) -> object:
    """A model that real workers hold."""
    model = classifier()
    sharing(model, cluster).wait()
    return model


def test_an_evaluation_over_workers_is_the_plain_one(shared: object) -> None:
    rng = np.random.default_rng(5)
    images, labels = rng.uniform(0, 1, (25, 6, 6, 1)), rng.integers(0, 5, 25)
    probabilities = shared.predict(images, verbose=0)  # type: ignore[attr-defined]
    plain = probabilities.argmax(1)
    found = evaluating(shared, images, labels, metrics=("accuracy", "confusion", "loss"), batch=10).wait()
    assert found["accuracy"] == (plain == labels).mean()
    confusion = np.zeros((5, 5))
    np.add.at(confusion, (labels, plain), 1)
    assert np.array_equal(found["confusion"], confusion)
    brier = ((probabilities - np.eye(5)[labels]) ** 2).sum(1).mean()
    assert abs(found["loss"] - brier) < 0.05


def one_output(activation: str | None) -> Any:
    """A dense model with one number for a row."""
    model = KERAS.Sequential([KERAS.Input((6,)), KERAS.layers.Dense(1, activation=activation)])
    randomize(model)
    return model


def test_one_sigmoid_tells_two_classes(cluster: sy.TFECluster) -> None:
    model, x = one_output("sigmoid"), np.random.default_rng(6).uniform(0, 1, (20, 6))
    x -= x.mean(axis=0)  # so that there are both
    found = sharing(model, cluster, input_range=(-1, 1)).wait()
    probability = np.asarray(model(x.astype(np.float32)))[:, 0]
    plain, labels = (probability > 0.5).astype(int), np.arange(20) % 2
    assert 0 < plain.sum() < 20
    figures = evaluating(found, x, labels, metrics=("accuracy", "confusion", "loss"), batch=8).wait()
    assert figures["accuracy"] == (plain == labels).mean()
    confusion = np.zeros((2, 2))
    np.add.at(confusion, (labels, plain), 1)
    assert np.array_equal(figures["confusion"], confusion)
    assert abs(figures["loss"] - ((probability - labels) ** 2).mean()) < 0.02
    with pytest.raises(InputTypeError, match=r"y has the label 2\. Give .* from 0 to 1"):
        evaluating(found, x, labels + 1)
    found.dropping().wait()
    number = sharing(one_output(None), cluster, input_range=(-1, 1)).wait()
    with pytest.raises(InputTypeError, match="it tells no classes apart"):
        evaluating(number, x, labels)
    number.dropping().wait()


def test_nothing_but_what_is_asked_for_is_opened(cluster: sy.TFECluster, shared: object) -> None:
    x = PlainTensor(np.full((4, 6, 6, 1), 0.5), (0, 1)).share(cluster)
    (count,) = [row for row in (predict(shared, x).argmax(1) == 2).sum().explain() if "opened" in row["operation"]]
    assert count["shape"] == [1]


def test_a_tensor_beyond_the_range_of_a_model_is_refused(cluster: sy.TFECluster, shared: object) -> None:
    with pytest.raises(RangeCheckError, match=r"was shared for inputs from 0 to 1.*Share the model for its range"):
        predict(shared, PlainTensor(np.zeros((2, 6, 6, 1)), (0, 2)).share(cluster))


def test_what_cannot_be_evaluated_is_refused_at_the_door(shared: object) -> None:
    images = np.ones((2, 6, 6, 1))
    for x, y, metrics, error, message in (
        (2 * images, [0, 1], ["accuracy"], ValueRangeError, r"x has values .* the model takes 0 to 1 \(input_range\)"),
        (images, [0, 5], ["accuracy"], InputTypeError, r"y has the label 5\. Give .* from 0 to 4"),
        (images, [0, 1.5], ["accuracy"], InputTypeError, r"y has the label 1.5\. Give"),
        (images, [0, 1], ["foo"], InputTypeError, r"metrics has 'foo', .* Give some of accuracy"),
        (images, [0, 1], [], InputTypeError, r"metrics is empty\. Give"),
    ):
        with pytest.raises(error, match=message):
            evaluating(shared, x, y, metrics=metrics)


def test_a_model_for_tensors_alone_runs_over_workers(cluster: sy.TFECluster) -> None:
    sy.KerasHook(KERAS)
    model, images = classifier(7), np.random.default_rng(8).uniform(0, 1, (9, 6, 6, 1))
    private = model.fix_precision().share(cluster)  # type: ignore[attr-defined]
    found = private(PlainTensor(images, (0, 1)).share(cluster)).argmax(1).get()
    assert np.array_equal(found, model.predict(images, verbose=0).argmax(1))  # type: ignore[attr-defined]


def another(cluster: sy.TFECluster, name: str = "client") -> Workers:
    """The session of another party."""
    return Workers(cluster.addresses, Bundle.load(cluster.directory / name))


def borrowed(tensor: PrivateTensor, place: Workers) -> PrivateTensor:
    """A tensor of another session, whose number somebody has heard of."""
    return PrivateTensor(tensor._node, place)


def test_nobody_opens_anothers_tensor(cluster: sy.TFECluster) -> None:
    secret = PlainTensor([[1.0, 2.0]] * 4, (0, 3)).share(cluster)
    other = another(cluster)
    for attempt in (secret, secret.sum(), secret.sum(0), secret * 0.5):
        with pytest.raises(RefusedError, match="has not agreed"):
            borrowed(attempt, other).get()
    secret.permit("client")
    assert np.array_equal(borrowed(secret, other).get(), [[1.0, 2.0]] * 4)
    other.close()


def test_a_tensor_for_aggregates_gives_sums_of_all_its_rows_and_nothing_else(cluster: sy.TFECluster) -> None:
    values = np.arange(12.0).reshape(4, 3)
    tensor = PlainTensor(values, (0, 16)).share(cluster, reveal="aggregate", min_rows=4)
    other = another(cluster)
    assert np.array_equal(borrowed(tensor.sum(0), other).get(), values.sum(0))
    assert np.array_equal(borrowed((tensor >= 5).sum(0), other).get(), (values >= 5).sum(0))


    for attempt in (tensor, tensor[:3].sum(0), tensor[0], tensor.sum(1), tensor.argmax(0), tensor.T @ tensor):
        with pytest.raises(RefusedError, match="only sums over all rows"):
            borrowed(attempt, other).get()
    few = PlainTensor(values[:3], (0, 16)).share(cluster, reveal="aggregate", min_rows=4)
    with pytest.raises(RefusedError, match="only sums"):
        borrowed(few.sum(0), other).get()
    other.close()


def test_a_client_does_not_compute_with_the_weights_of_a_model(cluster: sy.TFECluster, shared: object) -> None:
    own = another(cluster)
    data = place_of([cluster])
    x = PlainTensor(np.zeros((1, 6, 6, 1)), (0, 1)).share(cluster)
    x.permit("client")
    with pytest.raises(RefusedError, match="may not compute with the weights"):
        borrowed(predict(shared, x), own).get()
    assert data is not own
    own.close()


def test_a_tensor_shared_unequally_is_not_compared_with_another(
    cluster: sy.TFECluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = PlainTensor([3.0, 1.0, 2.0], (0, 4)).share(cluster)
    honest = PlainTensor([2.0, 2.0, 2.0], (0, 4)).share(cluster)
    assert np.array_equal((secret >= honest).get(), [1.0, 0.0, 1.0])
    asking = Remote.asking

    def cheating(self: Remote, call: str, deadline: float, arrays: Any = (), **fields: Any) -> Any:
        unequal = call == "tensor" and self.role == "server1"
        return asking(self, call, deadline, [array ^ np.uint8(1) for array in arrays] if unequal else arrays, **fields)

    monkeypatch.setattr(Remote, "asking", cheating)
    cheat = PlainTensor([2.0, 2.0, 2.0], (0, 4)).share(cluster)
    with pytest.raises(ProtocolError, match="hold different inputs"):
        (secret >= cheat).get()


def test_each_computation_closes_its_session(cluster: sy.TFECluster) -> None:
    x = sy.tensor([1.0, 2.0]).share(cluster)
    for _ in range(MAX_PER_CONNECTION + 2):
        assert np.array_equal(x.get(), [1.0, 2.0])


def test_handles_end_with_their_session(cluster: sy.TFECluster) -> None:
    tensor = PlainTensor([1.0, 2.0], (0, 2)).share(cluster)
    place = place_of([cluster])
    assert isinstance(place, Workers)
    for remote in place._remotes.values():
        with socket.socket(fileno=os.dup(remote.fileno())) as ended:
            ended.shutdown(socket.SHUT_RDWR)
    with pytest.raises(NotSharedError, match="connection to a worker was lost, and the tensors with it"):
        tensor.get()
    with pytest.raises(NotSharedError, match="session may have ended"):
        tensor.get()


def test_tensors_of_a_cluster_that_was_started_anew_are_lost(cluster: sy.TFECluster) -> None:
    place = place_of([cluster])
    tensor = PlainTensor([1.0, 2.0], (0, 2)).share(cluster)
    assert isinstance(place, Workers)
    place._bundle = replace(place._bundle, cluster="0" * 32)
    place.close()
    for _ in range(2):
        with pytest.raises(NotSharedError, match=r"lost with it\. Share them again"):
            tensor.get()
    assert place_of([cluster]) is not place
    assert np.array_equal(PlainTensor([3.0], (0, 4)).share(cluster).get(), [3.0])
