"""Softmax inside a network, normalisation, and attention: how close they come, what is masked, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from keras_models import GENERATIONS, answers, inputs, leaves, randomize, sequential
from layer_runs import input_unit, measure
from numpy.typing import NDArray
from syfr.errors import UnsupportedLayerError
from syfr.importing.bounds import check_ranges
from syfr.importing.elements import Bend
from syfr.importing.evaluation import evaluate, walk
from syfr.importing.keras_import import Imported, import_model
from syfr.importing.keras_layers import KerasObject
from syfr.importing.powers import LOWEST, falling_lines
from syfr.ring.fixedpoint import Precision
from syfr.steps import Signs

Floats = NDArray[np.float64]
KERAS = GENERATIONS["keras3"]
UNIT = 2.0**-14


@pytest.fixture(params=sorted(GENERATIONS))
def keras(request: pytest.FixtureRequest) -> ModuleType:
    """Keras 2 and Keras 3 in turn."""
    return GENERATIONS[request.param]


def error(model: KerasObject, *batches: Any, largest: float = 30.0) -> float:
    """By how much three parties in memory differ from Keras."""
    imported = import_model(model, input_range=(-largest, largest))
    unit = input_unit(imported.program)
    exact = [(np.rint(np.asarray(batch) / unit) * unit).astype(np.float32) for batch in batches]
    return measure(imported, model, exact).error


def alone(layer: KerasObject, shape: tuple[int, ...]) -> KerasObject:
    """A layer, and one that keeps the client from computing it."""
    return sequential(KERAS, shape, layer, KERAS.layers.Rescaling(1.0))


# ---- softmax ----


@pytest.mark.parametrize(("size", "most"), [(2, 0.001), (3, 0.001), (64, 0.001), (500, 0.003)])
def test_a_softmax_is_as_close_as_it_says_whatever_it_reads(size: int, most: float) -> None:
    rng = np.random.default_rng(size)
    x = rng.uniform(-30, 30, (40, size))
    x[:10] = rng.normal(0.0, 2.0, (10, size))
    x[10:20] = rng.normal(0.0, 0.1, (10, size))
    x[20] = 0.0
    x[21:25] = -30.0
    x[21, 0], x[22, -1], x[23, 0] = 30.0, -20.0, -30.0 - LOWEST / 2
    # One far above the others, each of which is where an error counts most: their powers together are as large.
    x[25:30] = -np.log(max(size, 2)) + np.linspace(-1, 1, 5)[:, None]
    x[25:30, 0] = 0.0
    assert error(alone(KERAS.layers.Softmax(), (size,)), x) < most


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
def test_a_softmax_of_one_number_is_1() -> None:
    assert error(alone(KERAS.layers.Softmax(), (1,)), [[-30.0], [0.0], [2.0]]) == 0.0


@pytest.mark.parametrize("bits", [8, 12, 16, 18])
def test_a_softmax_has_the_digits_of_its_number_format(bits: int) -> None:
    model = alone(KERAS.layers.Softmax(), (16,))
    imported = import_model(model, input_range=(-8, 8), precision=Precision(bits, bits + 28))
    x = np.rint(np.random.default_rng(1).uniform(-8, 8, (20, 16)) * 4) / 4
    assert measure(imported, model, [x.astype(np.float32)]).error < max(64 * 2.0**-bits, 1e-3)


def test_a_softmax_that_ends_a_model_is_still_the_clients(keras: ModuleType) -> None:
    imported = import_model(sequential(keras, (4,), keras.layers.Dense(3), keras.layers.Softmax()))
    assert imported.program.head == "softmax"
    assert not any(isinstance(step, Signs) for step in imported.program.steps)


def test_a_softmax_in_the_middle_is_part_of_the_program(keras: ModuleType) -> None:
    stack = [keras.layers.Dense(3, activation="softmax"), keras.layers.Dense(2)]
    x = np.random.default_rng(2).uniform(-4, 4, (5, 4))
    assert error(sequential(keras, (4,), *stack), x, largest=4.0) < 1e-3


def test_a_softmax_over_two_axes(keras: ModuleType) -> None:
    x = np.random.default_rng(3).uniform(-4, 4, (5, 3, 2, 4))
    assert error(sequential(keras, (3, 2, 4), keras.layers.Softmax(axis=(1, 3))), x, largest=4.0) < 1e-3


def test_a_softmax_with_a_mask_is_refused() -> None:
    start = inputs(KERAS, (4,))
    model = KERAS.Model(start, KERAS.layers.Softmax(name="it")(start, mask=np.array([True, True, False, True])))
    with pytest.raises(UnsupportedLayerError, match=r"'it' \(Softmax\) is called with a mask"):
        import_model(model)


# ---- straight lines for 1/x and 1/sqrt(x) ----


@pytest.mark.parametrize(("power", "low", "high"), [(1.0, 1.0, 65.0), (1.0, 1.0, 2_000.0), (0.5, 2.0**-10, 8_000.0)])
def test_the_lines_come_close_and_end_flat(power: float, low: float, high: float) -> None:
    found = falling_lines("it", power, 32.0, low, high, Precision())
    x = np.unique(np.rint(np.geomspace(low, high, 20_000) / UNIT)) * UNIT
    worst = np.abs(_lines(found, x) * x**power / 32.0 - 1.0).max()
    assert 0.002 < worst < 0.03
    assert _lines(found, np.array([low / 2])) == _lines(found, np.array([low]))
    assert _lines(found, np.array([high * 1.1])) == pytest.approx(_lines(found, np.array([high * 1.01])))


def _lines(bend: Bend, x: Floats) -> Floats:
    above = np.maximum(x[:, None] - np.array(bend.knots), 0.0)
    return np.asarray(bend.constant + bend.slope * x + above @ np.array(bend.factors))


# ---- normalisation ----


@pytest.mark.parametrize("deviation", [0.0, 0.02, 0.1, 1.0, 15.0])
@pytest.mark.parametrize("size", [2, 16, 96, 300])
def test_a_row_of_any_deviation_is_normalised(size: int, deviation: float) -> None:
    if deviation * np.sqrt(min(size, 128)) > 200:
        pytest.skip("beyond what is stated")
    rng = np.random.default_rng(size)
    x = np.clip(rng.normal(3.0, deviation, (20, size)), -30, 30)
    model = sequential(KERAS, (size,), KERAS.layers.LayerNormalization())
    imported = import_model(model, input_range=(-30, 30))
    unit = input_unit(imported.program)
    exact = (np.rint(x / unit) * unit).astype(np.float32)
    found = answers(imported.program, evaluate(imported.program, imported.weights, exact))[0]
    assert np.abs(found - leaves(model(exact))[0]).max() < 0.01


def test_normalising_needs_room_in_the_number_format() -> None:
    model = sequential(KERAS, (8,), KERAS.layers.LayerNormalization(name="it"))
    import_model(model, precision=Precision(14, 42))
    with pytest.raises(UnsupportedLayerError, match=r"'it' divides by a root, .*Choose a precision of at most 14\."):
        import_model(model, precision=Precision(15, 43))


# ---- attention ----


def crossed(keras: ModuleType, **options: Any) -> KerasObject:
    """Attention of one sequence to another that is longer and of other channels, with keys of its own."""
    query, key, value = inputs(keras, (5, 4)), inputs(keras, (7, 3)), inputs(keras, (7, 2))
    layer = keras.layers.MultiHeadAttention(2, 3, value_dim=4, name="it")
    model = keras.Model([query, key, value], layer(query, value=value, key=key, **options))
    randomize(model)
    return model


def batches(*shapes: tuple[int, ...]) -> list[Floats]:
    """Two rows of each shape."""
    rng = np.random.default_rng(4)
    return [rng.uniform(-2, 2, (2, *shape)) for shape in shapes]


@pytest.mark.parametrize("options", [{}, {"use_causal_mask": True}])
def test_keys_and_values_are_told_apart_by_name(keras: ModuleType, options: dict[str, Any]) -> None:
    assert error(crossed(keras, **options), *batches((5, 4), (7, 3), (7, 2)), largest=2.0) < 2e-3


def test_a_fixed_mask_hides_what_it_hides(keras: ModuleType) -> None:
    mask = np.random.default_rng(5).random((1, 5, 7)) < 0.4
    mask[0, :, 3] = True
    assert error(crossed(keras, attention_mask=mask), *batches((5, 4), (7, 3), (7, 2)), largest=2.0) < 2e-3


def test_what_is_hidden_may_be_far_above_what_is_not() -> None:
    # The largest score of a row is that of what its step may see: the others would make all of its powers 0.
    query, value = inputs(KERAS, (2, 1)), inputs(KERAS, (3, 1))
    layer = KERAS.layers.MultiHeadAttention(1, 1, use_bias=False)
    model = KERAS.Model([query, value], layer(query, value, attention_mask=np.array([[[0, 1, 1], [1, 1, 0]]], bool)))
    for weight in model.weights:
        weight.assign(np.ones(tuple(weight.shape)))
    assert error(model, np.full((1, 2, 1), 8.0), np.array([[[8.0], [0.25], [0.5]]]), largest=8.0) < 2e-3


def test_what_a_causal_mask_hides_is_not_computed() -> None:
    def compares(**options: Any) -> int:
        start = inputs(KERAS, (16, 4))
        layer = KERAS.layers.MultiHeadAttention(1, 4)
        steps = import_model(KERAS.Model(start, layer(start, start, **options))).program.steps
        return max(int(np.prod(step.output_shape)) for step in steps if isinstance(step, Signs) and step.scale_bits)

    assert (compares(), compares(use_causal_mask=True)) == (16 * 16, 16 * 17 // 2)


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "scores": (
        lambda k, x: k.MultiHeadAttention(2, 3, name="it")(x, x, return_attention_scores=True)[0],
        r"'it' \(MultiHeadAttention\) is called with return_attention_scores=True\. Leave it out",
    ),
    "scores of attention": (
        lambda k, x: k.Attention(name="it")([x, x], return_attention_scores=True)[0],
        r"'it' \(Attention\) is called with return_attention_scores=True\. Leave it out",
    ),
    "mask of the network": (
        lambda k, x: k.MultiHeadAttention(2, 3, name="it")(x, x, attention_mask=k.Dot(axes=-1)([x, x])),
        r"'it' \(MultiHeadAttention\) is called with attention_mask from the network\. Use use_causal_mask",
    ),
    "mask of rows": (
        lambda k, x: k.MultiHeadAttention(2, 3, name="it")(x, x, attention_mask=np.ones((2, 5, 5), bool)),
        r"'it' .*has an attention_mask of shape \(2, 5, 5\)\. Use one mask for all rows",
    ),
    "mask that hides all": (
        lambda k, x: k.MultiHeadAttention(2, 3, name="it")(x, x, attention_mask=np.zeros((1, 5, 5), bool)),
        r"'it' .*lets a step see nothing",
    ),
    "score mode": (
        lambda k, x: k.Attention(score_mode="concat", name="it")([x, x]),
        r"'it' \(Attention\) uses score_mode='concat'\. Use score_mode='dot'",
    ),
    "additive": (
        lambda k, x: k.AdditiveAttention(name="it")([x, x]),
        r"'it' \(AdditiveAttention\) cannot .*Use",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_attention_cannot_do_is_refused(keras: ModuleType, case: str) -> None:
    make, message = REFUSED[case]
    start = inputs(keras, (5, 4))
    with pytest.raises(UnsupportedLayerError, match=message):
        import_model(keras.Model(start, make(keras.layers, start)))


# ---- all of them ----


def block() -> KerasObject:
    """Attention, a normalisation, and what follows it."""
    layers = KERAS.layers
    start = inputs(KERAS, (6, 8))
    found = layers.MultiHeadAttention(2, 4)(start, start, use_causal_mask=True)
    x = layers.LayerNormalization()(layers.Add()([start, found]))
    x = layers.UnitNormalization()(layers.Dense(6, activation="gelu")(x))
    return KERAS.Model(start, layers.Softmax(axis=1)(x))


def imported_block(seed: int) -> Imported:
    """The block with other weights."""
    model = block()
    randomize(model, seed)
    return import_model(model, input_range=(-1, 1))


def test_the_program_does_not_depend_on_the_weights() -> None:
    model = block()
    before = import_model(model, input_range=(-1, 1)).program
    for value in (0.0, 1.0, 30.0):
        for weight in model.weights:
            weight.assign(np.full(tuple(weight.shape), value))
        assert import_model(model, input_range=(-1, 1)).program == before


@pytest.mark.parametrize("seed", range(3))
def test_no_value_is_outside_of_its_proven_bound(seed: int) -> None:
    found = imported_block(seed)
    bounds = {bound.step: bound for bound in check_ranges(found.program, found.weights, found.known)}
    x = np.random.default_rng(seed).choice([-1.0, 0.0, 0.5, 1.0], (30, 6, 8))
    for number, (step, value) in enumerate(_values(found, x)):
        if number in bounds:
            room = 1e-3 + 1e-3 * bounds[number].magnitude
            assert bounds[number].low - room <= value.min(), step.layer
            assert value.max() <= bounds[number].high + room, step.layer


def _values(found: Imported, x: Floats) -> list[tuple[Any, Floats]]:
    return [(step, value) for step, _, value in walk(found.program, found.weights, x)]


# ---- functions with a parameter ----


@pytest.mark.parametrize("approximate", [False, True])
def test_both_kinds_of_gelu(keras: ModuleType, approximate: bool) -> None:
    start = inputs(keras, (20,))
    found = keras.layers.Rescaling(1.0)(keras.activations.gelu(start, approximate))
    x = np.random.default_rng(1).uniform(-6, 6, (50, 20))
    assert error(keras.Model(start, found), x, largest=6.0) < 0.005


def test_a_parameter_without_a_name_counts() -> None:
    keras = GENERATIONS["keras2"]
    nn = pytest.importorskip("tensorflow").nn
    start = inputs(keras, (3, 5))
    x = np.random.default_rng(1).uniform(-6, 6, (9, 3, 5))
    for found in (nn.leaky_relu(start, 0.4), nn.softmax(start, 1)):
        assert error(keras.Model(start, keras.layers.Rescaling(1.0)(found)), x, largest=6.0) < 1e-3
