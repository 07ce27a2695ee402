"""Inputs of tokens: what an Embedding looks up, at the client, in the import, through three parties in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import plain
import pytest
from keras_models import GENERATIONS, KerasObject, inputs, randomize
from layer_runs import measure
from syfr.errors import ProtocolError, RangeCheckError, UnsupportedLayerError, ValueRangeError
from syfr.face import describe, imports
from syfr.face.arguments import array_argument
from syfr.face.results import input_shapes
from syfr.importing.bounds import check_ranges
from syfr.importing.calibration import calibrated
from syfr.importing.evaluation import evaluate
from syfr.importing.graph import Answer, Graph
from syfr.importing.keras_import import Imported, import_model
from syfr.importing.operations import Lookup
from syfr.importing.places import Places
from syfr.importing.tokens import spread_tokens
from syfr.party.memory import MemoryCluster
from syfr.party.preprocessing import Plan, row_bytes
from syfr.program import Part, Program
from syfr.steps import Linear, Slice

KERAS = GENERATIONS["keras3"]
K = KERAS.layers
WORDS = 40


def classifier(keras: Any = KERAS, words: int = WORDS) -> KerasObject:
    """Six tokens, embedded, averaged, told apart."""
    k = keras.layers
    layers = [k.Embedding(words, 8), k.GlobalAveragePooling1D(), k.Dense(3)]
    model = keras.Sequential([keras.Input((6,), dtype="int32"), *layers])
    randomize(model)
    return model


def mixed(words: int = WORDS) -> KerasObject:
    """Tokens and numbers."""
    tokens, numbers = KERAS.Input((6,), name="tokens"), KERAS.Input((4,), name="numbers")
    embedded = K.Flatten()(K.Embedding(words, 2)(tokens))
    model = KERAS.Model([tokens, numbers], K.Dense(3)(K.Concatenate()([embedded, K.Dense(5)(numbers)])))
    randomize(model)
    return model


def some_tokens(rows: int, *shape: int, words: int = WORDS) -> np.ndarray[Any, Any]:
    return np.random.default_rng(rows).integers(0, words, (rows, *shape)).astype(np.float32)


def as_clear(imported: Imported, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the Program computes in the clear; the twin says the same."""
    found = evaluate(imported.program, imported.weights, x)
    np.testing.assert_allclose(found, plain.evaluate(imported.program, imported.weights, x), atol=1e-9)
    return found


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_classifier_of_tokens_gives_what_keras_gives(generation: str) -> None:
    model = classifier(GENERATIONS[generation])
    imported = import_model(model)
    program = imported.program
    assert Program.from_message(program.to_message()) == program
    assert (program.row_shape, program.input_shape, input_shapes(program)) == ((6,), (6, WORDS), ((6,),))
    assert measure(imported, model, [some_tokens(5, 6)]).error < 2.0**-8


def test_looking_up_costs_what_a_linear_layer_does() -> None:
    """A dense layer behind it is merged into the table, and nothing but that one product is left."""
    model = KERAS.Sequential([KERAS.Input((6,)), K.Embedding(WORDS, 8), K.Dense(3)])
    steps = import_model(model).program.steps
    assert [type(step) for step in steps] == [Linear]
    assert steps[0].sources == (0,)
    assert isinstance(steps[0], Linear)
    assert steps[0].kernel == (WORDS, 3)


@pytest.mark.parametrize("span", [(0.0, 1.0), (-0.1, 0.1), (-3.0, 200.0)])
def test_tokens_beside_numbers_of_any_range(span: tuple[float, float]) -> None:
    model = mixed()
    imported = import_model(model, input_range=span)
    assert imported.program.input_range == (min(span[0], 0.0), max(span[1], 1.0))
    numbers = np.random.default_rng(3).uniform(*span, (7, 4)).astype(np.float32)
    x = [some_tokens(7, 6), numbers]
    assert measure(imported, model, x).error < 2.0**-6
    batch = array_argument({"numbers": x[1], "tokens": x[0]}, imported.program)
    np.testing.assert_allclose(as_clear(imported, batch), np.asarray(model(x)), atol=1e-3)


def test_a_long_run_of_the_input_is_named_by_its_ends() -> None:
    model = mixed(words=1_000)
    imported = import_model(model)
    slices = [step for step in imported.program.steps if isinstance(step, Slice)]
    assert [(step.start, step.output_shape) for step in slices] == [(0, (6_000,))]
    x = [some_tokens(3, 6, words=1_000), np.full((3, 4), 0.5, np.float32)]
    assert measure(imported, model, x).error < 2.0**-8
    batch = array_argument(x, imported.program)
    np.testing.assert_allclose(as_clear(imported, batch), np.asarray(model(x)), atol=1e-3)


