"""Train the bundled model: three convolutions of 16, 32 and 64 filters, 97.5 % or better on MNIST's test images.

Usage: python data-raw/train-models.py MNIST.npz [inst/extdata/mnist-conv.h5]

The loss takes logits: a softmax at the end would cost the private prediction an exponential and a division
for numbers that the client can work out alone. Average pooling stands before ReLU because it is linear: the
private prediction then makes one step of it and the convolution.

Keras 3 trains; the file is written in Keras 2's HDF5 form (tf_keras), the one that both can read. Keras 3's own
two forms name the input's shape in a way that Keras 2 refuses.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tf_keras
from numpy.typing import NDArray

SEED = 20190724
BATCH = 64
EPOCHS = 8
LEARNING_RATE = 5e-3
GOAL = 0.975
TRAINING_IMAGES = 10_000
"""The first of them: they are enough."""


def conv_model(kit: ModuleType, batch: int | None = None) -> Any:
    """The 16/32/64 convolution model, built with `keras` or `tf_keras`."""
    layers = kit.layers
    return kit.Sequential(
        [
            kit.Input((28, 28, 1), batch_size=batch),
            layers.Conv2D(16, 3),
            layers.AveragePooling2D(2),
            layers.Activation("relu"),
            layers.Conv2D(32, 3),
            layers.AveragePooling2D(2),
            layers.Activation("relu"),
            layers.Conv2D(64, 3),
            layers.AveragePooling2D(2),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def with_shifts(images: NDArray[np.float32], labels: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """The images, then the same moved by one pixel down, up, right and left: five times as many to learn from."""
    shifts = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    return np.concatenate([np.roll(images, shift, (1, 2)) for shift in shifts]), np.tile(labels, len(shifts))


def train(model: Any, images: NDArray[np.float32], labels: NDArray[Any]) -> None:
    """Fit a Keras 3 model that gives logits, on the same rows in the same order in every run."""
    steps = EPOCHS * len(images) // BATCH
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(images, labels, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=2)


def main() -> None:
    """Train on the file given, check the accuracy, write the model with a batch of one row."""
    parser = argparse.ArgumentParser(description="Train the bundled model.")
    parser.add_argument("mnist", type=Path, help="an .npz file with MNIST's arrays, as Keras has it")
    parser.add_argument("model", type=Path, nargs="?", default=Path("inst/extdata/mnist-conv.h5"))
    paths = parser.parse_args()

    keras.utils.set_random_seed(SEED)
    with np.load(paths.mnist) as mnist:
        x_train, x_test = (mnist[name][..., None].astype(np.float32) / 255 for name in ("x_train", "x_test"))
        y_train, y_test = mnist["y_train"], mnist["y_test"]
    x_train, y_train = x_train[:TRAINING_IMAGES], y_train[:TRAINING_IMAGES]

    trained = conv_model(keras)
    train(trained, *with_shifts(x_train, y_train))
    accuracy = float(np.mean(np.argmax(trained.predict(x_test, verbose=0), axis=1) == y_test))
    print(f"accuracy on {len(y_test)} test images: {accuracy:.4f}")
    if accuracy < GOAL:
        raise SystemExit(f"The model reached {accuracy:.4f}, less than {GOAL}; nothing was written.")

    served = conv_model(tf_keras, batch=1)
    served.set_weights(trained.get_weights())
    served.save(paths.model, include_optimizer=False)


if __name__ == "__main__":
    main()
