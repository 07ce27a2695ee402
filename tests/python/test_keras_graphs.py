"""Models with branches, several inputs and outputs, models inside models, and models that are code."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from keras_models import GENERATIONS, agree, inputs, randomize, sequential
from syfr.importing.calls import KerasObject
from syfr.importing.evaluation import evaluate
from syfr.importing.keras_import import Imported, import_model
from syfr.steps import Combine, Linear, Signs, Take, follows

IMAGE = (8, 6, 3)


@pytest.fixture(params=sorted(GENERATIONS))
def keras(request: pytest.FixtureRequest) -> ModuleType:
    """Keras 2 and Keras 3 in turn."""
    return GENERATIONS[request.param]


def residual(keras: ModuleType, x: KerasObject, filters: int, strides: int = 1) -> KerasObject:
    """A block of a ResNet."""
    layers = keras.layers
    way = layers.Conv2D(filters, 3, strides, "same", use_bias=False)(x)
    way = layers.ReLU()(layers.BatchNormalization()(way))
    way = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(way))
    if strides > 1:
        x = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides)(x))
    return layers.ReLU()(layers.Add()([x, way]))


def imported(model: KerasObject, tolerance: float = 1e-3, **of_agree: float) -> Imported:
    """A model with random weights, which computes what Keras does."""
    randomize(model)
    return agree(model, rows=(3,), tolerance=tolerance, **of_agree)  # type: ignore[arg-type]


def test_a_residual_block_costs_what_its_layers_cost(keras: ModuleType) -> None:
    start = inputs(keras, IMAGE)
    model = keras.Model(start, keras.layers.Conv2D(2, 1)(residual(keras, residual(keras, start, 3), 4, 2)))
    steps = imported(model).program.steps
    kinds = [type(step) for step in steps]
    assert kinds == [Linear] * 6
    assert [follows(step) for step in steps].count("truncate") == 1
    assert [len(step.plus) for step in steps if isinstance(step, Linear)].count(1) == 2


def test_residual_blocks_of_sequences_are_added_within_a_layer(keras: ModuleType) -> None:
    start = inputs(keras, (9, 4))
    layers = keras.layers
    way = layers.Conv1D(4, 3, padding="same")(layers.Conv1D(4, 3, padding="same", activation="relu")(start))
    model = keras.Model(start, layers.Conv1D(2, 1)(layers.ReLU()(layers.Add()([start, way]))))
    steps = imported(model).program.steps
    assert [follows(step) for step in steps if isinstance(step, Linear)] == ["relu", "relu", "output"]
    assert not any(isinstance(step, Signs) for step in steps)


@pytest.mark.parametrize("kind", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
def test_merging(keras: ModuleType, kind: str) -> None:
    one, other = inputs(keras, IMAGE), inputs(keras, IMAGE)
    merge = getattr(keras.layers, kind)
    merged = merge()([keras.layers.Conv2D(3, 3, padding="same")(one), other])
    imported(keras.Model([one, other], merged), low=-1.0, high=1.0)
    imported(keras.Model([one, other], keras.layers.ReLU()(merged)), low=-1.0, high=1.0)
    imported(keras.Model([one, other], keras.layers.Conv2D(2, 2)(merged)), low=-1.0, high=1.0)


@pytest.mark.parametrize("kind", ["Add", "Multiply", "Average", "Maximum"])
def test_merging_more_than_two_of_shapes_that_broadcast(keras: ModuleType, kind: str) -> None:
    wide, narrow, low = inputs(keras, IMAGE), inputs(keras, (1, 1, 3)), inputs(keras, (3,))
    merged = getattr(keras.layers, kind)()([wide, narrow, low])
    imported(keras.Model([wide, narrow, low], merged))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concatenation_along_any_axis(keras: ModuleType, axis: int) -> None:
    start = inputs(keras, IMAGE)
    ways = [start, keras.layers.ReLU()(start), keras.layers.Conv2D(3, 1, activation="relu")(start)]
    imported(keras.Model(start, keras.layers.Concatenate(axis=axis)(ways)), low=-1.0, high=1.0)


def test_a_relu_behind_parts_that_are_joined_is_done_by_the_parts() -> None:
    keras = GENERATIONS["keras3"]
    start = inputs(keras, IMAGE)
    ways = [keras.layers.Conv2D(3, 1)(start), keras.layers.Conv2D(2, 3, padding="same")(start)]
    joined = keras.layers.ReLU()(keras.layers.Concatenate()(ways))
    steps = imported(keras.Model(start, keras.layers.Conv2D(2, 1)(joined))).program.steps
    assert [follows(step) for step in steps if isinstance(step, Linear)] == ["relu", "relu", "output"]


def test_a_shared_layer_and_a_value_that_is_read_twice(keras: ModuleType) -> None:
    start = inputs(keras, (5,))
    shared = keras.layers.Dense(5, activation="relu")
    once = shared(start)
    twice = shared(once)
    model = keras.Model(start, keras.layers.Add()([once, once, twice]))
    assert len(imported(model).weights) == 2


def test_several_inputs_and_outputs_in_their_order(keras: ModuleType) -> None:
    one, two = inputs(keras, (4,)), inputs(keras, (2, 3))
    layers = keras.layers
    joined = layers.Concatenate()([one, layers.Flatten()(two)])
    hidden = layers.Dense(6, activation="relu")(joined)
    ends = [layers.Dense(3, activation="softmax")(hidden), hidden, layers.Dense(1, activation="sigmoid")(hidden)]
    program = imported(keras.Model([one, two], ends)).program
    assert program.input_shape == (10,)
    assert [part.shape for part in program.inputs] == [(4,), (2, 3)]
    assert [part.shape for part in program.outputs] == [(3,), (6,), (1,)]
    assert [part.head for part in program.outputs] == ["softmax", "linear", "sigmoid"]
    assert [part.name for part in program.outputs] == ["", "", ""]


def test_outputs_by_name(keras: ModuleType) -> None:
    start = inputs(keras, (4,))
    model = keras.Model(start, {"second": keras.layers.Dense(2)(start), "first": keras.layers.Dense(3)(start)})
    assert [(part.name, part.shape) for part in imported(model).program.outputs] == [("first", (3,)), ("second", (2,))]


def test_inputs_by_name(keras: ModuleType) -> None:
    one, two = keras.Input((4,), name="b"), keras.Input((4,), name="a")
    model = keras.Model({"b": one, "a": two}, keras.layers.Subtract()([one, two]))
    program = import_model(model).program
    x = {"a": np.full((1, 4), 0.25, np.float32), "b": np.ones((1, 4), np.float32)}
    row = np.concatenate([x[part.name] for part in program.inputs], axis=1)
    np.testing.assert_allclose(evaluate(program, {}, row), np.asarray(model(x)), atol=1e-6)


def test_models_inside_models(keras: ModuleType) -> None:
    start = inputs(keras, IMAGE)
    block = keras.Model(start, residual(keras, start, 3))
    outer = inputs(keras, IMAGE)
    twice = block(block(outer))
    stack = sequential(keras, IMAGE, keras.layers.Flatten(), keras.layers.Dense(2))
    imported(keras.Model(outer, [stack(twice), twice]))


def test_a_nested_model_with_several_ends(keras: ModuleType) -> None:
    one, two = inputs(keras, (4,)), inputs(keras, (4,))
    inner = keras.Model([one, two], [keras.layers.Add()([one, two]), keras.layers.Dense(2)(two)])
    first, second = inputs(keras, (4,)), inputs(keras, (4,))
    added, dense = inner([second, first])
    imported(keras.Model([first, second], keras.layers.Concatenate()([dense, added])))


def code(keras: ModuleType) -> KerasObject:
    """A model whose call() is written out, of a block that is a layer of the user's own."""

    class Block(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """A residual block as a layer."""

        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(6, activation="relu")

        def call(self, x: KerasObject, training: bool | None = None) -> KerasObject:
            return self.dense(x) + x

    class Network(keras.Model):  # type: ignore[misc, name-defined]
        """A classifier as code."""

        def __init__(self) -> None:
            super().__init__()
            self.block, self.drop, self.last = Block(), keras.layers.Dropout(0.5), keras.layers.Dense(3)

        def call(self, x: KerasObject, training: bool | None = None) -> KerasObject:
            hidden = self.drop(self.block(self.block(x)), training=training)
            return keras.activations.softmax(self.last(2.0 * hidden - 1.0 + (0.5 - x) / 4.0))

    return Network()


def test_a_model_that_is_code(keras: ModuleType) -> None:
    model = code(keras)
    x = np.random.default_rng(1).uniform(0.0, 1.0, (3, 6)).astype(np.float32)
    model(x)
    randomize(model)
    found = import_model(model)
    assert found.program.head == "softmax"
    logits = evaluate(found.program, found.weights, x)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(-1, keepdims=True), np.asarray(model(x)), atol=1e-5)


