"""Images of digits read row by row, 28 times, by recurrent networks: as right on shares as in the clear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import GENERATIONS, KerasObject
from numpy.typing import NDArray
from syfr.face.imports import imported
from syfr.party.memory import MemoryCluster

KERAS = GENERATIONS["keras3"]
ASKED, PART = 200, 40

NETWORKS: dict[str, Callable[[Any], list[KerasObject]]] = {
    "lstm": lambda k: [k.LSTM(32)],
    "both directions": lambda k: [k.Bidirectional(k.GRU(16, return_sequences=True)), k.GRU(16)],
}


def trained(layers: list[KerasObject], images: NDArray[np.float32], labels: NDArray[np.int64]) -> KerasObject:
    """A network that has seen 800 images."""
    KERAS.utils.set_random_seed(1)
    model = KERAS.Sequential([KERAS.Input((28, 28)), *layers, KERAS.layers.Dense(10)])
    model.compile(KERAS.optimizers.Adam(0.005), KERAS.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, batch_size=32, epochs=25, verbose=0)
    return model


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("which", NETWORKS)
def test_digits_are_read_row_by_row_as_in_the_clear(which: str, root: Path) -> None:
    with np.load(root / "inst" / "extdata" / "mnist-sample.npz") as data:
        images, labels = (data["x_test"] / 255.0).astype(np.float32), data["y_test"].astype(np.int64)
    model = trained(NETWORKS[which](KERAS.layers), images[ASKED:], labels[ASKED:])
    found = imported(model)
    kernels = {number: one.kernel for number, one in found.weights.items()}
    cluster = MemoryCluster(found.program, kernels, {number: one.bias for number, one in found.weights.items()})
    answers = [cluster.query(images[start : start + PART]).values for start in range(0, ASKED, PART)]
    private, plain = np.concatenate(answers), np.asarray(model(images[:ASKED]))
    rights = [float((logits.argmax(1) == labels[:ASKED]).mean()) for logits in (plain, private)]
    errors, top = np.abs(plain - private), np.sort(plain, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * errors.max()
    print(
        f"{which}: {rights[0]:.3f} right in the clear, {rights[1]:.3f} on shares; "
        f"logits off by {errors.mean():.2g}, {errors.max():.2g} at most"
    )
    assert rights[0] > 0.75
    assert abs(rights[0] - rights[1]) <= 0.015
    assert errors.mean() < 0.05
    assert clear.mean() > 0.8
    assert (plain.argmax(1) == private.argmax(1))[clear].all()
