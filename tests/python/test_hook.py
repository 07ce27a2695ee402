"""The hook for Keras models: methods for every model of both generations, and what they refuse."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import syfr as sy
from keras_models import GENERATIONS, sequential
from syfr.errors import (
    InputTypeError,
    NotSharedError,
    RangeCheckError,
    UnreachableError,
    UnsupportedLayerError,
    ValueRangeError,
)
from syfr.face import hook, owner
from syfr.importing.keras_layers import KerasObject

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=sorted(GENERATIONS))
def keras(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """Keras 2 and Keras 3 in turn, without the methods before and after."""
    module = GENERATIONS[request.param]
    unhook(module)
    yield module
    unhook(module)


def unhook(module: ModuleType) -> None:
    for name in hook.METHODS:
        if name in vars(module.Model):
            delattr(module.Model, name)


def dense(keras: ModuleType) -> KerasObject:
    return sequential(keras, (4,), keras.layers.Dense(2))


def cluster() -> sy.TFECluster:
    return sy.TFECluster(*(sy.TFEWorker(f"localhost:{port}") for port in (4000, 4001, 4002)))


def test_models_made_before_and_after_get_the_methods(keras: ModuleType) -> None:
    before = dense(keras)
    assert not hasattr(before, "share")
    sy.KerasHook(keras)
    inputs = keras.Input((4,))
    for model in (before, dense(keras), keras.Model(inputs, keras.layers.Dense(1)(inputs))):
        assert all(callable(getattr(model, name)) for name in ("share", "serve", "stop", "shutdown_workers"))


def test_hooking_twice_is_hooking_once(keras: ModuleType) -> None:
    first = sy.KerasHook(keras)
    methods = {name: getattr(keras.Model, name) for name in hook.METHODS}
    second = sy.KerasHook(keras)
    assert {name: getattr(keras.Model, name) for name in hook.METHODS} == methods
    assert first.keras is second.keras is keras


def test_a_hooked_model_predicts_and_trains_as_before(keras: ModuleType) -> None:
    sy.KerasHook(keras)
    model = dense(keras)
    model.compile(loss="mse", optimizer="sgd")
    model.fit(np.zeros((4, 4)), np.zeros((4, 2)), verbose=0)
    assert model.predict(np.zeros((1, 4)), verbose=0).shape == (1, 2)


@pytest.mark.parametrize("module", [np, None, SimpleNamespace(Model=3)])
def test_other_modules_are_refused(module: Any) -> None:
    with pytest.raises(InputTypeError, match=r"Give keras or tf\.keras"):
        sy.KerasHook(module)


def test_serving_stopping_and_shutting_down_before_sharing(keras: ModuleType) -> None:
    sy.KerasHook(keras)
    model = dense(keras)
    for call in (model.serve, model.stop, model.shutdown_workers):
        with pytest.raises(NotSharedError, match=r"not shared yet\. Share it with a cluster first"):
            call()


def test_what_cannot_be_shared_is_refused_before_a_worker_is_started(keras: ModuleType, home: Path) -> None:
    sy.KerasHook(keras)
    model = dense(keras)
    unsupported = sequential(keras, (4, 3, 1), keras.layers.ConvLSTM1D(2, 2))
    with pytest.raises(UnsupportedLayerError, match="lstm"):
        unsupported.share(cluster())
    with pytest.raises(RangeCheckError, match="input_range"):
        model.share(cluster(), input_range=(0, 1e8))
    with pytest.raises(ValueRangeError, match="input_range"):
        model.share(cluster(), input_range=(1, 0))
    with pytest.raises(InputTypeError, match="three workers"):
        model.share(cluster().workers[0])
    with pytest.raises(InputTypeError, match="name"):
        model.share(cluster(), name=3)
    with pytest.raises(InputTypeError, match="untrusted_clients"):
        model.share(cluster(), untrusted_clients="no")
    with pytest.raises(InputTypeError, match="not a Keras model"):
        owner.sharing("text", cluster())
    with pytest.raises(InputTypeError, match="Give a cluster"):
        owner.sharing(model, "text")  # type: ignore[arg-type]
    assert not list(home.iterdir())


@pytest.mark.parametrize("requests", [0, -1, 2.5, "three", True])
def test_requests_that_cannot_be(requests: Any) -> None:
    shared = owner.SharedModel(cluster(), "0" * 32, "model", None)  # type: ignore[arg-type]
    for call in (shared.serving, shared.open_serving):
        with pytest.raises((InputTypeError, ValueRangeError), match="num_requests"):
            call(requests)


def test_sharing_with_a_cluster_by_hand_that_nobody_starts(
    keras: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syfr.face.cluster.MANUAL_SECONDS", 0.3)
    workers = [sy.TFEWorker(f"localhost:{port}", auto_managed=False) for port in (1, 2, 3)]
    shown: list[str] = []
    monkeypatch.setattr("builtins.print", lambda text, **_: shown.append(text))
    sy.KerasHook(keras)
    model = dense(keras)
    with pytest.raises(UnreachableError, match="did not answer in time"):
        model.share(*workers)
    assert len(shown) == 3
    assert all("-m syfr.player --config" in text and text.startswith("To start server") for text in shown)
    with pytest.raises(NotSharedError):
        model.serve()


def test_a_share_is_remembered_as_long_as_the_model(keras: ModuleType) -> None:
    model = dense(keras)
    shared = owner.SharedModel(cluster(), "0" * 32, "model", None)  # type: ignore[arg-type]
    owner._shared[model] = shared
    assert owner.shared_model(model) is shared
    remembered = weakref.ref(shared)
    del model, shared
    keras.backend.clear_session()
    gc.collect()
    assert remembered() is None
