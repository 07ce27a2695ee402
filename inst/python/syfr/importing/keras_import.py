"""A Keras 2 or Keras 3 model -> its Program and its weights.

The modules of the import read Keras's objects and never import Keras: the model itself brings it along.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syfr.errors import InputTypeError, ValueRangeError
from syfr.importing.answers import OUTPUTS, choose_answers
from syfr.importing.calls import KerasObject
from syfr.importing.elements import Known
from syfr.importing.graph import Answer, Graph
from syfr.importing.keras_graph import Reader, ends, is_model, names_of, row_of
from syfr.importing.lowering import lower
from syfr.importing.operations import Weights
from syfr.importing.places import NewShape, Places
from syfr.importing.tokens import spread_tokens
from syfr.program import MAX_INPUT, Part, Program
from syfr.ring.fixedpoint import Precision
from syfr.steps import Shape, is_output

__all__ = ["OUTPUTS", "Imported", "Weights", "import_model"]

DIGITS = 10
"""Binary digits behind the point that an answer carries, if the owner says nothing else."""


@dataclass(frozen=True, eq=False)
class Imported:
    """A model ready to be shared: what everybody may know of it, and its secret weights by step number.

    ``known`` is for the range check: what the ranges of a step's inputs do not tell, by step number.
    """

    program: Program
    weights: dict[int, Weights] = field(repr=False)
    known: dict[int, Known] = field(default_factory=dict, repr=False)


def import_model(
    model: KerasObject,
    *,
    precision: Precision | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
    untrusted_clients: bool = False,
    output: str = "model",
    k: int = 5,
    digits: int | None = None,
    classes: Sequence[str] = (),
) -> Imported:
    """Turn a built Keras model into a Program and weights.

    Args:
        precision: the number format.
        input_range: smallest and largest input.
        untrusted_clients: whether inputs are lifted from a small ring.
        output: what clients get, one of OUTPUTS; ``k`` labels for "top_k".
        digits: binary digits behind the point that an answer carries; None for all.
        classes: names of the classes, which clients are told.

    Raises:
        UnsupportedLayerError: a layer or argument cannot be computed privately.
        InputTypeError: this is not a Keras model.
        ValueRangeError: weights or an input range are not finite.
    """
    low, high = (float(end) for end in input_range)
    _check_range(low, high)
    if not is_model(model):
        raise InputTypeError(f"An object of class {type(model).__name__} is not a Keras model; pass a built one.")
    number_format = precision or Precision()
    graph, inputs, rows = _graph(model)
    low, high = _with_tokens((low, high), inputs, number_format)
    _check_classes(graph, classes)
    choose_answers(graph, output, k, number_format)
    labels = output in ("label", "top_k")
    empty = Program(graph.input_shape, (), number_format, (low, high))
    steps, weights, known = lower(graph, number_format, empty.input_scale)
    answers = graph.answers
    shapes = [step.output_shape for step in steps if is_output(step)]
    several = len(answers) > 1 or bool(answers[0].name or answers[0].shape)
    program = Program(
        input_shape=graph.input_shape,
        steps=tuple(steps),
        precision=number_format,
        input_range=(low, high),
        head=answers[0].head if len(answers) == 1 else "linear",
        rows=rows,
        untrusted_clients=untrusted_clients,
        digits=0 if labels else digits,
        inputs=inputs,
        outputs=_outputs(answers, shapes) if several else (),
        classes=tuple(classes),
    )
    program.check()
    return Imported(program, weights, known)


def _check_range(low: float, high: float) -> None:
    given = f"input_range is from {low:g} to {high:g}"
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueRangeError(f"{given}. Give two finite numbers, the smaller first.")
    if max(abs(low), abs(high)) >= MAX_INPUT:
        raise ValueRangeError(f"{given}; inputs must be below {MAX_INPUT:g} in magnitude. Scale them down.")
    if high - low <= 1 / MAX_INPUT:
        raise ValueRangeError(f"{given}; it must be wider than {1 / MAX_INPUT:g}. Scale the inputs up.")


def _check_classes(graph: Graph, classes: Sequence[str]) -> None:
    """Each output has as many numbers as there are classes; one number stands for two."""
    shapes = graph.shapes()
    counts = {2 if shapes[answer.value][-1] == 1 else shapes[answer.value][-1] for answer in graph.answers}
    if classes and counts != {len(classes)}:
        found = " and ".join(map(str, sorted(counts)))
        names = "1 name" if len(classes) == 1 else f"{len(classes)} names"
        raise ValueRangeError(f"classes has {names}; the model tells {found} classes apart. Give a name for each.")


def _graph(model: KerasObject) -> tuple[Graph, tuple[Part, ...], int | None]:
    """The graph of a model, the parts of its input if there are several or tokens, and the rows of a batch."""
    inputs, outputs, taken, given = ends(model)
    shapes = [row_of(tensor, model) for tensor in inputs]
    batch = inputs[0].shape[0]
    names = sorted(map(str, taken)) if isinstance(taken, Mapping) else [_name(tensor) for tensor in inputs]
    graph, values = _opened(shapes)
    reader = Reader(graph, model, inputs, values)
    found = [reader.value(tensor) for tensor in outputs]
    named = zip(found, names_of(given, len(found)), strict=True)
    graph.answers = [Answer(value, name) for value, name in named]
    sizes = spread_tokens(graph, values, shapes)
    parts = tuple(Part(name, shape, vocabulary=size) for name, shape, size in zip(names, shapes, sizes, strict=True))
    return graph, parts if len(parts) > 1 or any(sizes) else (), None if batch is None else int(batch)


def _with_tokens(span: tuple[float, float], inputs: Sequence[Part], number_format: Precision) -> tuple[float, float]:
    """The range of an input that holds the zeros and ones of tokens, besides what is declared for other inputs."""
    if not any(part.vocabulary for part in inputs):
        return span
    if all(part.vocabulary for part in inputs):
        return 0.0, 1.0
    low, high = min(span[0], 0.0), max(span[1], 1.0)
    if max(-low, high) > 2.0**number_format.fraction_bits:
        raise ValueRangeError(f"input_range is {span}, too wide for an input beside tokens. Scale that input down.")
    return low, high


def _name(tensor: Any) -> str:
    return str(tensor._keras_history[0].name)


def _opened(shapes: Sequence[Shape]) -> tuple[Graph, list[int]]:
    """An empty graph, and the values of the inputs, which lie one after the other where there are several."""
    if len(shapes) == 1:
        return Graph(shapes[0]), [0]
    graph = Graph((sum(map(math.prod, shapes)),))
    values, start = [], 0
    for shape in shapes:
        end = start + math.prod(shape)
        values.append(graph.chain([Places("input", 0, tuple(range(start, end))), NewShape("input", shape)], 0))
        start = end
    return graph, values


def _outputs(answers: Sequence[Answer], shapes: Sequence[Shape]) -> tuple[Part, ...]:
    return tuple(
        Part(answer.name, answer.shape or shape, answer.head) for answer, shape in zip(answers, shapes, strict=True)
    )
