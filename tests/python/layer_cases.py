"""Every supported layer with its arguments, as small models of that layer: for the tests of numbers and the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from keras_models import GENERATIONS, inputs, randomize
from numpy.typing import NDArray
from syfr.importing.keras_layers import KerasObject

Floats = NDArray[np.float64]
Shape = tuple[int, ...]

SEQUENCE, IMAGE, WIDE = (9, 4), (6, 5, 4), (7, 9, 3)
EXACT, APPROXIMATE = 2.0**-8, 0.005
"""What an output may be off by: of exact operations at activations up to ±100, and of approximated functions."""


@dataclass(frozen=True)
class Case:
    """A layer with arguments.

    Attributes:
        layer, arguments: as in the table.
        make: the layer, given the module of layers.
        shapes: rows of its input; the table shows the first one.
        tensors: inputs of the layer.
        largest: magnitude of its inputs.
        approximate: whether the function is approximated.
        inside: whether something has to follow it, because the client computes it where it ends a model.
        generations: of Keras, that have it.
        vocabulary: how many tokens there are, for a layer that takes them.
        most: what its outputs may be off by, where that is another than for the others.
    """

    layer: str
    arguments: str
    make: Callable[[Any], KerasObject]
    shapes: tuple[Shape, ...]
    tensors: int = 1
    largest: float = 100.0
    approximate: bool = False
    inside: bool = False
    generations: tuple[str, ...] = tuple(GENERATIONS)
    vocabulary: int = 0
    most: float = 0.0

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.layer}({self.arguments})"

    @property
    def tolerance(self) -> float:
        """What its outputs may be off by."""
        return self.most or (APPROXIMATE if self.approximate else EXACT)

    def model(self, keras: ModuleType, shape: Shape, seed: int = 1) -> KerasObject:
        """A model of the layer on rows of ``shape``, with random weights."""
        first = [inputs(keras, shape) for _ in range(self.tensors)]
        layer = self.make(keras.layers)
        found = layer(first if self.tensors > 1 else first[0])
        if self.inside:
            found = keras.layers.Rescaling(1.0)(found)
        model = keras.Model(first if self.tensors > 1 else first[0], found)
        randomize(model, seed)
        return model


def rows(case: Case, shape: Shape, count: int, unit: float) -> list[NDArray[np.float32]]:
    """A batch for each input, in multiples of ``unit``: from the third row on the ends of the range, then random.

    Row 1 is random over the whole range, row 2 close to 0, where activations bend.
    """
    random = np.random.default_rng(count)
    found = []
    if case.vocabulary:
        return [random.integers(0, case.vocabulary, (count, *shape)).astype(np.float32)]
    for place in range(case.tensors):
        x = random.uniform(-case.largest, case.largest, (count, *shape))
        x[1::2] = random.normal(0.0, 2.5, x[1::2].shape)
        for row, value in enumerate((0.0, case.largest, -case.largest), 2):
            x[row : row + 1] = value * (-1) ** place
        found.append(np.clip(np.rint(x / unit) * unit, -case.largest, case.largest).astype(np.float32))
    return found


def by_row(batches: Sequence[NDArray[np.float32]]) -> Floats:
    """The inputs of a model as a Program takes them: one after the other in a row if there are several."""
    if len(batches) == 1:
        return batches[0].astype(np.float64)
    return np.concatenate([batch.reshape(len(batch), -1) for batch in batches], axis=1).astype(np.float64)


KERAS2, KERAS3 = ("keras2",), ("keras3",)


def _case(layer: str, arguments: str, make: Callable[[Any], KerasObject], *shapes: Shape, **more: Any) -> Case:
    return Case(layer, arguments, make, shapes, **more)


LINEAR = [
    _case("Dense", "units", lambda k: k.Dense(5), (7,), (3, 4), (2, 3, 4)),
    _case("Dense", "use_bias=False", lambda k: k.Dense(5, use_bias=False), (7,)),
    _case("Dense", "activation='relu'", lambda k: k.Dense(5, activation="relu"), (7,)),
    _case("Conv1D", "strides", lambda k: k.Conv1D(3, 3, strides=2), SEQUENCE, (8, 1)),
    _case("Conv1D", "padding='same'", lambda k: k.Conv1D(3, 4, strides=2, padding="same"), SEQUENCE),
    _case("Conv1D", "padding='causal'", lambda k: k.Conv1D(3, 3, padding="causal", dilation_rate=2), SEQUENCE),
    _case("Conv1D", "groups", lambda k: k.Conv1D(6, 2, groups=2), SEQUENCE),
    _case("Conv2D", "kernel_size, strides", lambda k: k.Conv2D(3, (3, 2), strides=(2, 1)), IMAGE, WIDE),
    _case("Conv2D", "padding='same'", lambda k: k.Conv2D(3, (3, 2), strides=2, padding="same"), IMAGE, WIDE),
    _case("Conv2D", "dilation_rate", lambda k: k.Conv2D(3, 2, padding="same", dilation_rate=(2, 3)), IMAGE),
    _case("Conv2D", "groups", lambda k: k.Conv2D(6, 3, groups=2), IMAGE),
    _case("Conv2D", "data_format='channels_first'", lambda k: k.Conv2D(3, 2, data_format="channels_first"), (4, 6, 5)),
    _case("Conv2D", "activation='relu'", lambda k: k.Conv2D(3, 3, activation="relu"), IMAGE),
    _case("DepthwiseConv1D", "strides, padding", lambda k: k.DepthwiseConv1D(3, 2, padding="same"), SEQUENCE),
    _case("DepthwiseConv2D", "depth_multiplier", lambda k: k.DepthwiseConv2D(3, depth_multiplier=2), IMAGE),
    _case("DepthwiseConv2D", "strides, padding", lambda k: k.DepthwiseConv2D(3, 2, padding="same"), IMAGE, WIDE),
    _case("DepthwiseConv2D", "dilation_rate", lambda k: k.DepthwiseConv2D(2, dilation_rate=2), IMAGE),
    _case("SeparableConv1D", "kernel_size", lambda k: k.SeparableConv1D(3, 3), SEQUENCE),
    _case("SeparableConv2D", "strides, padding", lambda k: k.SeparableConv2D(3, 3, 2, padding="same"), IMAGE, WIDE),
    _case("Conv1DTranspose", "strides, padding", lambda k: k.Conv1DTranspose(3, 3, 2, padding="same"), (5, 2)),
    _case("Conv2DTranspose", "strides", lambda k: k.Conv2DTranspose(3, (3, 2), strides=2), (3, 4, 2)),
    _case("Conv2DTranspose", "padding='same'", lambda k: k.Conv2DTranspose(3, 3, 2, padding="same"), (3, 4, 2)),
    _case(
        "Conv2DTranspose", "output_padding", lambda k: k.Conv2DTranspose(3, 3, strides=2, output_padding=1), (3, 4, 2)
    ),
    _case("BatchNormalization", "axis=-1", lambda k: k.BatchNormalization(), (7,), SEQUENCE, IMAGE),
    _case("BatchNormalization", "axis=1", lambda k: k.BatchNormalization(axis=1), IMAGE),
    _case("BatchNormalization", "center, scale", lambda k: k.BatchNormalization(center=False, scale=False), (7,)),
    _case("Rescaling", "scale, offset", lambda k: k.Rescaling(0.75, offset=-2.0), IMAGE, (7,)),
    _case(
        "Normalization",
        "mean, variance",
        lambda k: k.Normalization(mean=[1.0, 2.0, 3.0, -4.0], variance=[2.0, 3.0, 0.5, 9.0]),
        IMAGE,
    ),
]

POOLING = [
    _case("AveragePooling1D", "pool_size", lambda k: k.AveragePooling1D(2), SEQUENCE),
    _case("AveragePooling1D", "padding='same'", lambda k: k.AveragePooling1D(4, 3, padding="same"), SEQUENCE),
    _case("AveragePooling2D", "pool_size, strides", lambda k: k.AveragePooling2D((3, 2), 1), IMAGE, WIDE),
    _case("AveragePooling2D", "padding='same'", lambda k: k.AveragePooling2D(3, 2, padding="same"), IMAGE, WIDE),
    _case("MaxPooling1D", "pool_size", lambda k: k.MaxPooling1D(2), SEQUENCE),
    _case("MaxPooling1D", "padding='same'", lambda k: k.MaxPooling1D(4, 3, padding="same"), SEQUENCE),
    _case("MaxPooling2D", "pool_size", lambda k: k.MaxPooling2D(2), IMAGE, WIDE),
    _case("MaxPooling2D", "strides", lambda k: k.MaxPooling2D((3, 2), 1), IMAGE),
    _case("MaxPooling2D", "padding='same'", lambda k: k.MaxPooling2D(3, 2, padding="same"), IMAGE, WIDE),
    _case("GlobalAveragePooling1D", "", lambda k: k.GlobalAveragePooling1D(), SEQUENCE),
    _case("GlobalAveragePooling2D", "keepdims", lambda k: k.GlobalAveragePooling2D(keepdims=True), IMAGE, WIDE),
    _case("GlobalMaxPooling1D", "", lambda k: k.GlobalMaxPooling1D(), SEQUENCE),
    _case("GlobalMaxPooling2D", "keepdims", lambda k: k.GlobalMaxPooling2D(keepdims=True), IMAGE, WIDE),
]

PLACES = [
    _case("Flatten", "", lambda k: k.Flatten(), IMAGE),
    _case("Reshape", "target_shape", lambda k: k.Reshape((3, -1)), IMAGE),
    _case("Permute", "dims", lambda k: k.Permute((3, 1, 2)), IMAGE),
    _case("RepeatVector", "n", lambda k: k.RepeatVector(3), (7,)),
    _case("ZeroPadding1D", "padding", lambda k: k.ZeroPadding1D((1, 2)), SEQUENCE),
    _case("ZeroPadding2D", "padding", lambda k: k.ZeroPadding2D(((0, 1), (2, 1))), IMAGE),
    _case("Cropping1D", "cropping", lambda k: k.Cropping1D((1, 2)), SEQUENCE),
    _case("Cropping2D", "cropping", lambda k: k.Cropping2D(((0, 1), (2, 1))), IMAGE),
    _case("UpSampling1D", "size", lambda k: k.UpSampling1D(2), SEQUENCE),
    _case("UpSampling2D", "size, interpolation='nearest'", lambda k: k.UpSampling2D((2, 3)), IMAGE),
    _case("Concatenate", "axis", lambda k: k.Concatenate(axis=1), IMAGE, tensors=3),
    _case("Dropout", "and other layers that only train", lambda k: k.Dropout(0.5), IMAGE),
]

MERGING = [
    _case("Add", "", lambda k: k.Add(), IMAGE, (7,), tensors=3),
    _case("Subtract", "", lambda k: k.Subtract(), IMAGE, tensors=2),
    _case("Average", "", lambda k: k.Average(), IMAGE, tensors=3),
    _case("Multiply", "", lambda k: k.Multiply(), IMAGE, (7,), tensors=2, largest=60.0),
    _case("Maximum", "", lambda k: k.Maximum(), IMAGE, tensors=3),
    _case("Minimum", "", lambda k: k.Minimum(), IMAGE, tensors=2),
]

TOKENS = [
    _case("Embedding", "input_dim=20", lambda k: k.Embedding(20, 5), (9,), (1,), (2, 3), vocabulary=20),
]

TIMES = (8, 3)
EIGHT_TIMES = 0.01
"""What a recurrent layer may be off by after eight times, at each of which two or three functions are approximated."""


def _over_time(layer: str, arguments: str, make: Callable[[Any], KerasObject], *shapes: Shape) -> Case:
    return _case(layer, arguments, make, *(shapes or (TIMES,)), largest=2.0, most=EIGHT_TIMES)


RECURRENT = [
    _over_time("SimpleRNN", "units", lambda k: k.SimpleRNN(4)),
    _over_time("LSTM", "units", lambda k: k.LSTM(4), TIMES, (1, 3)),
    _over_time("LSTM", "return_sequences, go_backwards", lambda k: k.LSTM(4, return_sequences=True, go_backwards=True)),
    _over_time("GRU", "units", lambda k: k.GRU(4), TIMES, (1, 3)),
    _over_time("GRU", "reset_after=False", lambda k: k.GRU(4, reset_after=False)),
    _over_time("RNN", "cells", lambda k: k.RNN([k.LSTMCell(3), k.GRUCell(5)], return_sequences=True)),
    _over_time("Bidirectional", "LSTM", lambda k: k.Bidirectional(k.LSTM(4, return_sequences=True))),
    _over_time("Bidirectional", "merge_mode='sum'", lambda k: k.Bidirectional(k.GRU(4), merge_mode="sum")),
    _over_time("TimeDistributed", "Dense", lambda k: k.TimeDistributed(k.Dense(4, activation="relu"))),
    _over_time("TimeDistributed", "Conv2D", lambda k: k.TimeDistributed(k.Conv2D(2, 3)), (8, 5, 4, 2)),
]

BENDING = [
    _case("ReLU", "", lambda k: k.ReLU(), IMAGE, (7,)),
    _case("ReLU", "max_value", lambda k: k.ReLU(6.0), IMAGE),
    _case("ReLU", "negative_slope", lambda k: k.ReLU(negative_slope=0.25, max_value=20.0), IMAGE),
    _case("ReLU", "threshold", lambda k: k.ReLU(threshold=1.5), IMAGE),
    _case("LeakyReLU", "negative_slope", lambda k: k.LeakyReLU(0.3), IMAGE),
    _case("PReLU", "shared_axes", lambda k: k.PReLU(shared_axes=[1, 2]), IMAGE),
    _case("ThresholdedReLU", "theta (Keras 2)", lambda k: k.ThresholdedReLU(1.5), IMAGE, generations=KERAS2),
    _case("Activation", "'relu'", lambda k: k.Activation("relu"), IMAGE),
    _case("Activation", "'relu6'", lambda k: k.Activation("relu6"), IMAGE, generations=KERAS3),
    _case("Activation", "'leaky_relu'", lambda k: k.Activation("leaky_relu"), IMAGE, generations=KERAS3),
    _case("Activation", "'hard_sigmoid'", lambda k: k.Activation("hard_sigmoid"), IMAGE),
    _case("Activation", "'hard_tanh'", lambda k: k.Activation("hard_tanh"), IMAGE, generations=KERAS3),
    _case("Activation", "'linear'", lambda k: k.Activation("linear"), IMAGE),
    _case("Softmax", "at the end", lambda k: k.Softmax(), (7,), largest=8.0),
    _case("Activation", "'softmax' at the end", lambda k: k.Activation("softmax"), (7,), largest=8.0),
    _case("Activation", "'sigmoid' at the end", lambda k: k.Activation("sigmoid"), (7,)),
]


def _smooth(name: str, generations: tuple[str, ...] = tuple(GENERATIONS)) -> Case:
    return _case("Activation", f"'{name}'", lambda k: k.Activation(name), IMAGE, inside=True, generations=generations)


CURVES = [
    *[_smooth(name) for name in ("sigmoid", "tanh", "softplus", "softsign", "elu", "selu", "gelu", "silu")],
    *[_smooth(name, KERAS3) for name in ("hard_silu", "mish", "log_sigmoid", "celu")],
    _case("ELU", "alpha", lambda k: k.ELU(0.5), IMAGE),
]
CURVES = [Case(**{**vars(case), "approximate": True}) for case in CURVES]

STEPS = (6, 4)

ATTENTION = [
    _case("Softmax", "inside", lambda k: k.Softmax(), (7,), (2, 33), largest=30.0, inside=True),
    _case("Softmax", "axis", lambda k: k.Softmax(axis=1), STEPS, largest=30.0),
    _case("Dot", "axes", lambda k: k.Dot(axes=1), STEPS, (7,), tensors=2, largest=8.0),
    _case("Dot", "normalize", lambda k: k.Dot(axes=-1, normalize=True), (7,), STEPS, tensors=2, largest=8.0),
    _case("Attention", "", lambda k: k.Attention(), STEPS, tensors=2, largest=4.0),
    _case("Attention", "use_scale", lambda k: k.Attention(use_scale=True), STEPS, tensors=3, largest=4.0),
    _case("Attention", "use_causal_mask", lambda k: _causal(k.Attention()), STEPS, tensors=2, largest=4.0),
    _case("MultiHeadAttention", "num_heads, key_dim", lambda k: _itself(k, num_heads=2, key_dim=3), STEPS, largest=2.0),
    _case(
        "MultiHeadAttention",
        "value_dim, output_shape",
        lambda k: _itself(k, num_heads=2, key_dim=3, value_dim=5, output_shape=7),
        STEPS,
        largest=2.0,
    ),
    _case(
        "MultiHeadAttention",
        "use_causal_mask",
        lambda k: _causal(_itself(k, num_heads=2, key_dim=3)),
        STEPS,
        largest=2.0,
    ),
    _case(
        "MultiHeadAttention",
        "use_bias=False, to another",
        lambda k: lambda x: k.MultiHeadAttention(2, 3, use_bias=False)(x[0], x[1]),
        STEPS,
        tensors=2,
        largest=2.0,
    ),
]


def _itself(layers: Any, **arguments: Any) -> KerasObject:
    """Attention of a value to itself."""
    return lambda x, **options: layers.MultiHeadAttention(**arguments)(x, x, **options)


def _causal(layer: KerasObject) -> KerasObject:
    """Attention to what was before."""
    return lambda x: layer(x, use_causal_mask=True)


NORMALIZING = [
    _case("LayerNormalization", "", lambda k: k.LayerNormalization(), (5, 16), (7,), (3, 128), largest=8.0),
    _case("LayerNormalization", "axis", lambda k: k.LayerNormalization(axis=[1, 2]), (4, 8), STEPS, largest=8.0),
    _case(
        "LayerNormalization",
        "center, scale, epsilon",
        lambda k: k.LayerNormalization(center=False, scale=False, epsilon=1e-5),
        (5, 16),
        largest=8.0,
    ),
    _case(
        "GroupNormalization", "groups", lambda k: k.GroupNormalization(2), (8, 4, 4), IMAGE, (12, 12, 4), largest=8.0
    ),
    _case("GroupNormalization", "axis=1", lambda k: k.GroupNormalization(2, axis=1), (4, 8, 4), (4, 6, 5), largest=8.0),
    _case("RMSNormalization", "(Keras 3)", lambda k: k.RMSNormalization(), (5, 16), largest=8.0, generations=KERAS3),
    _case("UnitNormalization", "axis", lambda k: k.UnitNormalization(), (5, 16), largest=8.0),
]

# The mean of a row may be off by two units, which counts up to 32 times where nothing differs from the mean.
NORMALIZING = [Case(**{**vars(case), "approximate": True}) for case in NORMALIZING]

CASES = [*LINEAR, *POOLING, *PLACES, *MERGING, *TOKENS, *RECURRENT, *BENDING, *CURVES, *ATTENTION, *NORMALIZING]
