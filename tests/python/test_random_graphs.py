"""Random networks with branches, of all supported layers: three parties compute what Keras does.

Hypothesis shrinks what fails and prints how to draw it again.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from keras_models import GENERATIONS, inputs
from layer_runs import input_unit, measure
from syfr.errors import RangeCheckError
from syfr.importing.bounds import check_ranges
from syfr.importing.keras_import import Imported, import_model
from syfr.importing.keras_layers import KerasObject
from syfr.steps import Signs

Shape = tuple[int, ...]

SHAPES = [(7, 6, 2), (6, 6, 1), (10, 3), (5,)]
EXACT = ["relu", "relu6", "leaky", "prelu", "hard_sigmoid", "linear"]
CURVES = ["sigmoid", "tanh", "softplus", "elu", "gelu", "silu"]
MERGES = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]
PLACES = {
    3: ["pad", "crop", "up", "permute", "flatten", "reshape"],
    2: ["pad1d", "crop1d", "up1d", "permute1d", "flatten", "reshape"],
    1: ["repeat", "reshape"],
}
LINEAR = {
    3: ["dense", "conv", "conv", "depthwise", "separable", "transposed", "bn", "rescale"],
    2: ["dense", "conv1d", "conv1d", "bn", "rescale"],
    1: ["dense", "bn", "rescale"],
}
POOLS = {3: ["max", "max", "mean", "mean", "globalmax", "globalmean"], 2: ["max1d", "mean1d"], 1: []}


def network(draw: st.DrawFn) -> KerasObject:
    """A Functional model of one or two inputs and outputs, each layer on any of the values before it."""
    keras = GENERATIONS[draw(st.sampled_from(sorted(GENERATIONS)))]
    shape = draw(st.sampled_from(SHAPES))
    first = [inputs(keras, shape) for _ in range(draw(st.integers(1, 2)))]
    pool = [merged(draw, keras, first) if len(first) > 1 else first[0]]
    for _ in range(draw(st.integers(1, 7))):
        if len(pool) > 1 and draw(st.integers(0, 2)) == 0:
            pool.append(merged(draw, keras, pool))
        else:
            # The last value more often than earlier ones: deep networks with some branches.
            source = pool[-1] if draw(st.booleans()) else pool[draw(st.integers(0, len(pool) - 1))]
            pool.append(layer(draw, keras, tuple(source.shape)[1:])(source))
    last = [pool[-1]]
    if draw(st.integers(0, 3)) == 0 and len(pool) > 2:
        last.append(pool[-2])
    model = keras.Model(first[0] if len(first) == 1 else first, last[0] if len(last) == 1 else last)
    calm(model, draw(st.integers(0, 2**32)))
    return model


def merged(draw: st.DrawFn, keras: ModuleType, pool: list[KerasObject]) -> KerasObject:
    """Two or three values of one shape, which may be the same value again, become one."""
    one = pool[draw(st.integers(0, len(pool) - 1))]
    alike = [tensor for tensor in pool if tuple(tensor.shape) == tuple(one.shape)]
    kind = draw(st.sampled_from(MERGES))
    count = 2 if kind in ("Subtract", "Multiply") else draw(st.integers(2, 3))
    chosen = [one, *(alike[draw(st.integers(0, len(alike) - 1))] for _ in range(count - 1))]
    if kind == "Concatenate":
        return keras.layers.Concatenate(axis=draw(st.integers(1, len(one.shape) - 1)))(chosen)
    return getattr(keras.layers, kind)()(chosen)


def layer(draw: st.DrawFn, keras: ModuleType, shape: Shape) -> KerasObject:
    """One layer that fits rows of ``shape``."""
    rank = len(shape)
    families = [LINEAR[rank], LINEAR[rank], ["activation"], ["activation"], PLACES[rank], POOLS[rank] or ["dropout"]]
    kind = draw(st.sampled_from(draw(st.sampled_from(families))))
    layers = keras.layers
    size = tuple(draw(st.integers(1, min(3, side))) for side in shape[:-1])
    stride, padding = draw(st.integers(1, 2)), draw(st.sampled_from(["valid", "same"]))
    count = draw(st.integers(1, 4))
    makers = {
        "activation": lambda: activation(draw, keras, shape),
        "dropout": lambda: layers.Dropout(0.5),
        "dense": lambda: layers.Dense(count, activation=draw(st.sampled_from([None, "relu"]))),
        "conv": lambda: layers.Conv2D(count, size, stride, padding, activation=draw(st.sampled_from([None, "relu"]))),
        "conv1d": lambda: layers.Conv1D(count, size[0], stride, padding),
        "depthwise": lambda: layers.DepthwiseConv2D(size, stride, padding, depth_multiplier=draw(st.integers(1, 2))),
        "separable": lambda: layers.SeparableConv2D(count, size, stride, padding),
        "transposed": lambda: layers.Conv2DTranspose(count, size, stride, padding),
        "bn": lambda: layers.BatchNormalization(),
        "rescale": lambda: layers.Rescaling(0.5, offset=draw(st.sampled_from([0.0, 0.25]))),
        "max": lambda: layers.MaxPooling2D(size, draw(st.sampled_from([None, 1, 2])), padding),
        "mean": lambda: layers.AveragePooling2D(size, draw(st.sampled_from([None, 1, 2])), padding),
        "max1d": lambda: layers.MaxPooling1D(size[0], stride, padding),
        "mean1d": lambda: layers.AveragePooling1D(size[0], stride, padding),
        "globalmax": lambda: layers.GlobalMaxPooling2D(keepdims=draw(st.booleans())),
        "globalmean": lambda: layers.GlobalAveragePooling2D(keepdims=draw(st.booleans())),
        "pad": lambda: layers.ZeroPadding2D(((0, 1), (draw(st.integers(0, 2)), 1))),
        "pad1d": lambda: layers.ZeroPadding1D((1, draw(st.integers(0, 2)))),
        "crop": lambda: layers.Cropping2D(((0, (shape[0] - 1) // 2), ((shape[1] - 1) // 2, 0))),
        "crop1d": lambda: layers.Cropping1D((0, (shape[0] - 1) // 2)),
        "up": lambda: layers.UpSampling2D((1, 2)),
        "up1d": lambda: layers.UpSampling1D(2),
        "permute": lambda: layers.Permute(draw(st.permutations((1, 2, 3)))),
        "permute1d": lambda: layers.Permute((2, 1)),
        "flatten": lambda: layers.Flatten(),
        "reshape": lambda: layers.Reshape((shape[-1], -1)),
        "repeat": lambda: layers.RepeatVector(2),
    }
    return makers[kind]()


def activation(draw: st.DrawFn, keras: ModuleType, shape: Shape) -> KerasObject:
    """An activation as a layer."""
    name = draw(st.sampled_from([*EXACT, *EXACT, *CURVES]))
    if name == "relu6":
        return keras.layers.ReLU(6.0)
    if name == "leaky":
        return keras.layers.LeakyReLU(0.25)
    if name == "prelu":
        return keras.layers.PReLU(shared_axes=list(range(1, len(shape))) or None)
    return keras.layers.Activation(name)


def calm(model: KerasObject, seed: int) -> None:
    """Random weights with which a layer gives numbers about as large as it reads."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        shape, name = tuple(weight.shape), weight.name
        values = random.uniform(-1.0, 1.0, shape)
        if "variance" in name or "gamma" in name:
            values = random.uniform(0.5, 1.5, shape)
        elif "kernel" in name:
            values *= 2.0 / np.prod(shape[:-1])
        if "seed" not in name:
            weight.assign(values)


