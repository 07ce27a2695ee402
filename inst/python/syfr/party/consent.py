"""Who may open what: a computation gives its output to who asked for it, so all whose data flows into it must agree.

Who shared a tensor may open what is made of it, and so may those whom it has permitted. For anybody else a tensor that
was shared for aggregates may only go into sums over all of its rows, each treated alike: as soon as it meets a tensor
of another owner, who could so pick single rows, or something is done that this file cannot follow, it does not.
The check reads the public Program alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from syfr.errors import RefusedError
from syfr.party.endpoint import Endpoint
from syfr.party.tensors import Tensor
from syfr.program import Program
from syfr.steps import (
    Combine,
    Concatenate,
    Linear,
    Product,
    Reshape,
    Shape,
    Signs,
    Slice,
    Step,
    Take,
    Transpose,
    Weigh,
    is_output,
)

SUMMED = -1
"""Instead of an axis: the rows have been summed up."""

LOST = -2
"""Nobody knows where the rows are: single ones may show."""

Places = Mapping[int, int]
"""For each input that flows into a value, the axis of its rows there."""


def require_consent(program: Program, inputs: Sequence[Tensor], caller: Endpoint, owners: Sequence[Endpoint]) -> None:
    """Raise RefusedError unless ``caller`` may open the outputs; ``owners`` are who shared the inputs."""
    shapes = [tensor.shape for tensor in inputs]
    flows = rows_in_outputs(program, shapes, [id(owner) for owner in owners])
    for number, summed in flows.items():
        tensor = inputs[number]
        if owners[number] is caller or caller.identity.name in tensor.permitted:
            continue
        if tensor.reveal == "aggregate" and summed and tensor.shape[0] >= tensor.min_rows:
            continue
        allowed = "only sums over all rows" if tensor.reveal == "aggregate" else "nothing"
        raise RefusedError(
            f"{tensor.owner} has not agreed that {caller.identity} opens this: of its tensor of shape {tensor.shape} "
            f"{allowed} may be opened. Ask its owner to permit it."
        )


def rows_in_outputs(program: Program, shapes: Sequence[Shape], owners: Sequence[int]) -> dict[int, bool]:
    """For each input that flows into an output, whether only sums over all of its rows do."""
    starts = {start: number for number, start in enumerate(_starts(shapes))}
    anything = dict.fromkeys(range(len(shapes)), LOST)
    places, value_shapes, found = [anything], [program.input_shape], dict[int, bool]()
    for step in program.steps:
        if isinstance(step, Slice) and step.source == 0 and _is_whole(step, starts, shapes):
            after = {starts[step.start]: 0}
        else:
            after = _after(step, [places[source] for source in step.sources], value_shapes[step.sources[0]])
            if len({owners[number] for number in after}) > 1:
                after = dict.fromkeys(after, LOST)
        if is_output(step):
            for number, axis in after.items():
                found[number] = found.get(number, True) and axis == SUMMED
        places.append(after)
        value_shapes.append(step.output_shape)
    return found


def _starts(shapes: Sequence[Shape]) -> list[int]:
    return [0, *itertools.accumulate(math.prod(shape) for shape in shapes)][:-1]


def _is_whole(step: Slice, starts: Mapping[int, int], shapes: Sequence[Shape]) -> bool:
    return step.start in starts and shapes[starts[step.start]] == step.output_shape


def _after(step: Step, sources: Sequence[Places], shape: Shape) -> dict[int, int]:
    """Where rows are after a step that reads values whose rows are at ``sources``; ``shape`` is that of the first."""
    moved = [{number: _moved(step, axis, shape) for number, axis in places.items()} for places in sources]
    joined: dict[int, int] = {}
    for places in moved:
        for number, axis in places.items():
            joined[number] = axis if joined.get(number, axis) == axis else LOST
    return joined


def _moved(step: Step, axis: int, shape: Shape) -> int:
    """The axis of the rows after one step."""
    if axis in (SUMMED, LOST):
        return axis
    if isinstance(step, Weigh):
        if axis == len(shape) - 1:
            return SUMMED if set(step.factors) in ({1}, {-1}) else LOST
        return axis
    if isinstance(step, Transpose):
        return step.axes.index(axis)
    if isinstance(step, Take):
        return axis if step.axis != axis else LOST
    if isinstance(step, Concatenate):
        return axis if step.axis != axis else LOST
    if isinstance(step, Reshape):
        before, after = step.input_shape, step.output_shape
        kept = before[: axis + 1] == after[: axis + 1]
        return axis if kept else LOST
    if isinstance(step, Linear):
        read = 1 if step.geometry is None else 3
        return axis if axis < len(shape) - read else LOST
    alike = isinstance(step, (Combine, Signs)) or (isinstance(step, Product) and not step.matrices)
    return axis if alike else LOST
