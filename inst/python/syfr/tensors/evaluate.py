"""How good a shared model is on shared data, of which nothing is opened but the figures that were asked for.

Batches are computed on shares one after the other; their counts are added up as private numbers and opened once.
"""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from syfr.errors import InputTypeError, ShapeError
from syfr.face.arguments import array_argument, count_argument, seconds_argument
from syfr.face.owner import SharedModel, shared_model
from syfr.face.tasks import Emit, Steps, Task
from syfr.program import Program
from syfr.tensors.private import GET_SECONDS, PlainTensor, PrivateTensor, concatenate, place_of, predict

METRICS = ("accuracy", "confusion", "loss")
BATCH = 100


def evaluating(
    model: object,
    x: ArrayLike,
    y: ArrayLike,
    *,
    metrics: Sequence[str] = ("accuracy",),
    batch: int = BATCH,
    timeout: float = GET_SECONDS,
) -> Task[dict[str, Any]]:
    """Share data and labels with the workers that hold a model, and open how well it does.

    Args:
        x: (rows, *input shape), in the model's input range; tokens as whole numbers.
        y: (rows,) whole numbers from 0, the right classes; 0 or 1 for a model that ends in one sigmoid.
        metrics: of "accuracy", the share of rows with the right class; "confusion", how often each class was taken for
            each, right classes by rows; "loss", the Brier score: the mean squared distance of the probabilities from
            the right class, for models that end in a softmax or sigmoid; of one sigmoid, that of its probability.
        batch: rows that are computed at a time.

    Returns:
        A dictionary with a figure for each metric, and "rows".
    """
    shared = model if isinstance(model, SharedModel) else shared_model(model)
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown or not metrics:
        wrong = f"has '{unknown[0]}', which is not known" if unknown else "is empty"
        raise InputTypeError(f"metrics {wrong}. Give some of {', '.join(METRICS)}.")
    if "loss" in metrics and shared.program.head not in ("softmax", "sigmoid"):
        raise InputTypeError("The loss needs probabilities; this model ends in no softmax or sigmoid. Leave it out.")
    program = shared.program
    inputs = array_argument(x, program)
    labels = np.asarray(y, np.float64).reshape(-1)
    classes = _classes_of(program)
    if inputs.shape[:1] != labels.shape or not labels.size:
        raise ShapeError(f"There are {len(inputs)} rows of x and {labels.size} labels. Give one label for each row.")
    wrong_labels = labels[~((labels == np.rint(labels)) & (labels >= 0) & (labels < classes))]
    if wrong_labels.size:
        raise InputTypeError(
            f"y has the label {wrong_labels[0]:g}. Give the right classes as whole numbers from 0 to {classes - 1}."
        )
    size, seconds = count_argument(batch, "batch"), seconds_argument(timeout)

    def work(emit: Emit) -> Steps[dict[str, Any]]:
        place = place_of([shared.cluster])
        sums: dict[str, list[PrivateTensor]] = {metric: [] for metric in metrics}
        for start in range(0, len(inputs), size):
            rows = slice(start, start + size)
            deadline = time.monotonic() + seconds
            given = PlainTensor(program.spread(inputs[rows]), program.input_range)
            data = yield from given.share_steps(place, deadline)
            right = np.eye(classes)[labels[rows].astype(int)]
            target = yield from PlainTensor(right, (0.0, 1.0)).share_steps(place, deadline)
            _add(shared, data, target, sums)
            emit("shared_rows", rows=min(start + size, len(inputs)), of=len(inputs))
        figures: dict[str, Any] = {"rows": float(len(inputs))}
        for metric, parts in sums.items():
            total = functools.reduce(operator.add, parts)
            figures[metric] = yield from total.get_steps(time.monotonic() + seconds)
        return _finished(figures)

    return Task(work)


def _classes_of(program: Program) -> int:
    """How many classes a model tells apart: one sigmoid tells two."""
    outputs = program.output_shape[-1]
    if outputs == 1 and program.head != "sigmoid":
        raise InputTypeError(
            "The model gives one number, and no probability, for a row: it tells no classes apart. "
            "Evaluate a model that ends in a sigmoid, or in a number for each class."
        )
    return max(outputs, 2)


def _add(shared: SharedModel, data: PrivateTensor, target: PrivateTensor, sums: dict[str, list[PrivateTensor]]) -> None:
    """The sums of one batch; ``target``, (rows, classes), holds a 1 for the right class of each row."""
    output = predict(shared, data)
    single = output.shape[-1] == 1
    places = (output > 0).reshape(-1) if single else output.argmax(axis=1)
    if "accuracy" in sums:
        right = target.argmax(axis=1)
        sums["accuracy"].append((places == right).sum())
    if "confusion" in sums:
        chosen = concatenate([(places == number).reshape(1, -1) for number in range(target.shape[1])])
        sums["confusion"].append((chosen @ target).T)
    if "loss" in sums:
        probability = output.softmax(1) if shared.program.head == "softmax" else output.sigmoid()
        right = target[:, 1:] if single else target
        sums["loss"].append(((probability - right) ** 2).sum(axis=1).sum())


def _finished(figures: dict[str, Any]) -> dict[str, Any]:
    rows = figures["rows"]
    for metric in ("accuracy", "loss"):
        if metric in figures:
            figures[metric] = float(figures[metric].item()) / rows
    if "confusion" in figures:
        figures["confusion"] = np.rint(np.asarray(figures["confusion"]))
    return figures
