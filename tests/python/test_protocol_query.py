"""Whole queries in memory: the answer against the plaintext twin, delays and bytes against what is declared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from harness import Model, small_models
from syfr.errors import ShapeError
from syfr.party.memory import Answer
from syfr.party.preprocessing import hash_bytes, program_cost
from syfr.protocol.cost import Cost
from syfr.protocol.roles import DEALER, SERVERS
from syfr.ring.fixedpoint import Precision
from syfr.steps import STEPS, Combine, Linear, Product, follows

MODELS = small_models()
UNIT = 2.0**-14


def tolerance(model: Model) -> float:
    """A unit for every rounding, grown by the largest gain of the layers behind it."""
    error = UNIT
    for number, _ in model.program.linear_steps():
        kernel = np.abs(model.kernels[number]).reshape(-1, model.kernels[number].shape[-1])
        error = error * float(kernel.sum(0).max()) + UNIT * (2 + kernel.shape[0])
    return error


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 3])
def test_the_answer_is_the_plaintext_twins(name: str, rows: int) -> None:
    model = MODELS[name]
    cluster = model.cluster()
    for seed in range(5):
        x = model.inputs(rows, seed)
        answer = cluster.query(x).values
        assert answer.shape == (rows, *model.program.output_shape)
        assert np.abs(answer - model.answer(x)).max() < tolerance(model)


FORMATS = [Precision(14, 40), Precision(10, 30), Precision(12, 36), Precision(18, 46)]


@pytest.mark.parametrize("precision", FORMATS, ids=str)
def test_other_number_formats_give_the_same_answers(precision: Precision) -> None:
    model = MODELS["relu"]
    changed = Model(replace(model.program, precision=precision), model.kernels, model.biases)
    x = changed.inputs(20)
    error = np.abs(changed.cluster().query(x).values - changed.answer(x)).max()
    assert error < tolerance(model) * 2.0 ** (14 - precision.fraction_bits)


def declared(model: Model, rows: int) -> Cost:
    """All steps' costs for so many rows, with the hashes of the swaps."""
    total = program_cost(model.program, model.padded)
    hashes = hash_bytes(model.program, model.padded)
    return Cost(total.delays, total.online_bytes * rows + hashes, total.preprocessing_bytes * rows)


def counted(answer: Answer, dealt_bytes: int) -> Cost:
    """What a query really took."""
    sent = sum(array.nbytes for message in answer.messages for array in message.arrays)
    return Cost(answer.delays, sent, dealt_bytes)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_delays_and_bytes_are_exactly_those_declared(name: str, rows: int) -> None:
    model = MODELS[name]
    cluster = model.cluster()
    dealt = sum(array.nbytes for array in cluster.prepare(rows))
    assert counted(cluster.query(model.inputs(rows)), dealt) == declared(model, rows)


def test_relu_takes_four_delays_a_lift_three_and_truncation_two() -> None:
    assert {name: declared(model, 1).delays for name, model in MODELS.items()} == {
        "output": 1,
        "relu": 4,
        "truncate": 2,
        "relu, padded": 3,
        "untrusted": 3 + 4,
        "untrusted, padded": 2 + 3,
        "mixed": 4 + 2 + 4,
        "mixed, padded": 3 + 2 + 3,
        "convolutions": 8,
        "exact relu": 2 + 3,
        "exact relu, padded": 2 + 2,
        "relu6": 2 + 3,
        "curve": 2 + 4,
        "signs of the input": 1 + 3,
        "label": 2 + 3 + 3,
        "product": 4 + 2,
        "moved": 2 + 4 + 2 + 4,
        "rows inside": 2 + 3,
        "two outputs": 4,
        "branches": 2 + 3 + 2 + 4,
    }


def test_every_message_goes_between_workers_and_has_its_own_name() -> None:
    for model in MODELS.values():
        messages = model.cluster().query(model.inputs(2)).messages
        names = [(message.sender, message.receiver, message.tag) for message in messages]
        assert len(set(names)) == len(names)
        for message in messages:
            assert message.sender in SERVERS
            assert message.receiver in SERVERS
            assert message.sender != message.receiver
            allowed = {
                (True, False): {"compare"},
                (False, True): {"answer"},
                (False, False): {"opened", "masked", "agree"},
            }[message.receiver == DEALER, message.sender == DEALER]
            assert message.tag[1] in allowed


def test_preprocessing_of_all_queries_is_finished_before_the_first_input_is_chosen() -> None:
    model = MODELS["mixed"]
    cluster = model.cluster()
    rows = [1, 3, 2, 1]
    for count in rows:
        cluster.prepare(count)
    for seed, count in enumerate(rows):
        x = model.inputs(count, seed)
        answer = cluster.query(x)
        assert np.abs(answer.values - model.answer(x)).max() < tolerance(model)


def test_an_input_of_another_shape_is_refused() -> None:
    model = MODELS["relu"]
    for shape in ((5,), (1, 4), (0, 5), (1, 5, 1)):
        with pytest.raises(ShapeError):
            model.cluster().query(np.zeros(shape))


def test_two_answers_to_one_input_share_no_message() -> None:
    # The same input and weights twice: all that passes between the workers is new, the answers differ by roundings.
    model = MODELS["relu"]
    cluster = model.cluster()
    x = model.inputs(4)
    first, second = cluster.query(x), cluster.query(x)
    for one, other in zip(first.messages, second.messages, strict=True):
        assert one.tag == other.tag
        for a, b in zip(one.arrays, other.arrays, strict=True):
            assert a.size < 8 or np.mean(a == b) < 0.6
    assert np.abs(first.values - second.values).max() < 2 * tolerance(model)


def test_the_models_use_what_they_are_meant_to_show() -> None:
    steps = [step for model in MODELS.values() for step in model.program.steps]
    assert {type(step) for step in steps} == set(STEPS)
    for kind in (Linear, Combine, Product):
        uses = {follows(step) for step in steps if isinstance(step, kind)}
        assert uses >= {"relu", "truncate", "output"} - ({"relu", "output"} if kind is Product else set())