def test_tokens_are_moved_before_they_are_looked_up() -> None:
    tokens, other = inputs(KERAS, (2, 3)), inputs(KERAS, (4, 2))
    joined = K.Concatenate(axis=1)([K.Permute((2, 1))(tokens), K.Cropping1D((0, 2))(other)])
    found = [K.Embedding(size, 4)(K.Reshape((10,))(joined)) for size in (30, 20)]
    model = KERAS.Model([tokens, other], K.Flatten()(K.Add()(found)))
    randomize(model)
    imported = import_model(model)
    assert [part.vocabulary for part in imported.program.inputs] == [20, 20], "what both tables have"
    assert measure(imported, model, [some_tokens(4, 2, 3, words=20), some_tokens(4, 4, 2, words=20)]).error < 2.0**-8


@pytest.mark.parametrize("generation", GENERATIONS)
def test_sentences_of_tokens_are_read_one_after_the_other(generation: str) -> None:
    """The same small model looks up the words of every sentence, with one table."""
    keras = GENERATIONS[generation]
    k = keras.layers
    sentence = keras.Sequential([inputs(keras, (5,)), k.Embedding(WORDS, 4), k.GlobalAveragePooling1D(), k.Dense(3)])
    model = keras.Sequential([inputs(keras, (3, 5)), k.TimeDistributed(sentence), k.LSTM(4), k.Dense(2)])
    randomize(model)
    imported = import_model(model)
    kernels = [step.kernel for _, step in imported.program.linear_steps()]
    assert kernels.count((WORDS, 4)) + kernels.count((WORDS, 3)) == 1
    assert measure(imported, model, [some_tokens(4, 3, 5)]).error < 0.01


def test_the_model_may_add_positions() -> None:
    class Positions(KERAS.layers.Layer):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = K.Embedding(WORDS, 4), K.Embedding(6, 4)

        def call(self, x: Any) -> Any:
            return self.tokens(x) + self.places(KERAS.ops.arange(KERAS.ops.shape(x)[-1]))

    tokens = KERAS.Input((6,), dtype="int32")
    model = KERAS.Model(tokens, K.Dense(3)(K.Flatten()(Positions()(tokens))))
    randomize(model)
    assert measure(import_model(model), model, [some_tokens(3, 6).astype(np.int32)]).error < 2.0**-8


def test_ranges_follow_the_rows_of_the_table_and_not_their_sum() -> None:
    """Forty tokens of magnitude 100 would reach 4,000 together, and more behind the next layer than there is room."""
    model = KERAS.Sequential([KERAS.Input((2,)), K.Embedding(WORDS, 4), K.Flatten(), K.Dense(2)])
    table = np.random.default_rng(5).choice([-100.0, 100.0], (WORDS, 4))
    model.layers[0].set_weights([table])
    model.layers[-1].set_weights([np.full((8, 2), 0.6), np.zeros(2)])
    imported = import_model(model)
    bounds = check_ranges(imported.program, imported.weights)
    assert bounds[0].magnitude == pytest.approx(100.0)
    assert bounds[-1].magnitude <= 0.6 * 8 * 100 + 1
    assert bounds[-1].magnitude >= np.abs(as_clear(imported, some_tokens(50, 2))).max()
    found = import_model(model, untrusted_clients=True)
    with pytest.raises(RangeCheckError, match="can reach"):
        check_ranges(found.program, found.weights)
    calibrated(imported.program, imported.weights, some_tokens(20, 2))


def test_untrusted_clients_share_tokens_too() -> None:
    model = classifier()
    imported = import_model(model, untrusted_clients=True)
    check_ranges(imported.program, imported.weights)
    assert measure(imported, model, [some_tokens(5, 6)]).error < 2.0**-8


@pytest.mark.parametrize(
    ("wrong", "shown"), [(-1.0, "-1"), (float(WORDS), "40"), (1.5, "1.5")], ids=["negative", "too large", "not whole"]
)
def test_tokens_that_are_none_are_refused_at_the_door(wrong: float, shown: str) -> None:
    program, tokens = import_model(classifier()).program, some_tokens(3, 6)
    assert array_argument(tokens.astype(np.int32), program).shape == (3, 6)
    assert array_argument(tokens[0], program).shape == (1, 6)
    assert array_argument({program.inputs[0].name: tokens}, program).shape == (3, 6)
    tokens[1, 2] = wrong
    with pytest.raises(ValueRangeError, match=rf"^x has {shown} among its tokens; .* from 0 to 39\."):
        array_argument(tokens, program)
    both = import_model(mixed()).program
    with pytest.raises(ValueRangeError, match=rf"^x\['tokens'\] has {shown} among its tokens"):
        array_argument([tokens, np.zeros((3, 4))], both)
    with pytest.raises(ValueRangeError, match=r"^x\['numbers'\] has values from 7 to 7"):
        array_argument([some_tokens(3, 6), np.full((3, 4), 7.0)], both)


def test_calibration_data_are_tokens_too() -> None:
    with pytest.raises(ValueRangeError, match="calibrate has 40 among its tokens"):
        imports.imported(classifier(), calibrate=np.full((2, 6), float(WORDS)))
    assert imports.imported(classifier(), calibrate=some_tokens(2, 6)).program.proven


