"""Runs models through three parties in memory and compares with Keras; what that took, and the table of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from keras_models import GENERATIONS, answers, leaves
from layer_cases import CASES, Case, Shape, by_row, rows
from numpy.typing import NDArray
from syfr.importing.bounds import check_ranges
from syfr.importing.keras_import import Imported, import_model
from syfr.importing.keras_layers import KerasObject
from syfr.party.memory import MemoryCluster
from syfr.program import Program


@dataclass(frozen=True)
class Measured:
    """What a query took.

    Attributes:
        error: the largest difference from Keras.
        delays: message delays between the workers.
        online, preprocessing: bytes between the workers, for the batch.
    """

    error: float
    delays: int
    online: int
    preprocessing: int


def measure(imported: Imported, model: KerasObject, batches: Sequence[NDArray[np.float32]]) -> Measured:
    """Ask three parties in memory, and Keras."""
    program = imported.program
    check_ranges(program, imported.weights, imported.known)
    kernels = {number: weights.kernel for number, weights in imported.weights.items()}
    cluster = MemoryCluster(program, kernels, {number: weights.bias for number, weights in imported.weights.items()})
    dealt = cluster.prepare(len(batches[0]))
    answer = cluster.query(by_row(batches))
    expected = leaves(model(list(batches) if len(batches) > 1 else batches[0], training=False))
    found = answers(program, answer.values)
    if [each.shape for each in found] != [each.shape for each in expected]:
        raise AssertionError("the answer has another shape than Keras's")
    error = max(float(np.max(np.abs(ours - theirs))) for ours, theirs in zip(found, expected, strict=True))
    online = sum(array.nbytes for sent in answer.messages for array in sent.arrays)
    return Measured(error, answer.delays, online, sum(array.nbytes for array in dealt))


def input_unit(program: Program) -> float:
    """Inputs that are multiples of this are encoded exactly."""
    return 2.0**-program.precision.fraction_bits / program.input_scale


@lru_cache(maxsize=1)
def _imported(case: Case, generation: str, shape: Shape) -> tuple[Imported, KerasObject]:
    model = case.model(GENERATIONS[generation], shape)
    return import_model(model, input_range=(-case.largest, case.largest)), model


@cache
def measured(case: Case, generation: str, shape: Shape, count: int) -> Measured:
    """What a batch of ``count`` rows through a layer took; asked once in a run of the tests."""
    imported, model = _imported(case, generation, shape)
    return measure(imported, model, rows(case, shape, count, input_unit(imported.program)))


# ---- the table ----

COLUMNS = ("layer", "arguments", "input", "delays", "online_bytes", "preprocessing_bytes", "worst_error")
BATCHES = (1, 3, 17)


def worst_error(case: Case) -> float:
    """Of all batches."""
    return max(measured(case, case.generations[-1], case.shapes[0], count).error for count in BATCHES)


def line(case: Case, stated: str | None) -> list[str]:
    """What the table says of a case: delays and bytes of one row, and its worst error, the stated one if it will do."""
    shape = case.shapes[0]
    one, worst = measured(case, case.generations[-1], shape, 1), worst_error(case)
    shown = " x ".join(map(str, shape)) if case.tensors == 1 else f"{case.tensors} of {' x '.join(map(str, shape))}"
    if case.vocabulary:
        shown = f"{shown} of {case.vocabulary} tokens"
    error = stated if stated and will_do(stated, worst) else f"{rounded_up(worst, case.tolerance):.12g}"
    return [case.layer, case.arguments, shown, str(one.delays), str(one.online), str(one.preprocessing), error]


def will_do(stated: str, worst: float) -> bool:
    """Whether an error that the table states is a close enough upper bound of what one run finds."""
    return worst <= float(stated) <= 10 * worst


def rounded_up(error: float, most: float) -> float:
    """Twice as much, to one digit: shares are random, so one run finds more than another."""
    if error == 0.0:
        return 0.0
    digit = 10.0 ** math.floor(math.log10(2 * error))
    return min(math.ceil(2 * error / digit) * digit, most)


def table(committed: list[list[str]]) -> list[list[str]]:
    """All lines, the names of the columns first."""
    stated = {(row[0], row[1]): row[-1] for row in committed}
    return [list(COLUMNS), *(line(case, stated.get((case.layer, case.arguments))) for case in CASES)]
