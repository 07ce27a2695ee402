"""Networks of real size, and what they are shown: `make bench-large` measures each of NETWORKS.

Weights are random; statistics of normalisation are those of photographs, so that numbers have the size that they have
in trained networks. The photographs are the two that scikit-learn ships. A transformer reads texts of random words.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.transformer import texts, transformer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Images = NDArray[Any]
"""Of numbers, or of tokens."""

SIZE = 224
SEED = 3
CROPS = 4
"""Pieces of each photograph."""


@dataclass(frozen=True)
class Network:
    """A network to measure.

    Attributes:
        name: for tables, and as the name of its model on the workers.
        build: makes the model, from the inputs that its ranges are calibrated on.
        seen, unseen: inputs for the calibration, and others, which the ranges must hold for too.
        options: how the model is shared.
        calibrated: whether its ranges come from ``seen``.
    """

    name: str
    build: Callable[[Images], Any]
    seen: Callable[[], Images]
    unseen: Callable[[], Images]
    options: dict[str, Any]
    calibrated: bool = True


def photographs(name: str, count: int = CROPS, size: int = SIZE) -> Images:
    """Square pieces of one of scikit-learn's photographs, from large to small, each brought to ``size``."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    picture = Image.fromarray(load_sample_image(name))
    random = np.random.default_rng(SEED)
    found = []
    for side in np.linspace(min(picture.size), size, count).astype(int):
        left, top = (int(random.integers(0, length - side + 1)) for length in picture.size)
        piece = picture.crop((left, top, left + int(side), top + int(side))).resize((size, size))
        found.append(np.asarray(piece, np.float32) / 255)
    return np.stack(found)


def ordinary_sizes(model: Any, x: Images, statistics: Images) -> None:
    """Give a network whose weights are random numbers of ordinary size, as they are in a trained one.

    Statistics of normalisation are those of the second images; without normalisation kernels are scaled instead, by
    what the first give. Branches count less than what they are added to: with weights that are random alone, a deep
    network blows up every rounding, that of float32 too.
    """
    normalised = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    for layer in normalised:
        layer.momentum = 0.0
        if layer.name.endswith(("_3_bn", "_project_BN")):
            layer.gamma.assign(0.2 * layer.gamma)
    value = x
    for layer in [] if normalised else model.layers[1:]:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(layer.kernel / np.std(np.asarray(layer(value))))
        value = layer(value)
    if normalised:
        model(statistics, training=True)


def application(name: str, precision: int) -> Network:
    """A network of keras.applications."""

    def build(x: Images) -> Any:
        import keras

        keras.utils.set_random_seed(SEED)
        shape = x.shape[1:]
        make = getattr(keras.applications, name)
        model = make(weights=None, input_shape=shape, classifier_activation=None, name=name)
        ordinary_sizes(model, x, x)
        return model

    options = {"precision": precision, "allow_unproven": True, "digits": None}
    return Network(name, build, lambda: photographs("china.jpg"), lambda: photographs("flower.jpg"), options)


def text_classifier() -> Network:
    """The transformer of transformer.py."""

    def build(_: Any) -> Any:
        import keras

        return transformer(keras)

    options = {"allow_unproven": True, "digits": None}
    return Network("Transformer", build, lambda: texts(CROPS), lambda: texts(CROPS, seed=SEED), options)


NETWORKS = [
    application("MobileNetV2", 17),
    application("ResNet50", 16),
    application("VGG16", 16),
    text_classifier(),
]
