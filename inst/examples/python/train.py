"""Step 1, the owner of the model: train it with Keras, as ever, and save its weights as short-conv-mnist.h5.

Average pooling stands before relu: pooling is linear, so that the workers compute it together with the convolution, at
no cost. The softmax at the end does no harm: it is left to the client, who is shown the scores that go into it.
"""

import os

import numpy as np
import tensorflow as tf

BATCH = 128
EPOCHS = 5
CLASSES = 10


def conv_model(batch: int | None = None) -> tf.keras.Model:
    """Three convolutions with 10, 32 and 64 filters."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input((28, 28, 1), batch_size=batch),
            layers.Conv2D(10, (3, 3)),
            layers.AveragePooling2D((2, 2)),
            layers.Activation("relu"),
            layers.Conv2D(32, (3, 3)),
            layers.AveragePooling2D((2, 2)),
            layers.Activation("relu"),
            layers.Conv2D(64, (3, 3)),
            layers.AveragePooling2D((2, 2)),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dense(CLASSES),
            layers.Activation("softmax"),
        ]
    )


def load_mnist() -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and test images, as numbers from 0 to 1, with their digits.

    They come from the file that SYFR_MNIST names, else from Keras's own loader.
    """
    if "SYFR_MNIST" in os.environ:
        with np.load(os.environ["SYFR_MNIST"]) as file:
            sets = (file["x_train"], file["y_train"]), (file["x_test"], file["y_test"])
    else:
        sets = tf.keras.datasets.mnist.load_data()
    return [(images[..., np.newaxis] / 255.0, digits) for images, digits in sets]


def main() -> None:
    (x_train, y_train), (x_test, y_test) = load_mnist()
    y_train, y_test = (tf.keras.utils.to_categorical(digits, CLASSES) for digits in (y_train, y_test))

    model = conv_model()
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=BATCH, epochs=EPOCHS, validation_data=(x_test, y_test), verbose=2)
    model.save("short-conv-mnist.h5")


if __name__ == "__main__":
    main()
