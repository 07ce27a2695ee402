"""Recurrent layers: every option against Keras, weights that are shared once, stacked layers side by side, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from keras_models import GENERATIONS, KerasObject, agree, inputs, randomize, sequential
from layer_cases import EIGHT_TIMES, TIMES
from layer_runs import measure
from syfr.errors import ProtocolError, UnsupportedLayerError
from syfr.face import describe
from syfr.importing.bounds import check_ranges
from syfr.importing.keras_import import Imported, import_model
from syfr.party.preprocessing import program_cost
from syfr.program import Program
from syfr.protocol.sharing import layer_shares, share_weights
from syfr.steps import Linear

KERAS = GENERATIONS["keras3"]

OPTIONS: dict[str, Callable[[Any], KerasObject]] = {
    "simple, relu": lambda k: k.SimpleRNN(4, activation="relu", return_sequences=True),
    "simple, linear": lambda k: k.SimpleRNN(4, activation=None, use_bias=False),
    "simple, unroll": lambda k: k.SimpleRNN(4, unroll=True, dropout=0.5, recurrent_dropout=0.5),
    "lstm, functions": lambda k: k.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid"),
    "lstm, no bias": lambda k: k.LSTM(4, use_bias=False, unit_forget_bias=False, go_backwards=True),
    "gru, no bias": lambda k: k.GRU(4, use_bias=False, return_sequences=True),
    "gru, before": lambda k: k.GRU(4, use_bias=False, reset_after=False, return_sequences=True, go_backwards=True),
    "gru, functions": lambda k: k.GRU(4, activation="softsign", recurrent_activation="hard_sigmoid"),
    "wide gru": lambda k: k.GRU(70),
    "cell": lambda k: k.RNN(k.SimpleRNNCell(4), return_sequences=True),
    "both, ave": lambda k: k.Bidirectional(k.SimpleRNN(4, return_sequences=True), merge_mode="ave"),
    "both, mul": lambda k: k.Bidirectional(k.LSTM(4), merge_mode="mul"),
    "both, other": lambda k: k.Bidirectional(k.GRU(4), backward_layer=k.LSTM(4, go_backwards=True), name="both"),
    "both, turned": lambda k: k.Bidirectional(
        k.GRU(4, go_backwards=True, return_sequences=True), backward_layer=k.GRU(4, return_sequences=True)
    ),
    "each time": lambda k: k.TimeDistributed(k.BatchNormalization()),
    "each time, softmax": lambda k: k.TimeDistributed(k.Dense(5, activation="softmax")),
}


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_gives_what_keras_gives(option: str, generation: str) -> None:
    keras = GENERATIONS[generation]
    if option == "wide gru":
        model = keras.Sequential([inputs(keras, TIMES), OPTIONS[option](keras.layers)])
    else:
        model = sequential(keras, TIMES, OPTIONS[option](keras.layers))
    agree(model, tolerance=EIGHT_TIMES, low=-1.0)


def encoder_decoder(keras: ModuleType) -> KerasObject:
    """Two LSTMs, of which the second begins with the last states of the first; and two GRUs that do so, both ways."""
    k = keras.layers
    given, asked = inputs(keras, (5, 3)), inputs(keras, (4, 2))
    _, *states = k.LSTM(4, return_state=True)(given)
    decoded, hidden, memory = k.LSTM(4, return_sequences=True, return_state=True)(asked, initial_state=states)
    _, *ends = k.Bidirectional(k.GRU(3, return_state=True))(given)
    both = k.Bidirectional(k.GRU(3, return_sequences=True), merge_mode="sum")(asked, initial_state=ends)
    model = keras.Model([given, asked], [k.TimeDistributed(k.Dense(3))(decoded), hidden, memory, both])
    randomize(model)
    return model


@pytest.mark.parametrize("generation", GENERATIONS)
def test_states_go_from_layer_to_layer(generation: str) -> None:
    agree(encoder_decoder(GENERATIONS[generation]), tolerance=EIGHT_TIMES, low=-1.0)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_both_directions_apart(generation: str) -> None:
    keras = GENERATIONS[generation]
    x = inputs(keras, TIMES)
    layer = keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True), merge_mode=None)
    model = keras.Model(x, keras.layers.Subtract()(layer(x)))
    randomize(model)
    agree(model, tolerance=EIGHT_TIMES, low=-1.0)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_small_network_at_every_time(generation: str) -> None:
    """Images one after the other, each through convolutions with weights that are shared once, then an LSTM."""
    keras = GENERATIONS[generation]
    k = keras.layers
    image = keras.Sequential([inputs(keras, (6, 6, 1)), k.Conv2D(3, 3), k.BatchNormalization(), k.AveragePooling2D(2)])
    layers = [k.TimeDistributed(image), k.TimeDistributed(k.ReLU()), k.TimeDistributed(k.Flatten())]
    found = agree(sequential(keras, (5, 6, 6, 1), *layers, k.LSTM(4)), tolerance=EIGHT_TIMES)
    kernels = [step.kernel for _, step in found.program.linear_steps()]
    assert kernels == [(4, 4, 1, 3), (16, 16)], "convolution, normalisation and pooling are one, and the same each time"


def of_length(length: int, *, layers: int = 1) -> Imported:
    """LSTMs of eight units on so many times."""
    k = KERAS.layers
    stack = [k.LSTM(8, return_sequences=number + 1 < layers) for number in range(layers)]
    return import_model(sequential(KERAS, (length, 3), *stack))


def test_weights_are_shared_once_whatever_the_length() -> None:
    sizes = []
    for length in (2, 30):
        found = of_length(length)
        ((number, step),) = found.program.linear_steps()
        kernels, biases = {number: found.weights[number].kernel}, {number: found.weights[number].bias}
        shares = share_weights(found.program, kernels, biases)
        sizes.append([sum(array.nbytes for array in share.arrays) for share in shares])
        assert step.kernel == (3 + 8, 4 * 8)
        for share in shares:
            layers = layer_shares(found.program, share)
            assert len(layers) == length
            assert len({id(layer) for layer in layers.values()}) == 1
    assert sizes[0] == sizes[1]
    assert sizes[0][0] == 8 * (11 * 32 + 32)


def test_a_table_of_layers_has_the_sums_over_time_and_weights_once() -> None:
    program = of_length(5, layers=2).program
    table = describe.layers(program)
    dense = [row for row in table if row["operation"] == "dense"]
    assert [row["weights"] for row in dense] == [11 * 32 + 32, 16 * 32 + 32]
    assert [row["products"] for row in dense] == [5 * 11 * 32, 5 * 16 * 32]
    assert [row["delays"] for row in dense] == [5 * 2, 5 * 2]
    assert len(table) == len(describe.layers(of_length(3, layers=2).program)) <= 10
    assert sum(row["online_bytes"] for row in table) == program_cost(program).online_bytes


def test_layers_of_the_same_kind_have_weights_of_their_own() -> None:
    found = of_length(4, layers=3)
    assert [step.kernel for _, step in found.program.linear_steps()] == [(11, 32), (16, 32), (16, 32)]


def test_stacked_layers_run_side_by_side() -> None:
    """Of a second layer only its last time comes after the first layer's."""
    one, two = (program_cost(of_length(12, layers=layers).program).delays for layers in (1, 2))
    once = program_cost(of_length(13).program).delays - one
    assert two == one + once


