"""What the tests of the import share: both generations of Keras, random weights, the comparison with Keras."""

from __future__ import annotations

import math
import os
from types import ModuleType

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tf_keras
from syfr.importing.evaluation import evaluate
from syfr.importing.keras_import import Imported, import_model
from syfr.importing.keras_layers import KerasObject
from syfr.importing.operations import Floats
from syfr.program import Part, Program

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


def agree(
    model: KerasObject, *, rows: tuple[int, ...] = (1, 3), tolerance: float = 1e-4, low: float = 0.0, high: float = 1.0
) -> Imported:
    """Import the model and require that the Program computes what Keras does; returns what was imported."""
    imported = import_model(model, input_range=(low, high))
    program = imported.program
    assert Program.from_message(program.to_message()) == program
    random = np.random.default_rng(7)
    for count in rows:
        shapes = [tuple(tensor.shape)[1:] for tensor in model.inputs]
        x = [random.uniform(low, high, (count, *shape)).astype(np.float32) for shape in shapes]
        expected = leaves(model(x[0] if len(x) == 1 else x, training=False))
        row = x[0] if len(x) == 1 else np.concatenate([part.reshape(count, -1) for part in x], axis=1)
        found = answers(program, evaluate(program, imported.weights, row))
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    return imported


def answers(program: Program, opened: Floats) -> list[Floats]:
    """What the client makes of a batch that was opened: one array for each output."""
    parts = program.outputs or (Part("", program.output_shape, program.head),)
    flat, found, start = opened.reshape(len(opened), -1), [], 0
    for part in parts:
        end = start + math.prod(part.shape)
        found.append(head(part.head, flat[:, start:end].reshape(-1, *part.shape)))
        start = end
    return found


def head(kind: str, logits: Floats) -> Floats:
    """A softmax or a sigmoid, done by the client."""
    if kind == "softmax":
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)
    return 1.0 / (1.0 + np.exp(-logits)) if kind == "sigmoid" else logits


def leaves(structure: object) -> list[Floats]:
    """The arrays of a model's result, which may be a list or a dictionary."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in leaves(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for value in structure for leaf in leaves(value)]
    return [np.asarray(structure)]
