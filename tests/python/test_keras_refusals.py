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
    "no hint": (
        (4, 6),
        lambda k: k.layers.EinsumDense("abc,cd->abd", (4, 3), name="it"),
        r"'it' \(EinsumDense\) cannot be computed privately\. Supported layers: .*Dense",
    ),
    "hint": (
        (4, 6, 1),
        lambda k: k.layers.ConvLSTM1D(3, 2, name="it"),
        r"'it' \(ConvLSTM1D\) cannot be computed.* Use TimeDistributed",
    ),
    "lambda": ((4,), lambda k: k.layers.Lambda(squared, name="it"), r"'it' \(Lambda\).*Keras's own layers"),
    "largest below the threshold": (
        (4,),
        lambda k: k.layers.ReLU(1.0, threshold=2.0, name="it"),
        r"'it' \(ReLU\) uses max_value=1, .*threshold=2\. Raise max_value",
    ),
    "unknown activation": (
        (4,),
        lambda k: k.layers.Dense(2, activation="exponential", name="it"),
        r"'it' \(Dense\) uses activation=exponential\. Supported are .*relu, relu6",
    ),
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
        lambda k: k.layers.Dense(2, activation=k.layers.Dense(2), name="it"),
        r"'it' \(Dense\) uses activation=Dense.*Add it as a layer of its own",
    ),
    "axis of the batch": (
        (4, 6),
        lambda k: k.layers.Softmax(axis=0, name="it"),
        r"'it' \(Softmax\) uses axis=0, the batch's\. Use another axis",
    ),
    "interpolation": (
        IMAGE,
        lambda k: k.layers.UpSampling2D(2, interpolation="bilinear", name="it"),
        r"'it' \(UpSampling2D\) uses interpolation='bilinear'\. Use interpolation='nearest'",
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


def test_an_operation_that_is_not_known_is_refused(keras: ModuleType) -> None:
    start = inputs(keras, (4,))
    with pytest.raises(UnsupportedLayerError, match=r"is the operation '\w+', which cannot.*Use layers.*Add, "):
        import_model(keras.Model(start, abs(start)))


def test_joining_along_the_batch_is_refused(keras: ModuleType) -> None:
    first, second = inputs(keras, (4,), 2), inputs(keras, (4,), 2)
    joined = keras.layers.Concatenate(axis=0, name="it")([first, second])
    with pytest.raises(UnsupportedLayerError, match=r"'it' \(Concatenate\) uses axis=0, the batch's"):
        import_model(keras.Model([first, second], joined))


def test_a_subclassed_model_that_was_never_called_is_refused(keras: ModuleType) -> None:
    class Network(keras.Model):  # type: ignore[misc, name-defined]
        """A model that is code."""

        def call(self, x: KerasObject) -> KerasObject:
            return x

    with pytest.raises(UnsupportedLayerError, match=r"defines its own call\(\) and has not been called yet\. Call it"):
        import_model(Network())


def test_a_call_that_keras_cannot_follow_is_refused(keras: ModuleType) -> None:
    class Network(keras.Model):  # type: ignore[misc, name-defined]
        """A model that looks at its input."""

        def call(self, x: KerasObject) -> KerasObject:
            return x if float(np.asarray(x).sum()) > 0 else -x

    model = Network()
    model(np.ones((1, 4), np.float32))
    with pytest.raises(UnsupportedLayerError, match=r"has a call\(\) that Keras cannot follow.*Keras's own"):
        import_model(model)


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