def test_both_directions_run_side_by_side() -> None:
    k = KERAS.layers
    both = import_model(sequential(KERAS, (6, 3), k.Bidirectional(k.LSTM(8))))
    joined = 2  # the last product is truncated before it is joined with the other
    assert program_cost(both.program).delays == program_cost(of_length(6).program).delays + joined


@pytest.mark.parametrize("make", [lambda k: k.LSTM(8), lambda k: k.GRU(8), lambda k: k.SimpleRNN(8)])
def test_ranges_do_not_explode_with_the_length(make: Callable[[Any], KerasObject]) -> None:
    """A state is between the values before it, or below 1, or grows by at most 1 a time."""
    found = import_model(sequential(KERAS, (40, 3), make(KERAS.layers)))
    assert max(bound.magnitude for bound in check_ranges(found.program, found.weights)) < 60


def test_a_gate_that_may_exceed_one_gets_no_bound_from_it() -> None:
    """b + z·(a - b) with z = a = 6 and b = 0 is no way between b and a."""
    x, k = KERAS.Input((3,)), KERAS.layers
    numbers = [KERAS.initializers.Constant(number) for number in (2.0, 2.0, -2.0)]
    gate, one, other = (k.Dense(3, activation="relu", kernel_initializer=number)(x) for number in numbers)
    between = k.Add()([other, k.Multiply()([gate, k.Subtract()([one, other])])])
    model = KERAS.Model(x, k.Dense(1, kernel_initializer="ones")(between))
    found = import_model(model)
    assert float(np.asarray(model(np.ones((1, 3), np.float32)))[0, 0]) == 3 * 36
    assert check_ranges(found.program, found.weights)[-1].magnitude >= 3 * 36


