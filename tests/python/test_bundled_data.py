"""The data that the package brings: the sample of MNIST, and a model that reads it, in either Keras."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

ROWS = 1000


@pytest.fixture
def sample(root: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(root / "inst/extdata/mnist-sample.npz") as arrays:
        return arrays["x_test"], arrays["y_test"]


def test_sample_is_a_thousand_images_and_their_digits(sample: tuple[np.ndarray, np.ndarray]) -> None:
    images, digits = sample
    assert images.shape == (ROWS, 28, 28)
    assert digits.shape == (ROWS,)
    assert images.dtype == digits.dtype == np.uint8
    assert images.min() == 0
    assert images.max() == 255
    assert digits[:3].tolist() == [7, 2, 1]
    assert set(digits.tolist()) == set(range(10))


@pytest.mark.parametrize("keras_name", ["keras", "tf_keras"])
def test_model_reads_the_sample(root: Path, sample: tuple[np.ndarray, np.ndarray], keras_name: str) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    pytest.importorskip(keras_name, reason=f"{keras_name} is not installed")
    keras = importlib.import_module(keras_name)
    images, digits = sample

    model = keras.models.load_model(root / "inst/extdata/mnist-conv.h5", compile=False)
    assert tuple(model.input_shape) == (1, 28, 28, 1)
    assert tuple(model.output_shape) == (1, 10)
    assert type(model.layers[-1]).__name__ == "Dense"

    logits = model.predict(images[..., None].astype(np.float32) / 255, batch_size=1, verbose=0)
    assert np.mean(np.argmax(logits, axis=1) == digits) >= 0.96