def test_what_is_told_of_a_model_says_how_many_tokens_there_are() -> None:
    program = import_model(mixed()).program
    facts = describe.facts(program)
    assert (facts["inputs"], facts["vocabularies"]) == ([[6], [4]], [WORDS, 0])


def test_memory_of_a_row_grows_with_the_vocabulary() -> None:
    small, large = (import_model(classifier(words=words)).program for words in (10, 10_000))
    assert row_bytes(Plan(large)) > row_bytes(Plan(small)) + 6 * 9_000 * 8


def test_a_token_is_shared_as_a_single_one() -> None:
    program = import_model(classifier()).program
    tokens = some_tokens(2, 6)
    opened = program.precision.decode(program.encode_input(tokens))
    assert (opened == (np.arange(WORDS) == tokens[..., None])).all()


def test_no_worker_gets_anything_that_depends_on_the_token() -> None:
    """What a worker receives of two different inputs is uniform, and has nothing of a one in it."""
    imported = import_model(classifier())
    cluster = MemoryCluster(
        imported.program,
        {number: weights.kernel for number, weights in imported.weights.items()},
        {number: weights.bias for number, weights in imported.weights.items()},
    )
    received: list[np.ndarray[Any, Any]] = []
    same = np.zeros((400, 6), np.float32)
    cluster.query(same, tamper=lambda role, masked: received.append(masked) or masked)  # type: ignore[func-returns-value]
    top = (received[0] >> np.uint64(45)).astype(np.float64) % 8
    assert abs(top[..., 0].mean() - 3.5) < 0.25
    assert abs(top[..., 1].mean() - 3.5) < 0.25


def _computed(k: Any, x: Any) -> Any:
    return k.Embedding(WORDS, 2, name="looks")(k.ReLU(name="first")(x))


def _both(k: Any, x: Any) -> Any:
    return k.Concatenate()([k.Flatten()(k.Embedding(WORDS, 2)(x)), k.Dense(2, name="numbers")(x)])


def _given_back(k: Any, x: Any) -> Any:
    return k.Concatenate()([k.Flatten()(k.Embedding(WORDS, 2)(x)), k.Flatten(name="numbers")(x)])


def _padded(k: Any, x: Any) -> Any:
    return k.Embedding(WORDS, 2, name="looks")(k.Flatten()(k.ZeroPadding1D(1)(k.Reshape((6, 1))(x))))


def _twice(k: Any, x: Any) -> Any:
    return k.Embedding(WORDS, 2, name="looks")(k.Embedding(WORDS, 2, name="first")(x))


def _masked(k: Any, x: Any) -> Any:
    return k.Embedding(WORDS, 2, mask_zero=True, name="looks")(x)


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "computed": (_computed, r"'looks' \(Embedding\) looks up numbers that layer 'first' has computed"),
    "twice": (_twice, r"'looks' \(Embedding\) looks up numbers that layer 'first' has computed"),
    "padded": (_padded, r"'looks' \(Embedding\) looks up numbers that layer 'zero_padding1d.*' has computed"),
    "numbers too": (_both, r"'numbers' reads an input as numbers that an Embedding looks up.* two inputs"),
    "given back": (_given_back, r"reads an input as numbers that an Embedding looks up.* two inputs"),
    "mask_zero": (_masked, r"'looks' \(Embedding\) uses mask_zero=True.*Use mask_zero=False"),
}


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("which", REFUSED)
def test_what_cannot_be_looked_up_is_refused(which: str, generation: str) -> None:
    keras, (build, message) = GENERATIONS[generation], REFUSED[which]
    x = inputs(keras, (6,))
    with pytest.raises(UnsupportedLayerError, match=message):
        import_model(keras.Model(x, build(keras.layers, x)))


def test_a_place_that_holds_no_token_is_not_looked_up() -> None:
    graph = Graph((4,))
    padded = graph.add(Places("pad", 0, (-1, 0, 1)), 0)
    graph.answers = [Answer(graph.add(Lookup("looks", np.ones((5, 2))), padded))]
    with pytest.raises(UnsupportedLayerError, match=r"'looks' .* that layer 'pad' has computed"):
        spread_tokens(graph, [0], [(4,)])


def test_numbers_too_large_beside_tokens_are_refused() -> None:
    with pytest.raises(ValueRangeError, match="too wide for an input beside tokens"):
        import_model(mixed(), input_range=(0.0, 1e6))


def test_a_program_says_soundly_what_it_takes() -> None:
    program = import_model(classifier()).program
    part = program.inputs[0]
    for wrong in (-1, WORDS - 1, WORDS + 1):
        with pytest.raises(ProtocolError):
            replace(program, inputs=(replace(part, vocabulary=wrong),)).check()
    with pytest.raises(ProtocolError, match="Only inputs take tokens"):
        replace(program, outputs=(Part("", (1,), vocabulary=3),)).check()