def largest(imported: Imported) -> float:
    """No number inside is larger for any allowed input."""
    return max(1.0, *(bound.magnitude for bound in check_ranges(imported.program, imported.weights)))


def three_parties_agree(model: KerasObject, low: float, rows: int) -> None:
    """Import the model, ask for a batch and compare: of each curve an error of 0.005 may grow as the numbers do."""
    try:
        imported = import_model(model, input_range=(low, 1.0))
        size = largest(imported)
    except RangeCheckError:
        reject()
    curves = sum(isinstance(step, Signs) and step.scale_bits > 0 for step in imported.program.steps)
    random = np.random.default_rng(rows)
    unit = input_unit(imported.program)
    shapes = [tuple(tensor.shape)[1:] for tensor in model.inputs]
    batches = [np.rint(random.uniform(low, 1.0, (rows, *shape)) / unit) * unit for shape in shapes]
    found = measure(imported, model, [batch.astype(np.float32) for batch in batches])
    assert found.error < (2.0**-9 + 0.01 * curves) * size


CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)


@pytest.mark.timeout(900)
@settings(CALM, max_examples=40)
@given(data=st.data())
def test_a_random_graph_computes_what_keras_does(data: st.DataObject) -> None:
    model = network(data.draw)
    three_parties_agree(model, data.draw(st.sampled_from([0.0, -1.0, -3.0])), data.draw(st.sampled_from([1, 4])))


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@settings(CALM, max_examples=600)
@given(data=st.data())
def test_many_random_graphs_compute_what_keras_does(data: st.DataObject) -> None:
    model = network(data.draw)
    three_parties_agree(model, data.draw(st.sampled_from([0.0, -1.0, -3.0])), data.draw(st.sampled_from([1, 4])))
