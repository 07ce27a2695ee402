"""The layers beyond chains of linear ones: maxima, merging, moving elements, piecewise linear activations."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import plain
import pytest
from keras_models import GENERATIONS, agree, sequential
from syfr.importing.bounds import check_ranges
from syfr.importing.calibration import calibrated
from syfr.importing.calls import KerasObject
from syfr.importing.evaluation import evaluate
from syfr.importing.keras_import import import_model
from syfr.steps import Shape

IMAGE = (7, 6, 3)
SEQUENCE = (9, 4)

Stack = Callable[[ModuleType], list[KerasObject]]


@pytest.fixture(params=sorted(GENERATIONS))
def keras(request: pytest.FixtureRequest) -> ModuleType:
    """Keras 2 and Keras 3 in turn."""
    return GENERATIONS[request.param]


LAYERS: dict[str, tuple[Shape, Stack]] = {
    "max pool": (IMAGE, lambda k: [k.layers.MaxPooling2D(2)]),
    "max pool overlapping": (IMAGE, lambda k: [k.layers.MaxPooling2D(3, strides=(2, 1))]),
    "max pool same": (IMAGE, lambda k: [k.layers.MaxPooling2D((3, 2), strides=2, padding="same")]),
    "max pool 1d": (SEQUENCE, lambda k: [k.layers.MaxPooling1D(4, strides=2, padding="same")]),
    "max pool leaping": (IMAGE, lambda k: [k.layers.MaxPooling2D(1, strides=2)]),
    "relu, max pool": (
        IMAGE,
        lambda k: [k.layers.Conv2D(4, 3, activation="relu"), k.layers.MaxPooling2D(2), k.layers.Conv2D(2, 2)],
    ),
    "relu, padding, max pool": (
        IMAGE,
        lambda k: [
            k.layers.Conv2D(4, 3, activation="relu"),
            k.layers.ZeroPadding2D(1),
            k.layers.MaxPooling2D(3, 2),
            k.layers.Conv2D(2, 2),
        ],
    ),
    "global max": (IMAGE, lambda k: [k.layers.GlobalMaxPooling2D(), k.layers.Dense(2)]),
    "global max keepdims": (IMAGE, lambda k: [k.layers.GlobalMaxPooling2D(keepdims=True)]),
    "global max 1d": (SEQUENCE, lambda k: [k.layers.GlobalMaxPooling1D()]),
    "global average 1d keepdims": (SEQUENCE, lambda k: [k.layers.GlobalAveragePooling1D(keepdims=True)]),
    "average same": (IMAGE, lambda k: [k.layers.AveragePooling2D((3, 2), strides=2, padding="same")]),
    "average same overlapping": (IMAGE, lambda k: [k.layers.AveragePooling2D(3, strides=1, padding="same")]),
    "average same 1d": (SEQUENCE, lambda k: [k.layers.AveragePooling1D(4, padding="same")]),
    "average same, dense": (
        IMAGE,
        lambda k: [
            k.layers.ReLU(),
            k.layers.AveragePooling2D(2, padding="same"),
            k.layers.Flatten(),
            k.layers.Dense(2),
        ],
    ),
    "average alone": (IMAGE, lambda k: [k.layers.ReLU(), k.layers.AveragePooling2D(3, strides=2), k.layers.ReLU()]),
    "average, then relu6": (IMAGE, lambda k: [k.layers.AveragePooling2D(2), k.layers.ReLU(6.0)]),
    "conv1d groups": (SEQUENCE, lambda k: [k.layers.Conv1D(6, 3, groups=2)]),
    "depthwise 1d": (SEQUENCE, lambda k: [k.layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same")]),
    "separable": (IMAGE, lambda k: [k.layers.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2)]),
    "separable dilated": (IMAGE, lambda k: [k.layers.SeparableConv2D(5, 3, dilation_rate=2, use_bias=False)]),
    "separable 1d": (SEQUENCE, lambda k: [k.layers.SeparableConv1D(5, 3, activation="relu")]),
    "transposed": (IMAGE, lambda k: [k.layers.Conv2DTranspose(4, 3, strides=2)]),
    "transposed same": (IMAGE, lambda k: [k.layers.Conv2DTranspose(4, (3, 2), strides=(2, 3), padding="same")]),
    "transposed same 4": (IMAGE, lambda k: [k.layers.Conv2DTranspose(4, 4, strides=2, padding="same")]),
    "transposed small": (IMAGE, lambda k: [k.layers.Conv2DTranspose(4, 1, strides=3)]),
    "transposed output padding": (
        IMAGE,
        lambda k: [k.layers.Conv2DTranspose(4, 3, strides=3, padding="same", output_padding=1)],
    ),
    "transposed 1d": (SEQUENCE, lambda k: [k.layers.Conv1DTranspose(5, 3, strides=2, padding="same")]),
    "batch normalisation of rows": (IMAGE, lambda k: [k.layers.BatchNormalization(axis=1), k.layers.ReLU()]),
    "batch normalisation wide": ((5, 70), lambda k: [k.layers.ReLU(), k.layers.BatchNormalization(), k.layers.ReLU()]),
    "permute": (IMAGE, lambda k: [k.layers.Permute((3, 1, 2)), k.layers.Conv2D(2, 2)]),
    "permute, rescale": (
        SEQUENCE,
        lambda k: [k.layers.ReLU(), k.layers.Permute((2, 1)), k.layers.Rescaling(0.5), k.layers.ReLU()],
    ),
    "permute twice": (
        IMAGE,
        lambda k: [k.layers.Permute((3, 1, 2)), k.layers.ReLU(), k.layers.Permute((2, 3, 1)), k.layers.ReLU()],
    ),
    "repeat vector": ((5,), lambda k: [k.layers.RepeatVector(3), k.layers.Conv1D(2, 2)]),
    "padding alone": (IMAGE, lambda k: [k.layers.ReLU(), k.layers.ZeroPadding2D(((1, 0), (2, 1)))]),
    "padding 1d": (SEQUENCE, lambda k: [k.layers.ZeroPadding1D(2), k.layers.MaxPooling1D(2)]),
    "cropping": (IMAGE, lambda k: [k.layers.Cropping2D(((1, 2), (0, 1))), k.layers.Conv2D(2, 2)]),
    "cropping 1d": (SEQUENCE, lambda k: [k.layers.Cropping1D((1, 2))]),
    "upsampling": (IMAGE, lambda k: [k.layers.UpSampling2D((2, 3)), k.layers.ReLU(), k.layers.Conv2D(2, 2)]),
    "upsampling 1d": (SEQUENCE, lambda k: [k.layers.UpSampling1D(2)]),
    "relu6": (IMAGE, lambda k: [k.layers.Conv2D(4, 3), k.layers.ReLU(6.0)]),
    "relu with everything": (IMAGE, lambda k: [k.layers.ReLU(1.5, negative_slope=0.25, threshold=0.5)]),
    "relu with threshold": (SEQUENCE, lambda k: [k.layers.ReLU(threshold=0.25)]),
    "leaky": (IMAGE, lambda k: [k.layers.Conv2D(4, 3), k.layers.LeakyReLU(), k.layers.Conv2D(2, 2)]),
    "prelu": (IMAGE, lambda k: [k.layers.Conv2D(4, 3), k.layers.PReLU(shared_axes=[1, 2]), k.layers.Conv2D(2, 2)]),
    "prelu unshared": (IMAGE, lambda k: [k.layers.PReLU()]),
    "prelu of rows": (IMAGE, lambda k: [k.layers.PReLU(shared_axes=[2, 3])]),
    "hard sigmoid": (IMAGE, lambda k: [k.layers.Conv2D(4, 3), k.layers.Activation("hard_sigmoid")]),
    "layer as activation": ((5,), lambda k: [k.layers.Dense(4, activation=k.layers.ReLU(6.0)), k.layers.Dense(2)]),
    "normalization": (IMAGE, lambda k: [k.layers.Normalization(mean=0.5, variance=4.0), k.layers.Conv2D(2, 2)]),
    "normalization of channels": (
        IMAGE,
        lambda k: [k.layers.Normalization(mean=[0.5, 0.1, 0.2], variance=[1.0, 2.0, 4.0]), k.layers.Conv2D(2, 2)],
    ),
    "rescaling everywhere": ((2, 3), lambda k: [k.layers.Rescaling([[1.0], [2.0]]), k.layers.Dense(2)]),
    "softmax inside": ((3, 5), lambda k: [k.layers.Dense(4, activation="softmax"), k.layers.Dense(2)]),
    "softmax of rows": ((4, 6), lambda k: [k.layers.Softmax(axis=1), k.layers.Conv1D(2, 2)]),
    "layer normalisation": (SEQUENCE, lambda k: [k.layers.LayerNormalization(), k.layers.Dense(2)]),
    "layer normalisation of rows": (
        IMAGE,
        lambda k: [k.layers.LayerNormalization(axis=(1, 2)), k.layers.ReLU(), k.layers.Conv2D(4, 3)],
    ),
    "group normalisation": (IMAGE, lambda k: [k.layers.GroupNormalization(1, center=False), k.layers.Conv2D(2, 2)]),
    "group normalisation alone": (
        IMAGE,
        lambda k: [k.layers.GroupNormalization(IMAGE[-1], scale=False), k.layers.ReLU()],
    ),
    "rows of length 1": (SEQUENCE, lambda k: [k.layers.UnitNormalization(axis=1), k.layers.Dense(2)]),
    "dense of a cube": ((2, 3, 4, 5), lambda k: [k.layers.Dense(3, activation="relu"), k.layers.Flatten()]),
}


@pytest.mark.parametrize("case", sorted(LAYERS))
def test_a_layer_computes_what_keras_does(keras: ModuleType, case: str) -> None:
    shape, stack = LAYERS[case]
    agree(sequential(keras, shape, *stack(keras)), rows=(3,), low=-2.0, high=2.0, tolerance=5e-4)


@pytest.mark.parametrize("case", sorted(LAYERS))
def test_the_program_does_not_depend_on_the_weights(case: str) -> None:
    shape, stack = LAYERS[case]
    model = sequential(GENERATIONS["keras3"], shape, *stack(GENERATIONS["keras3"]))
    program = import_model(model).program
    for value in (0.0, 1.0):
        for weight in model.weights:
            if "seed" not in weight.name and "count" not in weight.name:
                weight.assign(np.full(tuple(weight.shape), value))
        assert import_model(model).program == program


@pytest.mark.parametrize("case", sorted(LAYERS))
def test_no_value_is_outside_of_its_proven_bound(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syfr.importing.calibration.HEADROOM", 1.0)
    shape, stack = LAYERS[case]
    model = sequential(GENERATIONS["keras3"], shape, *stack(GENERATIONS["keras3"]))
    imported = import_model(model, input_range=(-2, 2))
    random = np.random.default_rng(3)
    x = np.where(random.random((20, *shape)) < 0.5, -2.0, 2.0)
    proven = check_ranges(imported.program, imported.weights, imported.known)
    seen = calibrated(imported.program, imported.weights, x, imported.known)
    assert [bound.step for bound in seen] == [bound.step for bound in proven]
    for found, bound in zip(seen, proven, strict=True):
        assert bound.low - 0.01 <= found.low
        assert found.high <= bound.high + 0.01
    twin = plain.evaluate(imported.program, imported.weights, x[:2])
    np.testing.assert_allclose(evaluate(imported.program, imported.weights, x[:2]), twin, atol=1e-9)
