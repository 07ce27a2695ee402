"""The bundled model on real images: private answers next to Keras's own, on the sample and on all 10,000 images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from syfr.importing.bounds import check_ranges
from syfr.importing.keras_import import import_model
from syfr.party.memory import MemoryCluster

Floats = NDArray[np.float64]

ROWS = 16


@dataclass
class Compared:
    """Logits in the clear and from the protocol."""

    plain: Floats
    private: Floats
    delays: set[int]

    @property
    def error(self) -> float:
        """The largest difference of a logit."""
        return float(np.abs(self.plain - self.private).max())

    @property
    def same(self) -> NDArray[np.bool_]:
        """Where both name the same class."""
        labels: NDArray[np.bool_] = self.plain.argmax(axis=1) == self.private.argmax(axis=1)
        return labels


@pytest.fixture(scope="module")
def model(root: Path) -> Any:
    keras = pytest.importorskip("keras", reason="needs keras to load the bundled model")
    return keras.models.load_model(root / "inst" / "extdata" / "mnist-conv.h5", compile=False)


@pytest.fixture(scope="module")
def all_images() -> Iterator[Floats]:
    path = Path(os.environ.get("SYFR_MNIST", Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist.npz"))
    if not path.is_file():
        pytest.skip("needs the full MNIST test set; name its file in SYFR_MNIST")
    with np.load(path) as data:
        yield data["x_test"].reshape(-1, 28, 28, 1) / 255.0


def compare(model: Any, images: Floats) -> Compared:
    imported = import_model(model)
    check_ranges(imported.program, imported.weights)
    kernels = {number: one.kernel for number, one in imported.weights.items()}
    biases = {number: one.bias for number, one in imported.weights.items()}
    cluster = MemoryCluster(imported.program, kernels, biases)
    answers = [cluster.query(images[start : start + ROWS]) for start in range(0, len(images), ROWS)]
    plain = np.concatenate([np.asarray(model(images[i : i + 1])) for i in range(len(images))])
    return Compared(plain, np.concatenate([one.values for one in answers]), {one.delays for one in answers})


def test_the_sample_is_predicted_as_in_the_clear(model: Any, root: Path) -> None:
    with np.load(root / "inst" / "extdata" / "mnist-sample.npz") as data:
        images, labels = data["x_test"][:200].reshape(-1, 28, 28, 1) / 255.0, data["y_test"][:200]
    compared = compare(model, images)
    assert compared.error < 0.01
    assert compared.same.all()
    assert compared.delays == {12}
    assert compared.private[:3].argmax(axis=1).tolist() == labels[:3].tolist() == [7, 2, 1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_images(model: Any, all_images: Floats) -> None:
    compared = compare(model, all_images)
    top = np.sort(compared.plain, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * compared.error
    print(f"{len(clear)} images: largest error of a logit {compared.error:.2g}, {compared.same.sum()} same labels")
    assert len(clear) == 10_000
    assert compared.error < 0.01
    assert compared.same[clear].all()
    assert compared.same.sum() >= 9_990
