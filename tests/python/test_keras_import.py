"""Every supported layer against Keras's own output, in both generations, alone and in ordinary models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from keras_models import GENERATIONS, agree, inputs, randomize, sequential
from syfr.importing.keras_import import import_model
from syfr.importing.keras_layers import KerasObject
from syfr.ring.fixedpoint import Precision
from syfr.steps import Linear, Reshape, Shape

Stack = Callable[[ModuleType], list[KerasObject]]


@pytest.fixture(params=sorted(GENERATIONS))
def keras(request: pytest.FixtureRequest) -> ModuleType:
    """Keras 2 and Keras 3 in turn."""
    return GENERATIONS[request.param]


def mnist_model(keras: ModuleType, filters: tuple[int, int, int] = (16, 32, 64)) -> KerasObject:
    """The model of the published examples."""
    layers = keras.layers
    stack: list[KerasObject] = []
    for count in filters:
        stack += [layers.Conv2D(count, 3), layers.AveragePooling2D(2), layers.Activation("relu")]
    return sequential(keras, (28, 28, 1), *stack, layers.Flatten(), layers.Dense(10), rows=1)


def test_the_example_model_takes_four_linear_steps(keras: ModuleType) -> None:
    imported = agree(mnist_model(keras), rows=(1,))
    program = imported.program
    assert [type(step) for step in program.steps] == [Linear, Linear, Linear, Reshape, Linear]
    linear = [step for _, step in program.linear_steps()]
    assert [step.kernel for step in linear] == [(4, 4, 1, 16), (4, 4, 16, 32), (4, 4, 32, 64), (64, 10)]
    assert [step.then for step in linear] == ["relu", "relu", "relu", "output"]
    assert [step.output_shape for step in linear] == [(13, 13, 16), (5, 5, 32), (1, 1, 64), (10,)]
    assert all(step.geometry is not None and step.geometry.strides == (2, 2) for step in linear[:3])
    assert program.rows == 1
    assert sorted(imported.weights) == [0, 1, 2, 4]
    for number, step in program.linear_steps():
        assert imported.weights[number].kernel.shape == step.kernel
        assert imported.weights[number].bias.shape == step.kernel[-1:]
        assert imported.weights[number].kernel.dtype == imported.weights[number].bias.dtype == np.float64


def test_a_dense_model_with_softmax(keras: ModuleType) -> None:
    layers = keras.layers
    stack = [layers.Flatten(), layers.Dense(50, activation="relu"), layers.Dense(10, activation="softmax")]
    program = agree(sequential(keras, (28, 28), *stack)).program
    assert program.head == "softmax"
    assert program.rows is None
    assert [step.kernel for _, step in program.linear_steps()] == [(784, 50), (50, 10)]


IMAGE = (9, 7, 3)
LAYERS: dict[str, tuple[Shape, Stack]] = {
    "conv": (IMAGE, lambda k: [k.layers.Conv2D(4, (3, 2))]),
    "conv no bias": (IMAGE, lambda k: [k.layers.Conv2D(4, 3, use_bias=False)]),
    "conv strides": (IMAGE, lambda k: [k.layers.Conv2D(4, 3, strides=(2, 1))]),
    "conv same": (IMAGE, lambda k: [k.layers.Conv2D(4, (4, 3), padding="same")]),
    "conv same strides": (IMAGE, lambda k: [k.layers.Conv2D(4, 3, strides=2, padding="same")]),
    "conv same long strides": ((8, 5, 2), lambda k: [k.layers.Conv2D(4, 2, strides=3, padding="same")]),
    "conv dilation": (IMAGE, lambda k: [k.layers.Conv2D(4, 3, dilation_rate=(2, 1))]),
    "conv same dilation": (IMAGE, lambda k: [k.layers.Conv2D(4, 3, dilation_rate=2, padding="same")]),
    "conv relu": (IMAGE, lambda k: [k.layers.Conv2D(4, 3, activation="relu"), k.layers.Conv2D(2, 3)]),
    "conv1d": ((11, 3), lambda k: [k.layers.Conv1D(4, 3)]),
    "conv1d same": ((11, 3), lambda k: [k.layers.Conv1D(4, 4, strides=2, padding="same")]),
    "conv1d causal": ((11, 3), lambda k: [k.layers.Conv1D(4, 3, dilation_rate=2, padding="causal")]),
    "conv1d chain": (
        (11, 3),
        lambda k: [
            k.layers.Conv1D(4, 3, activation="relu"),
            k.layers.BatchNormalization(),
            k.layers.AveragePooling1D(2),
            k.layers.ZeroPadding1D((1, 2)),
            k.layers.Conv1D(5, 2),
            k.layers.GlobalAveragePooling1D(),
        ],
    ),
    "depthwise": (IMAGE, lambda k: [k.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")]),
    "depthwise dilation": (IMAGE, lambda k: [k.layers.DepthwiseConv2D((3, 2), dilation_rate=2)]),
    "depthwise, pointwise": (
        IMAGE,
        lambda k: [k.layers.DepthwiseConv2D(3, strides=2, activation="relu"), k.layers.Conv2D(4, 1)],
    ),
    "depthwise, padding, pointwise": (
        IMAGE,
        lambda k: [
            k.layers.DepthwiseConv2D(1, use_bias=False),
            k.layers.ZeroPadding2D(1),
            k.layers.Conv2D(4, 1, activation="linear"),
        ],
    ),
    "dense on images": (IMAGE, lambda k: [k.layers.Dense(5), k.layers.ReLU(), k.layers.Dense(2)]),
    "dense on a sequence": ((4, 6), lambda k: [k.layers.Dense(5, activation="relu"), k.layers.Dense(3)]),
    "dense sigmoid": ((6,), lambda k: [k.layers.Dense(3), k.layers.Activation("sigmoid")]),
    "softmax layer": ((6,), lambda k: [k.layers.Dense(3), k.layers.Softmax(), k.layers.Dropout(0.5)]),
    "pool": (IMAGE, lambda k: [k.layers.AveragePooling2D((2, 3))]),
    "pool overlapping": (IMAGE, lambda k: [k.layers.AveragePooling2D(3, strides=(2, 1))]),
    "pool same dividing": ((8, 6, 2), lambda k: [k.layers.AveragePooling2D((4, 2), padding="same")]),
    "pool incomplete windows": ((9, 8, 2), lambda k: [k.layers.Conv2D(3, 3), k.layers.AveragePooling2D(3)]),
    "conv same, pool": (IMAGE, lambda k: [k.layers.Conv2D(4, 3, padding="same"), k.layers.AveragePooling2D(2)]),
    "conv dilation, pool": (
        (12, 11, 2),
        lambda k: [k.layers.Conv2D(4, 3, dilation_rate=2), k.layers.AveragePooling2D(2)],
    ),
    "relu, pool, conv": (
        (12, 11, 2),
        lambda k: [
            k.layers.Conv2D(4, 3, padding="same", activation="relu"),
            k.layers.AveragePooling2D(2),
            k.layers.Conv2D(4, 3),
        ],
    ),
    "relu, pool, conv same": (
        (12, 11, 2),
        lambda k: [
            k.layers.Conv2D(4, 3, padding="same", activation="relu"),
            k.layers.AveragePooling2D(2),
            k.layers.Conv2D(4, 3, padding="same"),
        ],
    ),
    "relu, pool, dense": (
        IMAGE,
        lambda k: [
            k.layers.Conv2D(4, 3, activation="relu"),
            k.layers.AveragePooling2D(2),
            k.layers.Flatten(),
            k.layers.Dense(3),
        ],
    ),
    "global pool": (IMAGE, lambda k: [k.layers.GlobalAveragePooling2D()]),
    "conv, global pool": (IMAGE, lambda k: [k.layers.Conv2D(4, 3), k.layers.GlobalAveragePooling2D()]),
    "global pool, keepdims": (
        IMAGE,
        lambda k: [k.layers.GlobalAveragePooling2D(keepdims=True), k.layers.Conv2D(2, 1)],
    ),
    "relu, global pool, dense": (
        IMAGE,
        lambda k: [
            k.layers.Conv2D(4, 3, activation="relu"),
            k.layers.GlobalAveragePooling2D(),
            k.layers.Dense(3, activation="softmax"),
        ],
    ),
    "bn alone": (IMAGE, lambda k: [k.layers.BatchNormalization()]),
    "bn of features": ((6,), lambda k: [k.layers.BatchNormalization(scale=False), k.layers.Dense(3)]),
    "conv, bn, relu": (
        IMAGE,
        lambda k: [k.layers.Conv2D(4, 3), k.layers.BatchNormalization(center=False), k.layers.ReLU()],
    ),
    "relu, bn, conv": (
        IMAGE,
        lambda k: [k.layers.Conv2D(4, 3, activation="relu"), k.layers.BatchNormalization(), k.layers.Conv2D(2, 3)],
    ),
    "relu, bn, conv same": (
        IMAGE,
        lambda k: [
            k.layers.Conv2D(4, 3, activation="relu"),
            k.layers.BatchNormalization(),
            k.layers.Conv2D(2, 3, padding="same"),
        ],
    ),
    "relu, bn, flatten, dense": (
        IMAGE,
        lambda k: [
            k.layers.Conv2D(4, 3, activation="relu"),
            k.layers.BatchNormalization(),
            k.layers.Flatten(),
            k.layers.BatchNormalization(),
            k.layers.Dense(2),
        ],
    ),
    "conv, flatten, bn, relu": (
        IMAGE,
        lambda k: [
            k.layers.Conv2D(4, 3),
            k.layers.Flatten(),
            k.layers.BatchNormalization(),
            k.layers.ReLU(),
            k.layers.Dense(2),
        ],
    ),
    "padding": (IMAGE, lambda k: [k.layers.ZeroPadding2D(((1, 2), (0, 3)))]),
    "padding, conv": (IMAGE, lambda k: [k.layers.ZeroPadding2D((2, 1)), k.layers.Conv2D(4, 3, padding="same")]),
    "padding, pool": (IMAGE, lambda k: [k.layers.ZeroPadding2D(1), k.layers.AveragePooling2D(2)]),
    "conv, padding, relu, conv": (
        IMAGE,
        lambda k: [k.layers.Conv2D(4, 3), k.layers.ZeroPadding2D(1), k.layers.ReLU(), k.layers.Conv2D(2, 3)],
    ),
    "conv, padding, bn, conv": (
        IMAGE,
        lambda k: [
            k.layers.Conv2D(4, 3),
            k.layers.ZeroPadding2D(1),
            k.layers.BatchNormalization(),
            k.layers.Conv2D(2, 3),
        ],
    ),
    "pool, padding, conv": (
        (8, 6, 2),
        lambda k: [k.layers.AveragePooling2D(2), k.layers.ZeroPadding2D(1), k.layers.Conv2D(4, 3)],
    ),
    "two convs": (IMAGE, lambda k: [k.layers.Conv2D(4, 3), k.layers.Conv2D(5, 2)]),
    "two denses": ((6,), lambda k: [k.layers.Dense(5), k.layers.Dense(2)]),
    "reshape": ((12,), lambda k: [k.layers.Dense(24), k.layers.Reshape((4, -1, 2)), k.layers.Conv2D(3, 2)]),
    "reshape last": ((6,), lambda k: [k.layers.Dense(12), k.layers.Reshape((4, 3))]),
    "flatten last": (IMAGE, lambda k: [k.layers.Conv2D(4, 3), k.layers.Flatten()]),
    "flatten alone": ((3, 2), lambda k: [k.layers.Flatten()]),
    "relu last": (IMAGE, lambda k: [k.layers.Conv2D(4, 3, activation="relu")]),
    "relu first": ((6,), lambda k: [k.layers.ReLU(), k.layers.ReLU(), k.layers.Dense(3)]),
    "relu alone": (IMAGE, lambda k: [k.layers.Activation("relu")]),
    "rescaling": (IMAGE, lambda k: [k.layers.Rescaling(2.0, offset=-1.0), k.layers.Conv2D(4, 3)]),
    "rescaling, conv same": (
        IMAGE,
        lambda k: [k.layers.Rescaling(2.0, offset=-1.0), k.layers.Conv2D(4, 3, padding="same")],
    ),
    "rescaling by channel": (
        IMAGE,
        lambda k: [k.layers.Rescaling([1.0, 2.0, 3.0], offset=[0.0, -1.0, 1.0]), k.layers.Flatten(), k.layers.Dense(2)],
    ),
    "rescaling, other channels": (
        (6, 5),
        lambda k: [k.layers.Rescaling(0.5, offset=1.0), k.layers.Reshape((6, 5, 1)), k.layers.Conv2D(2, 3)],
    ),
    "linear activation": ((6,), lambda k: [k.layers.Activation("linear"), k.layers.Dense(2, activation="linear")]),
    "training only": (
        IMAGE,
        lambda k: [
            k.layers.RandomFlip(),
            k.layers.RandomRotation(0.1),
            k.layers.RandomTranslation(0.1, 0.1),
            k.layers.RandomZoom(0.1),
            k.layers.RandomContrast(0.1),
            k.layers.RandomBrightness(0.1),
            k.layers.GaussianNoise(0.5),
            k.layers.GaussianDropout(0.5),
            k.layers.AlphaDropout(0.5),
            k.layers.SpatialDropout2D(0.5),
            k.layers.ActivityRegularization(0.5),
            k.layers.Conv2D(2, 2),
        ],
    ),
}


@pytest.mark.parametrize("case", sorted(LAYERS))
def test_a_layer_computes_what_keras_does(keras: ModuleType, case: str) -> None:
    shape, stack = LAYERS[case]
    agree(sequential(keras, shape, *stack(keras)))


# Keras 2 computes a grouped convolution only inside a compiled function, so its layer is compared with Keras 3's.
def test_grouped_convolution(keras: ModuleType) -> None:
    def model(generation: ModuleType) -> KerasObject:
        layers = generation.layers
        stack = [layers.Conv2D(8, 3, groups=2), layers.AveragePooling2D(2), layers.ReLU()]
        return sequential(generation, (9, 8, 4), *stack, layers.Conv2D(6, 2, groups=2, strides=2))

    imported = agree(model(GENERATIONS["keras3"]))
    again = import_model(model(keras))
    assert again.program.linear_steps()[0][1].geometry == imported.program.linear_steps()[0][1].geometry
    for number, weights in imported.weights.items():
        np.testing.assert_array_equal(again.weights[number].kernel, weights.kernel)


STEPS: dict[str, list[str]] = {
    "conv same, pool": ["output"],
    "conv dilation, pool": ["output"],
    "conv, global pool": ["output"],
    "relu, pool, conv": ["relu", "output"],
    "relu, pool, dense": ["relu", "output"],
    "relu, global pool, dense": ["relu", "output"],
    "conv1d chain": ["relu", "output"],
    "conv, bn, relu": ["relu"],
    "relu, bn, conv": ["relu", "output"],
    "relu, bn, conv same": ["relu", "truncate", "output"],
    "relu, bn, flatten, dense": ["relu", "output"],
    "conv, padding, relu, conv": ["relu", "output"],
    "pool, padding, conv": ["output"],
    "two convs": ["truncate", "output"],
    "rescaling": ["output"],
    "rescaling, other channels": ["output"],
    "depthwise, padding, pointwise": ["output"],
    "relu last": ["relu"],
    "flatten last": ["output"],
    "training only": ["output"],
}


@pytest.mark.parametrize("case", sorted(STEPS))
def test_what_is_linear_is_folded(case: str) -> None:
    shape, stack = LAYERS[case]
    program = import_model(sequential(GENERATIONS["keras3"], shape, *stack(GENERATIONS["keras3"]))).program
    assert [step.then for _, step in program.linear_steps()] == STEPS[case]


@pytest.mark.parametrize("case", sorted(LAYERS))
def test_the_program_does_not_depend_on_the_weights(case: str) -> None:
    shape, stack = LAYERS[case]
    model = sequential(GENERATIONS["keras3"], shape, *stack(GENERATIONS["keras3"]))
    program = import_model(model).program
    for value in (0.0, 1.0):
        for weight in model.weights:
            if "seed" not in weight.name:
                weight.assign(np.full(tuple(weight.shape), value))
        assert import_model(model).program == program


def test_a_functional_chain_and_nested_models(keras: ModuleType) -> None:
    layers = keras.layers
    shared = layers.Dense(6, activation="relu")
    inner = sequential(keras, (6,), layers.Dense(6), layers.ReLU())
    first = inputs(keras, (2, 3), 4)
    flat = layers.Flatten()(first)
    model = keras.Model(first, layers.Dense(3)(inner(shared(shared(flat)))))
    randomize(model)
    program = agree(model, rows=(4,)).program
    assert program.rows == 4
    assert len(program.linear_steps()) == 4
    outer = sequential(keras, (2, 3), model, layers.Activation("softmax"))
    assert agree(outer, rows=(4,)).program.head == "softmax"


def test_a_subclass_that_keeps_call_is_its_keras_layer(keras: ModuleType) -> None:
    class Named(keras.layers.Dense):  # type: ignore[misc, name-defined]
        """A Dense under another name."""

    agree(sequential(keras, (4,), Named(3)))


def test_a_model_without_layers(keras: ModuleType) -> None:
    tensor = inputs(keras, (4,))
    agree(keras.Model(tensor, tensor))


def test_low_precision_weights_are_read(keras: ModuleType) -> None:
    model = sequential(keras, (4,), keras.layers.Dense(3, dtype="float16"))
    agree(model, tolerance=1e-2)


def test_precision_and_input_range_are_kept() -> None:
    keras = GENERATIONS["keras3"]
    precision = Precision(fraction_bits=12, value_bits=40)
    imported = import_model(sequential(keras, (4,), keras.layers.Dense(3)), precision=precision, input_range=(-1, 2))
    assert imported.program.precision == precision
    assert imported.program.input_range == (-1.0, 2.0)


def test_steps_are_named_after_their_layers() -> None:
    keras = GENERATIONS["keras3"]
    layers = keras.layers
    stack = [layers.Conv2D(2, 3, name="first"), layers.AveragePooling2D(2, name="pool"), layers.ReLU()]
    model = sequential(keras, (8, 8, 1), *stack, layers.Flatten(name="flat"), layers.Dense(3, name="last"))
    assert [step.layer for step in import_model(model).program.steps] == ["first + pool", "flat", "last"]


def test_secrets_are_not_printed() -> None:
    keras = GENERATIONS["keras3"]
    imported = import_model(sequential(keras, (4,), keras.layers.Dense(3)))
    assert "array" not in repr(imported)
    assert repr(imported.weights[0]) == "Weights()"


def test_the_import_itself_imports_no_keras(child_env: dict[str, str]) -> None:
    code = "import sys, syfr.importing.keras_import; print({'keras', 'tf_keras', 'tensorflow'} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], env=child_env, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "set()"


def test_the_last_change_of_shape_is_left_to_the_client(keras: ModuleType) -> None:
    layers = keras.layers
    stack = [layers.Conv2D(4, 3, padding="same"), layers.GlobalAveragePooling2D(), layers.Softmax()]
    program = agree(sequential(keras, (8, 8, 1), *stack)).program
    assert [step.then for _, step in program.linear_steps()] == ["output"]
    assert (program.head, program.output_shape) == ("softmax", (1, 1, 4))
    assert [(part.name, part.shape, part.head) for part in program.outputs] == [("", (4,), "softmax")]
