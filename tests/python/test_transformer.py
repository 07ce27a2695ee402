"""A transformer from tokens to probabilities: three parties in memory answer as Keras does, at what is declared."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from keras_models import GENERATIONS, answers
from syfr.face.imports import imported
from syfr.importing.keras_import import Imported
from syfr.party.memory import MemoryCluster
from syfr.party.preprocessing import hash_bytes, program_cost
from syfr.program import Program

SMALL = {"layers": 1, "width": 16, "tokens": 8, "heads": 2, "vocabulary": 30}


@pytest.fixture
def made(bench: Callable[[str], ModuleType]) -> ModuleType:
    """The module that makes the model for measurements too."""
    return bench("transformer")


def shared(model: Any, seen: Any) -> Imported:
    """As an owner shares it who has texts like those to come."""
    return imported(model, calibrate=seen, allow_unproven=True, digits=None)


def asked(model: Any, found: Imported, x: Any) -> tuple[float, int, int]:
    """The largest error of the probabilities of some texts, the delays and the bytes online."""
    program = found.program
    cluster = MemoryCluster(
        program,
        {number: weights.kernel for number, weights in found.weights.items()},
        {number: weights.bias for number, weights in found.weights.items()},
    )
    answer = cluster.query(x.astype(np.float64))
    (probabilities,) = answers(program, answer.values)
    error = float(np.abs(probabilities - np.asarray(model(x, training=False))).max())
    return error, answer.delays, sum(array.nbytes for sent in answer.messages for array in sent.arrays)


def declared(program: Program, rows: int) -> tuple[int, int]:
    """Delays and bytes online that the steps declare."""
    cost = program_cost(program)
    return cost.delays, cost.online_bytes * rows + hash_bytes(program)


@pytest.mark.parametrize("generation", sorted(GENERATIONS))
def test_a_small_one_answers_as_keras_does(made: ModuleType, generation: str) -> None:
    model = made.transformer(GENERATIONS[generation], **SMALL)
    found = shared(model, made.texts(40, 8, 30))
    x = made.texts(6, 8, 30)
    error, delays, online = asked(model, found, x)
    assert error < 0.02
    assert (delays, online) == declared(found.program, len(x))


def test_another_text_has_another_answer(made: ModuleType) -> None:
    model = made.transformer(GENERATIONS["keras3"], **SMALL)
    assert np.asarray(model(made.texts(6, 8, 30))).std(axis=0).min() > 0.05


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_large_one_answers_as_keras_does(made: ModuleType) -> None:
    model = made.transformer(GENERATIONS["keras3"])
    found = shared(model, made.texts(32))
    error, delays, online = asked(model, found, made.texts(4))
    assert error < 0.01
    assert (delays, online) == declared(found.program, 4)
    assert delays < 400
    assert online / 4 < 40e6
