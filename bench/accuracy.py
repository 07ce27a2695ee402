"""How good private answers are on real data: the digits that scikit-learn ships, a small network trained at once."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import serving
from bench.stats import Figures

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Images = NDArray[np.float32]

TEST_ROWS = 360
EPOCHS = 30
SEED = 5


def digits() -> tuple[Images, NDArray[np.int64], Images, NDArray[np.int64]]:
    """Images of 8 x 8 and what they show, for training and for the test."""
    from sklearn.datasets import load_digits

    images, shown = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(images))
    x = (images[order].reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    y = shown[order]
    return x[TEST_ROWS:], y[TEST_ROWS:], x[:TEST_ROWS], y[:TEST_ROWS]


def trained(x: Images, y: NDArray[np.int64]) -> Any:
    """Two convolutions and a dense layer, after some seconds of training."""
    import keras

    keras.utils.set_random_seed(SEED)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.AveragePooling2D(2),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ],
        name="digits",
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss)
    model.fit(x, y, batch_size=32, epochs=EPOCHS, verbose=0)
    return model


def measure(figures: Figures) -> None:
    """The accuracy of plain and of private answers on the same images, and how often they agree."""
    x, y, test, shown = digits()
    model = trained(x, y)
    plain = np.asarray(model(test))
    with serving.running() as cluster, serving.served(model, cluster), serving.connected(model, cluster, 120) as client:
        private = client.querying(test).wait()
    figures.add("accuracy/digits, plain", "", float((plain.argmax(1) == shown).mean()))
    figures.add("accuracy/digits, private", "", float((private.argmax(1) == shown).mean()))
    figures.add("accuracy/digits, same answer", "", float((plain.argmax(1) == private.argmax(1)).mean()))
    figures.add("accuracy/digits, largest difference of a logit", "", float(np.abs(plain - private).max()))