def test_a_model_that_is_code_inside_another(keras: ModuleType) -> None:
    start = inputs(keras, (6,))
    imported(keras.Model(start, code(keras)(keras.layers.Dense(6)(start))))


# On a CPU TensorFlow computes few layers with channels first, so these models are compared with their mirror images.
@pytest.mark.parametrize("generation", sorted(GENERATIONS))
def test_channels_first(generation: str) -> None:
    keras = GENERATIONS[generation]
    layers = keras.layers

    def model(order: str) -> KerasObject:
        form = {"data_format": order}
        first = order == "channels_first"
        start = inputs(keras, (3, 8, 6) if first else (8, 6, 3))
        x = layers.Conv2D(4, 3, padding="same", activation="relu", **form)(start)
        y = layers.Conv2D(4, 3, padding="same", **form)(x)
        y = layers.BatchNormalization(axis=1 if first else -1)(y)
        x = layers.ReLU()(layers.Add()([x, y]))
        x = layers.MaxPooling2D(2, **form)(layers.ZeroPadding2D(1, **form)(x))
        x = layers.UpSampling2D(2, **form)(layers.Cropping2D(1, **form)(x))
        x = layers.AveragePooling2D(2, **form)(x)
        made = keras.Model(start, [layers.Flatten(**form)(x), layers.GlobalAveragePooling2D(**form)(x)])
        randomize(made)
        return made

    one, other = (import_model(model(order)) for order in ("channels_first", "channels_last"))
    x = np.random.default_rng(1).uniform(0.0, 1.0, (2, 3, 8, 6))
    expected = evaluate(other.program, other.weights, x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(evaluate(one.program, one.weights, x), expected, atol=1e-9)
    linear = [[step.then for _, step in found.program.linear_steps()] for found in (one, other)]
    assert linear[0] == linear[1] == ["relu", "truncate"]


@pytest.mark.parametrize("largest", [0.25, 1.0, 100.0])
def test_the_scale_of_the_input_is_taken_out_where_it_matters(largest: float) -> None:
    keras = GENERATIONS["keras3"]
    layers = keras.layers
    start = inputs(keras, (4, 3))
    moved = layers.Permute((2, 1))(layers.ReLU()(start))
    bent = layers.ReLU(6.0)(layers.Cropping1D(1)(start))
    product = layers.Multiply()([start, layers.ReLU()(start)])
    ends = [layers.Dense(2)(moved), bent, product, start, layers.Add()([start, layers.Dense(3)(start)])]
    program = imported(keras.Model(start, ends), low=-largest, high=largest).program
    restored = [step for step in program.steps if step.sources == (0,) and follows(step) in ("nothing", "truncate")]
    assert sum(isinstance(step, Combine) for step in restored) == (program.input_scale != 1.0)


def test_what_no_output_needs_is_left_out() -> None:
    keras = GENERATIONS["keras3"]
    start = inputs(keras, (8, 8, 2))
    cropped = keras.layers.Cropping2D(2)(keras.layers.ZeroPadding2D(2)(start))
    program = imported(keras.Model(start, keras.layers.Conv2D(2, 3)(cropped))).program
    assert sum(isinstance(step, Take) for step in program.steps) <= 4


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", ["keras", "h5", "hdf5"])
def test_a_model_that_was_saved(keras: ModuleType, suffix: str, tmp_path: Path) -> None:
    start = inputs(keras, IMAGE)
    model = keras.Model(start, keras.layers.Flatten()(residual(keras, start, 3)))
    randomize(model)
    path = str(tmp_path / f"model.{suffix}")
    model.save(path)
    loaded, made = import_model(keras.models.load_model(path, compile=False)), import_model(model)
    assert loaded.program == made.program
    for number, weights in made.weights.items():
        np.testing.assert_array_equal(loaded.weights[number].kernel, weights.kernel)
