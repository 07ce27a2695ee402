"""From what was opened to what the model's predict() gives: heads, several outputs, whole numbers for labels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from syfr.program import Part, Program

Floats = NDArray[np.float64]
Result = NDArray[np.float64] | NDArray[np.int64]
Results = Result | list[Result] | dict[str, Result]


def results(program: Program, opened: Floats) -> Results:
    """The predictions for a batch: an array, or a list or a dictionary of them as predict() gives."""
    parts = program.outputs or (Part("", program.output_shape, program.head),)
    flat = opened.reshape(len(opened), -1)
    found: list[Result] = []
    start = 0
    for part in parts:
        end = start + math.prod(part.shape)
        found.append(apply_head(part.head, flat[:, start:end].reshape(len(flat), *part.shape)))
        start = end
    if all(part.name for part in parts):
        return {part.name: result for part, result in zip(parts, found, strict=True)}
    return found[0] if len(found) == 1 else found


def apply_head(head: str, opened: Floats) -> Result:
    """What the model does after its last linear layer, done by the client, who may see the logits anyway."""
    if head == "softmax":
        powers = np.exp(opened - opened.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    if head == "sigmoid":
        # exp of what is never positive, so that nothing overflows
        powers = np.exp(-np.abs(opened))
        return np.asarray(np.where(opened >= 0, 1.0, powers) / (1.0 + powers))
    return np.rint(opened).astype(np.int64) if head == "label" else opened


def output_shapes(program: Program) -> tuple[tuple[int, ...], ...]:
    """The shapes of the outputs, of one row each."""
    return tuple(part.shape for part in program.outputs) or (program.output_shape,)


def input_shapes(program: Program) -> tuple[tuple[int, ...], ...]:
    """The shapes of the inputs, of one row each."""
    return tuple(part.shape for part in program.inputs) or (program.input_shape,)
