"""Shared models in expressions: the steps of their Program, on a whole tensor of inputs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from syfr.errors import RangeCheckError, ShapeError, UnsupportedLayerError
from syfr.program import Program
from syfr.steps import Combine, Concatenate, Linear, Reshape, Slice, Step, Take, Transpose, is_output
from syfr.tensors.expression import LARGEST, PRECISION, Builder, Node
from syfr.tensors.operations import scale


def apply_model(program: Program, number: str, x: Node) -> Node:
    """What a model gives for every row of ``x``, before its head: (rows, ...)."""
    if x.shape[1:] != program.input_shape:
        wanted = ("rows", *program.input_shape)
        tokens = "Tokens are rows of zeros there, with a 1 in the place of each."
        remedy = tokens if program.takes_tokens else "Reshape it."
        shape = ", ".join(map(str, wanted))
        raise ShapeError(f"The model takes a tensor of shape ({shape}); this one is {x.shape}. {remedy}")
    if program.untrusted_clients or program.outputs or program.precision != PRECISION:
        raise UnsupportedLayerError(
            "Models with several outputs, for untrusted clients or of another precision cannot be used on tensors. "
            "Share the model with the usual settings."
        )
    low, high = program.input_range
    if x.range[0] < low or x.range[1] > high:
        raise RangeCheckError(
            f"The model was shared for inputs from {low:g} to {high:g}; this tensor was declared from {x.range[0]:g} "
            f"to {x.range[1]:g}. Share the model for its range (input_range), or declare a tighter range of the tensor."
        )
    rows = x.shape[0]
    scaled = x if program.input_scale == 1.0 else scale(x, program.input_scale)

    def make(builder: Builder, read: Sequence[int]) -> int:
        values = [read[0]]
        for place, step in enumerate(program.steps):
            moved = on_rows(step, rows, values)
            if isinstance(moved, Linear):
                values.append(builder.add_linear(moved, (number, program.weights_of(place))))
            else:
                values.append(builder.add(moved))
        return values[-1]

    span = -LARGEST / 2 + 1, LARGEST / 2 - 1
    return Node("model", (scaled,), (rows, *program.output_shape), span, make)


def on_rows(step: Step, rows: int, values: Sequence[int]) -> Step:
    """A step of a model with the rows as first axis; ``values`` are the numbers of the model's values so far."""
    changed: dict[str, Any] = {"output_shape": (rows, *step.output_shape)}
    if isinstance(step, (Linear, Reshape)):
        changed["input_shape"] = (rows, *step.input_shape)
    if isinstance(step, (Take, Concatenate)):
        changed["axis"] = step.axis + 1
    if isinstance(step, Transpose):
        changed["axes"] = (0, *(axis + 1 for axis in step.axes))
    if isinstance(step, Slice):
        raise UnsupportedLayerError("Models with several inputs cannot be used on tensors. Use a model with one.")
    return reading(replace(step, **changed), values)


def reading(step: Step, values: Sequence[int]) -> Step:
    """A step of another Program that reads ``values``; an output becomes a value: truncated to f, or left as it is."""
    changed: dict[str, Any] = {}
    if isinstance(step, Linear):
        changed["plus"] = tuple((values[value], factor) for value, factor in step.plus)
        changed["weights"] = None
    for name in ("source", "left", "right"):
        if hasattr(step, name):
            changed[name] = values[getattr(step, name)]
    if "sources" in getattr(step, "__dataclass_fields__", {}):
        changed["sources"] = tuple(values[source] for source in step.sources)
    if is_output(step):
        exact = isinstance(step, Combine) and step.scale_bits == 0
        changed["then"] = "nothing" if exact else "truncate"
    return replace(step, **changed)
