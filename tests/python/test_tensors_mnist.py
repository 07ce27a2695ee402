"""The accuracy of two networks on 1,000 real images, with nothing opened but the count of right answers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import syfr as sy
from syfr.face.owner import sharing
from syfr.tensors.evaluate import evaluating

pytest_plugins = ("cluster_fixtures",)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Images = tuple[Any, Any]


@pytest.fixture(scope="module")
def mnist() -> Iterator[dict[str, Images]]:
    """Images from 0 to 1 and labels, "train" and "test"."""
    path = Path(os.environ.get("SYFR_MNIST", Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist.npz"))
    if not path.is_file():
        pytest.skip("needs the full MNIST test set; name its file in SYFR_MNIST")
    with np.load(path) as data:
        yield {part: (data[f"x_{part}"][..., None] / 255.0, data[f"y_{part}"]) for part in ("train", "test")}


def convolutions(root: Path, mnist: dict[str, Images]) -> Any:
    """The bundled 16/32/64 model."""
    import keras

    return keras.models.load_model(root / "inst" / "extdata" / "mnist-conv.h5", compile=False)


def dense(root: Path, mnist: dict[str, Images]) -> Any:
    """784-500-10, trained for an epoch."""
    import keras

    keras.utils.set_random_seed(1)
    layers = [keras.layers.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(500, activation="relu")]
    model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(*mnist["train"], epochs=1, batch_size=64, verbose=0)
    return model


def openings(cluster: sy.TFECluster) -> list[str]:
    """What server0 has said of what it helped to open."""
    said = [line["message"] for line in cluster.logs(10_000) if line["worker"] == "server0"]
    return [found[0] for line in said if (found := re.search(r"opens \d+ number\(s\) to .*", line))]


@pytest.mark.parametrize("make", [convolutions, dense])
def test_the_private_accuracy_is_the_plain_one_and_nothing_else_is_opened(
    make: Any, root: Path, mnist: dict[str, Images], cluster: sy.TFECluster
) -> None:
    pytest.importorskip("keras", reason="needs keras")
    model, (images, labels) = make(root, mnist), (mnist["test"][0][:1000], mnist["test"][1][:1000])
    plain = np.mean(model.predict(images, verbose=0).argmax(1) == labels)
    sharing(model, cluster).wait()
    before = openings(cluster)
    found = evaluating(model, images, labels, timeout=300).wait()
    assert found == {"rows": 1000.0, "accuracy": plain}
    (opened,) = openings(cluster)[len(before) :]
    assert opened.startswith("opens 1 number(s) to ")
