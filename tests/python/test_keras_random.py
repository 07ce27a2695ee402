"""Random networks of the supported layers: the Program computes what Keras does. Hypothesis prints what fails."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_models import GENERATIONS, agree, inputs, randomize
from syfr.importing.keras_layers import KerasObject

KERAS = st.sampled_from(sorted(GENERATIONS)).map(GENERATIONS.__getitem__)
SHAPES = st.sampled_from([(9, 7, 2), (8, 8, 1), (6, 10, 3), (12, 3), (5,)])
ACTIVATION = st.sampled_from([None, "relu"])


# Keras draws random numbers of its own where it builds a layer, which Hypothesis forbids inside a strategy.
def network(draw: st.DrawFn) -> KerasObject:
    """A Functional chain of one to seven layers, built up on what the layers before it give."""
    keras = draw(KERAS)
    first = tensor = inputs(keras, draw(SHAPES))
    for _ in range(draw(st.integers(1, 7))):
        tensor = layer(draw, keras, tuple(tensor.shape)[1:])(tensor)
    head = draw(st.sampled_from([None, "softmax", "sigmoid"]))
    if head is not None:
        tensor = keras.layers.Dense(3, activation=head)(tensor)
    model = keras.Model(first, tensor)
    randomize(model, draw(st.integers(0, 2**32)))
    return model


def layer(draw: st.DrawFn, keras: ModuleType, shape: tuple[int, ...]) -> KerasObject:
    """One layer that fits rows of ``shape``."""
    layers = keras.layers
    kinds = {3: ["conv", "conv", "depthwise", "pool", "pad", "global"], 2: ["conv1d", "pool1d"], 1: []}[len(shape)]
    kind = draw(st.sampled_from(["dense", "relu", "bn", "flatten", "rescale", "dropout", *kinds]))
    activation = draw(ACTIVATION)
    padding = draw(st.sampled_from(["valid", "same"]))
    size = tuple(draw(st.integers(1, min(3, side))) for side in shape[:-1])
    stride = draw(st.integers(1, 2))
    if kind == "dense":
        return layers.Dense(draw(st.integers(1, 5)), activation=activation, use_bias=draw(st.booleans()))
    if kind == "conv":
        dilation = 2 if padding == "same" and stride == 1 and draw(st.booleans()) else 1
        filters = draw(st.integers(1, 4))
        return layers.Conv2D(filters, size, stride, padding, dilation_rate=dilation, activation=activation)
    if kind == "conv1d":
        return layers.Conv1D(draw(st.integers(1, 4)), size, stride, padding, activation=activation)
    if kind == "depthwise":
        multiplier = draw(st.integers(1, 2))
        return layers.DepthwiseConv2D(size, stride, padding, depth_multiplier=multiplier, activation=activation)
    simple = {
        "relu": lambda: layers.ReLU(),
        "bn": lambda: layers.BatchNormalization(),
        "flatten": lambda: layers.Flatten(),
        "rescale": lambda: layers.Rescaling(0.5, offset=draw(st.sampled_from([0.0, 0.25]))),
        "dropout": lambda: layers.Dropout(0.5),
        "pool": lambda: layers.AveragePooling2D(size, draw(st.sampled_from([None, 1, 2]))),
        "pool1d": lambda: layers.AveragePooling1D(size[0]),
        "pad": lambda: layers.ZeroPadding2D(((0, 1), (draw(st.integers(0, 2)), 1))),
        "global": lambda: layers.GlobalAveragePooling2D(),
    }
    return simple[kind]()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_random_network_computes_what_keras_does(data: st.DataObject) -> None:
    agree(network(data.draw), tolerance=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=1_500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_many_random_networks_compute_what_keras_does(data: st.DataObject) -> None:
    agree(network(data.draw), tolerance=1e-3)
