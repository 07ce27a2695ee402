"""What is refused, by its message: the layer, its class, the argument at fault and what to use instead."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from keras_models import GENERATIONS, inputs, sequential
from syfr.errors import InputTypeError, ProtocolError, UnsupportedLayerError, ValueRangeError
from syfr.importing.keras_import import import_model
from syfr.importing.keras_layers import KerasObject
from syfr.ring.fixedpoint import Precision
from syfr.steps import Shape

IMAGE = (9, 7, 3)


@pytest.fixture(params=sorted(GENERATIONS))
def keras(request: pytest.FixtureRequest) -> ModuleType:
    """Keras 2 and Keras 3 in turn."""
    return GENERATIONS[request.param]


def squared(x: KerasObject) -> KerasObject:
    """An activation of the user's own."""
    return x * x


def relu(x: KerasObject) -> KerasObject:
    """Another, which only has the name of one of Keras's."""
    return x * x


REFUSED: dict[str, tuple[Shape, Callable[[ModuleType], KerasObject], str]] = {
    "unknown layer": (
        IMAGE,
        lambda k: k.layers.MaxPooling2D(2, name="it"),
        r"'it' \(MaxPooling2D\) cannot be computed privately\. Use AveragePooling2D",
    ),
    "no hint": ((4, 6), lambda k: k.layers.LSTM(3, name="it"), r"'it' \(LSTM\) .* Supported layers: .*Dense"),
    "lambda": ((4,), lambda k: k.layers.Lambda(squared, name="it"), r"'it' \(Lambda\).*Keras's own layers"),
    "max_value": ((4,), lambda k: k.layers.ReLU(6.0, name="it"), r"'it' \(ReLU\) uses max_value=6\."),
    "slope": ((4,), lambda k: k.layers.ReLU(negative_slope=0.5), r"\(ReLU\) uses negative_slope=0\.5\."),
    "threshold": ((4,), lambda k: k.layers.ReLU(threshold=1.0), r"\(ReLU\) uses threshold=1\."),
    "leaky": ((4,), lambda k: k.layers.LeakyReLU(), r"\(LeakyReLU\).*Use a ReLU layer"),
    "tanh": ((4,), lambda k: k.layers.Dense(2, activation="tanh", name="it"), r"'it' \(Dense\) uses activation=tanh"),
    "own function": (
        (4,),
        lambda k: k.layers.Dense(2, activation=squared, name="it"),
        r"'it' \(Dense\) uses activation=squared, a function that is not Keras's own",
    ),
    "own function of a known name": (
        (4,),
        lambda k: k.layers.Activation(relu, name="it"),
        r"'it' \(Activation\) uses activation=relu, a function that is not Keras's own",
    ),
    "layer as activation": (
        (4,),
        lambda k: k.layers.Dense(2, activation=k.layers.ReLU(6.0), name="it"),
        r"'it' \(Dense\) uses activation=ReLU.*add a layer as one of its own",
    ),
    "softmax axis": ((4, 6), lambda k: k.layers.Softmax(axis=1, name="it"), r"'it' \(Softmax\) uses axis=1"),
    "channels first": (
        IMAGE,
        lambda k: k.layers.ZeroPadding2D(1, data_format="channels_first"),
        r"uses data_format='channels_first'. Use data_format='channels_last'",
    ),
    "same pooling": (
        IMAGE,
        lambda k: k.layers.AveragePooling2D(2, padding="same", name="it"),
        r"'it' \(AveragePooling2D\) uses padding='same'.*Use padding='valid'",
    ),
    "bn axis": (IMAGE, lambda k: k.layers.BatchNormalization(axis=1), r"\(BatchNormalization\) uses axis=.*axis=-1"),
    "rescaling": (
        (2, 3),
        lambda k: k.layers.Rescaling([[1.0], [2.0]], name="it"),
        r"'it' \(Rescaling\) uses scale of shape \(2, 1\)",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_layer_is_refused(keras: ModuleType, case: str) -> None:
    shape, layer, message = REFUSED[case]
    with pytest.raises(UnsupportedLayerError, match=message):
        import_model(sequential(keras, shape, layer(keras)))


def test_a_custom_layer_is_refused(keras: ModuleType) -> None:
    class Doubled(keras.layers.Dense):  # type: ignore[misc, name-defined]
        """A Dense whose call() is its own."""

        def call(self, x: KerasObject) -> KerasObject:
            return 2.0 * super().call(x)

    with pytest.raises(UnsupportedLayerError, match=r"'mine' \(Doubled\) is a custom layer.*Dense"):
        import_model(sequential(keras, (4,), Doubled(3, name="mine")))


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_a_head_inside_is_refused(keras: ModuleType, head: str) -> None:
    layers = keras.layers
    stack = [layers.Dense(3, activation=head, name="inner"), layers.Dense(2, name="outer")]
    message = rf"'inner' \(Dense\) applies {head} before layer 'outer'.*very end of a model"
    with pytest.raises(UnsupportedLayerError, match=message):
        import_model(sequential(keras, (4,), *stack))


def test_branches_are_refused(keras: ModuleType) -> None:
    layers = keras.layers
    start = inputs(keras, (4,))
    added = layers.Add(name="sum")([layers.Dense(3)(start), layers.Dense(3)(start)])
    with pytest.raises(UnsupportedLayerError, match=r"'sum' \(Add\) takes 2 inputs.*single chain"):
        import_model(keras.Model(start, added))


def test_several_inputs_and_outputs_are_refused(keras: ModuleType) -> None:
    layers = keras.layers
    one, two = inputs(keras, (4,)), inputs(keras, (4,))
    with pytest.raises(UnsupportedLayerError, match="has 2 inputs and 1 outputs"):
        import_model(keras.Model([one, two], layers.Add()([one, two])))
    with pytest.raises(UnsupportedLayerError, match="has 1 inputs and 2 outputs"):
        import_model(keras.Model(one, [layers.Dense(1)(one), layers.Dense(2)(one)]))


def test_an_operation_that_is_no_layer_is_refused(keras: ModuleType) -> None:
    start = inputs(keras, (4,))
    with pytest.raises(UnsupportedLayerError, match=r"cannot be computed privately|custom layer"):
        import_model(keras.Model(start, start * 2.0))


def test_a_subclassed_model_is_refused(keras: ModuleType) -> None:
    class Network(keras.Model):  # type: ignore[misc, name-defined]
        """A model that is code."""

        def call(self, x: KerasObject) -> KerasObject:
            return x

    with pytest.raises(UnsupportedLayerError, match=r"defines its own call\(\)\. Sequential and Functional"):
        import_model(Network())


def test_a_model_that_is_not_built_is_refused(keras: ModuleType) -> None:
    with pytest.raises(UnsupportedLayerError, match=r"no symbolic input.*Input layer"):
        import_model(keras.Sequential([keras.layers.Dense(3)]))


def test_an_open_shape_is_refused(keras: ModuleType) -> None:
    with pytest.raises(UnsupportedLayerError, match=r"\(None, None, 1\)\. Every size but the batch's must be fixed"):
        import_model(sequential(keras, (None, None, 1), keras.layers.Conv2D(2, 3)))  # type: ignore[arg-type]


def test_training_mode_for_ever_is_refused() -> None:
    keras = GENERATIONS["keras2"]
    start = inputs(keras, (4,))
    with pytest.raises(UnsupportedLayerError, match=r"'noise' \(Dropout\) is called with training=True"):
        import_model(keras.Model(start, keras.layers.Dropout(0.5, name="noise")(start, training=True)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(keras: ModuleType, value: float) -> None:
    model = sequential(keras, (4,), keras.layers.Dense(3, name="broken"))
    model.layers[-1].bias.assign([0.0, value, 0.0])
    with pytest.raises(ValueRangeError, match=r"'bias' of layer 'broken' \(Dense\) is NaN or infinite"):
        import_model(model)


def test_a_variance_below_zero_is_refused(keras: ModuleType) -> None:
    model = sequential(keras, (2,), keras.layers.BatchNormalization(name="bn"))
    model.layers[-1].moving_variance.assign([1.0, -1.0])
    with pytest.raises(UnsupportedLayerError, match=r"'bn'.*variance below zero"):
        import_model(model)


@pytest.mark.parametrize("input_range", [(1.0, 0.0), (0.0, 0.0), (0.0, np.inf), (np.nan, 1.0)])
def test_an_input_range_out_of_order_is_refused(input_range: tuple[float, float]) -> None:
    keras = GENERATIONS["keras3"]
    with pytest.raises(ValueRangeError, match="input_range"):
        import_model(sequential(keras, (4,), keras.layers.Dense(3)), input_range=input_range)


def test_a_precision_that_is_not_supported_is_refused() -> None:
    keras = GENERATIONS["keras3"]
    with pytest.raises(ProtocolError, match="number format"):
        import_model(sequential(keras, (4,), keras.layers.Dense(3)), precision=Precision(value_bits=60))


def test_something_else_is_refused(keras: ModuleType) -> None:
    with pytest.raises(InputTypeError, match="class dict is not a Keras model"):
        import_model({})
    with pytest.raises(InputTypeError, match="class Dense is not a Keras model"):
        import_model(keras.layers.Dense(3))
