"""The models that are measured: the bundled convolution model, and dense ones with random weights."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.machine import ROOT

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Images = NDArray[np.float32]

CONV = "inst/extdata/mnist-conv.h5"
SAMPLE = "inst/extdata/mnist-sample.npz"
SEED = 7


def conv() -> Any:
    """The bundled 16/32/64 model, with a batch size that is left open."""
    import keras

    bundled = keras.models.load_model(ROOT / CONV, compile=False)
    layers = [type(layer).from_config(layer.get_config()) for layer in bundled.layers]
    model = keras.Sequential([keras.Input(bundled.input_shape[1:]), *layers], name="conv")
    model.set_weights(bundled.get_weights())
    return model


def dense(inputs: int = 784, hidden: int = 500, outputs: int = 10) -> Any:
    """inputs - hidden - outputs with random weights; its inputs are images that were flattened."""
    import keras

    keras.utils.set_random_seed(SEED)
    layers = [
        keras.Input((inputs,)),
        keras.layers.Dense(hidden, activation="relu"),
        keras.layers.Dense(outputs),
    ]
    return keras.Sequential(layers, name=f"dense{inputs}x{hidden}")


def images(model: Any, rows: int) -> Images:
    """Test images in the shape that a model takes; random numbers where its input is no image."""
    shape = tuple(model.input_shape[1:])
    if int(np.prod(shape)) != 28 * 28:
        return random_rows(shape, rows)
    with np.load(ROOT / SAMPLE) as sample:
        found: Images = sample["x_test"].astype(np.float32) / 255.0
    return np.resize(found, (rows, *shape))


def random_rows(shape: tuple[int, ...], rows: int) -> Images:
    """Inputs from 0 to 1."""
    return np.random.default_rng(SEED).random((rows, *shape), np.float32)
