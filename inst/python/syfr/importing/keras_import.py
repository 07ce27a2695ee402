"""A Keras 2 or Keras 3 model -> its Program and its weights.

This file and keras_layers.py are the only ones that know Keras; they never import it. Both generations keep
the history of every symbolic tensor: the layer that made it and the call it was made by. The chain of layers
is walked back along it, from the output to the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from syfr.errors import InputTypeError, ValueRangeError
from syfr.importing.folding import lower
from syfr.importing.keras_layers import Call, Head, KerasObject, convert, keras_class, refuse
from syfr.importing.operations import Operation, Weights
from syfr.program import MAX_INPUT, Program
from syfr.ring.fixedpoint import Precision
from syfr.steps import Linear, Shape

__all__ = ["Imported", "Weights", "import_model"]


@dataclass(frozen=True, eq=False)
class Imported:
    """A model ready to be shared: what everybody may know of it, and its secret weights by step number."""

    program: Program
    weights: dict[int, Weights] = field(repr=False)


def import_model(
    model: KerasObject,
    *,
    precision: Precision | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
    untrusted_clients: bool = False,
) -> Imported:
    """Turn a built Keras model, a chain of layers with one input and one output, into a Program and weights.

    Raises UnsupportedLayerError for a layer or argument that cannot be computed privately, InputTypeError for
    anything that is not a Keras model, and ValueRangeError for weights or an input range that are not finite.
    """
    low, high = (float(end) for end in input_range)
    if not (low < high and max(abs(low), abs(high)) < MAX_INPUT and high - low > 1 / MAX_INPUT):
        raise ValueRangeError(f"input_range is {input_range}; give two finite numbers, the smaller first.")
    if not _is_model(model):
        raise InputTypeError(
            f"An object of class {type(model).__name__} is not a Keras model; pass a built one."
        )
    calls = _chain(model)
    batch = tuple(model.inputs[0].shape)
    rows, shape = batch[0], _row(batch, calls[0].layer if calls else model)
    operations, head = _operations(calls)
    steps, weights = lower(operations, shape)
    program = Program(
        input_shape=shape,
        steps=tuple(steps),
        precision=precision or Precision(),
        input_range=(low, high),
        head=head,
        rows=None if rows is None else int(rows),
        untrusted_clients=untrusted_clients,
    )
    program.check()
    return Imported(program, _for_scaled_input(program, weights))


def _for_scaled_input(program: Program, weights: Mapping[int, Weights]) -> dict[int, Weights]:
    """The weights with the scale of the input taken out of every layer that reads it."""
    reads_input = {0}
    scaled = dict(weights)
    for number, step in enumerate(program.steps):
        if step.sources[0] in reads_input:
            if isinstance(step, Linear):
                scaled[number] = replace(weights[number], kernel=weights[number].kernel / program.input_scale)
            else:
                reads_input.add(number + 1)
    return scaled


def _operations(calls: Sequence[Call]) -> tuple[list[Operation], str]:
    """The operations of a chain, and the head that ends it."""
    operations: list[Operation] = []
    head: Head | None = None
    for call in calls:
        for found in convert(call):
            if head is not None:
                refuse(
                    head.layer,
                    f"applies {head.kind} before layer '{call.layer.name}'",
                    f"{head.kind.capitalize()} is supported as the very end of a model; use relu inside.",
                )
            if isinstance(found, Head):
                head = found
            else:
                operations.append(found)
    return operations, "linear" if head is None else head.kind


def _chain(model: KerasObject) -> list[Call]:
    """The calls of layers that lead from the one input of a model to its one output, nested models opened."""
    inputs, outputs = _ends(model)
    if len(inputs) != 1 or len(outputs) != 1:
        refuse(
            model,
            f"has {len(inputs)} inputs and {len(outputs)} outputs",
            "Models with one input and one output are supported.",
        )
    calls: list[Call] = []
    tensor = outputs[0]
    while tensor is not inputs[0]:
        layer, place = tensor._keras_history[:2]
        node = layer._inbound_nodes[place]
        sources = _sources(node)
        if len(sources) != 1:
            refuse(
                layer,
                f"takes {len(sources)} inputs",
                "A model must be a single chain of layers, without branches or residual additions.",
            )
        if _trains_always(node):
            refuse(layer, "is called with training=True", "Call it without the argument.")
        if _is_model(layer):
            calls.extend(reversed(_chain(layer)))
        else:
            calls.append(Call(layer, _row(sources[0].shape, layer), _row(tensor.shape, layer)))
        tensor = sources[0]
    return calls[::-1]


def _is_model(layer: KerasObject) -> bool:
    return any(cls.__name__ == "Model" and keras_class(cls) is cls for cls in type(layer).__mro__)


def _ends(model: KerasObject) -> tuple[list[Any], list[Any]]:
    """The symbolic inputs and outputs of a model."""
    known = keras_class(type(model))
    if known is None or known.__name__ not in ("Sequential", "Functional", "Model"):
        refuse(model, "defines its own call()", "Sequential and Functional models are supported.")
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs = outputs = None
    if not inputs or not outputs:
        refuse(
            model,
            "has no symbolic input and output",
            "Sequential and Functional models are supported, built with an Input layer or input_shape.",
        )
    return list(inputs), list(outputs)


def _sources(node: KerasObject) -> list[Any]:
    """The tensors that a call read: Keras 2 keeps them flat as keras_inputs, Keras 3 as input_tensors."""
    return list(getattr(node, "keras_inputs", None) or node.input_tensors)


def _trains_always(node: KerasObject) -> bool:
    """Whether predict() too runs the call in training mode: in Keras 2 the argument stays, in Keras 3 it does not."""
    return bool(getattr(node, "call_kwargs", {}).get("training"))


def _row(batch: Sequence[Any], layer: KerasObject) -> Shape:
    shape = tuple(batch)[1:]
    if not shape or any(size is None for size in shape):
        refuse(
            layer,
            f"works on rows of shape {shape}",
            "Every size but the batch's must be fixed; give the Input layer a full shape.",
        )
    return tuple(int(size) for size in shape)
