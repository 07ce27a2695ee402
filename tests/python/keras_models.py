"""What the tests of the import share: both generations of Keras, random weights, the comparison with Keras."""

from __future__ import annotations

import os
from types import ModuleType

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import plain
import tf_keras
from syfr.importing.keras_import import Imported, import_model
from syfr.importing.keras_layers import KerasObject
from syfr.program import Program

GENERATIONS: dict[str, ModuleType] = {"keras2": tf_keras, "keras3": keras}


def sequential(
    generation: ModuleType, shape: tuple[int, ...], *layers: KerasObject, rows: int | None = None
) -> KerasObject:
    """A Sequential model of either generation, with random weights."""
    model = generation.Sequential([inputs(generation, shape, rows), *layers])
    randomize(model)
    return model


def inputs(generation: ModuleType, shape: tuple[int, ...], rows: int | None = None) -> KerasObject:
    """The symbolic input of a model."""
    return generation.Input(shape, batch_size=rows)


def randomize(model: KerasObject, seed: int = 1) -> None:
    """Weights that nothing cancels in: biases and moving statistics too, variances positive."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.name
        values = random.normal(0.0, 0.4, tuple(weight.shape))
        if "variance" in name or "gamma" in name:
            values = random.uniform(0.5, 2.0, tuple(weight.shape))
        if "seed" not in name:
            weight.assign(values)


def agree(model: KerasObject, *, rows: tuple[int, ...] = (1, 3), tolerance: float = 1e-4) -> Imported:
    """Import the model and require that the Program computes what Keras does; returns what was imported."""
    imported = import_model(model)
    program = imported.program
    assert Program.from_message(program.to_message()) == program
    random = np.random.default_rng(7)
    for count in rows:
        x = random.uniform(0.0, 1.0, (count, *program.input_shape)).astype(np.float32)
        expected = np.asarray(model(x, training=False))
        found = plain.head(program, plain.evaluate(program, imported.weights, x))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    return imported
