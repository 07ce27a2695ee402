"""A model small enough for tests on real workers, and inputs for it."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from keras_models import GENERATIONS, sequential
from numpy.typing import NDArray
from syfr.importing.keras_layers import KerasObject

KERAS3 = GENERATIONS["keras3"]
TOLERANCE = 0.01
WAIT = 60.0


def small(keras: ModuleType = KERAS3, rows: int | None = None, last: str | None = "softmax") -> KerasObject:
    """A convolution, pooling, relu, and a dense layer."""
    layers = keras.layers
    stack = [layers.Conv2D(3, 3), layers.AveragePooling2D(2), layers.Activation("relu"), layers.Flatten()]
    return sequential(keras, (8, 8, 1), *stack, layers.Dense(4, activation=last), rows=rows)


IN, OUT = (1, 8, 8, 1), (1, 4)


def images(rows: int) -> NDArray[np.float64]:
    """Inputs for it."""
    return np.random.default_rng(rows).uniform(0, 1, (rows, 8, 8, 1))


def plain(model: KerasObject, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the model itself predicts."""
    return np.asarray(model(x.astype(np.float32), training=False), np.float64)
