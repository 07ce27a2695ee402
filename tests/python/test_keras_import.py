"""Every supported layer against Keras's own output, in both generations, and every refusal by its message."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from keras_models import GENERATIONS, agree, sequential
from syfr.keras_layers import KerasObject
from syfr.program import Linear, Reshape


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