def test_a_long_sequence_is_joined_in_parts() -> None:
    layer = KERAS.layers.SimpleRNN(1, activation="relu", return_sequences=True)
    found = import_model(sequential(KERAS, (300, 1), layer))
    assert found.program.steps[-1].output_shape == (300, 1)


def test_a_recurrent_model_through_three_parties_with_untrusted_clients() -> None:
    model = sequential(KERAS, (3, 2), KERAS.layers.LSTM(3), KERAS.layers.Dense(2))
    found = import_model(model, untrusted_clients=True)
    x = np.random.default_rng(1).uniform(0.0, 1.0, (4, 3, 2)).astype(np.float32)
    assert measure(found, model, [x]).error < EIGHT_TIMES


# ---- what is refused ----


def _masked(keras: ModuleType, x: Any) -> Any:
    mask = keras.layers.Reshape((8,))(keras.layers.Cropping1D((0, 0))(keras.layers.Dense(1)(x)))
    return keras.layers.LSTM(3, name="it")(x, mask=mask)


class OwnCell(KERAS.layers.Layer):  # type: ignore[name-defined, misc]
    """A cell of the user's own."""

    state_size = output_size = 3

    def call(self, x: Any, states: Any) -> Any:
        return x + states[0], [x + states[0]]


REFUSED: dict[str, tuple[Callable[[ModuleType, Any], Any], str]] = {
    "mask": (_masked, r"'it' \(LSTM\) is called with a mask"),
    "constant states": (
        lambda keras, x: keras.layers.GRU(3, name="it")(x, initial_state=keras.ops.ones((1, 3))),
        r"'it' \(GRU\) begins with states that are constants",
    ),
    "own cell": (
        lambda keras, x: keras.layers.RNN(OwnCell(), name="it")(x),
        r"'it' \(RNN\) uses a cell of class OwnCell",
    ),
    "states of several cells": (
        lambda keras, x: keras.layers.RNN(
            [keras.layers.GRUCell(2), keras.layers.GRUCell(3)], return_state=True, name="it"
        )(x)[0],
        r"'it' \(RNN\) is given or returns the states of several cells",
    ),
    "convolutional": (
        lambda keras, x: keras.layers.ConvLSTM1D(2, 2, name="it")(keras.layers.Reshape((8, 3, 1))(x)),
        r"'it' \(ConvLSTM1D\) cannot be computed privately\. Use TimeDistributed",
    ),
    "function": (
        lambda keras, x: keras.layers.LSTM(2, recurrent_activation="exponential")(x),
        r"uses recurrent_activation=exponential",
    ),
}


@pytest.mark.parametrize("which", REFUSED)
def test_what_is_not_computed_as_keras_does_is_refused(which: str) -> None:
    build, message = REFUSED[which]
    x = inputs(KERAS, TIMES)
    with pytest.raises(UnsupportedLayerError, match=message):
        import_model(KERAS.Model(x, build(KERAS, x)))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_layers_that_remember_what_was_asked_before_are_refused(generation: str) -> None:
    keras = GENERATIONS[generation]
    model = keras.Sequential([inputs(keras, TIMES, rows=2), keras.layers.LSTM(2, stateful=True)])
    with pytest.raises(UnsupportedLayerError, match="uses stateful=True"):
        import_model(model)


# ---- the Program ----


def test_weights_of_another_step_must_be_there_and_fit() -> None:
    program = of_length(3).program
    assert Program.from_message(program.to_message()) == program
    places = [number for number, step in enumerate(program.steps) if isinstance(step, Linear)]
    first, second, third = places
    assert [program.weights_of(number) for number in places] == [first, first, first]
    assert program.weights_of(second + 1) == second + 1, "of no linear step"
    wrong = (first, first), (first, third), (third, second), (third, first + 1), (third, -1), (third, 999)
    for place, named in wrong:
        steps = list(program.steps)
        step = steps[place]
        assert isinstance(step, Linear)
        steps[place] = replace(step, weights=named)
        with pytest.raises(ProtocolError, match=f"uses weights of step {named}, which has none like it"):
            replace(program, steps=tuple(steps)).check()


def test_weights_of_another_form_are_refused() -> None:
    program = of_length(2, layers=2).program
    (own, _), (other, step) = program.linear_steps()
    steps = list(program.steps)
    steps[other] = replace(step, weights=own)
    with pytest.raises(ProtocolError, match="none like it"):
        replace(program, steps=tuple(steps)).check()
