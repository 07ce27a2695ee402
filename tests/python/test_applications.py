"""Networks as people use them: MobileNetV2, ResNet50 and VGG16 on shares agree with Keras about the class."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from keras_models import GENERATIONS
from numpy.typing import NDArray
from syfr.face.imports import imported
from syfr.importing.calls import KerasObject
from syfr.importing.keras_import import import_model
from syfr.party.memory import MemoryCluster
from syfr.steps import Linear, Signs, follows

KERAS = GENERATIONS["keras3"]
SIZE, IMAGES, CLASSES = 32, 20, 10

Images = NDArray[np.float32]
Sizes = Callable[[KerasObject, Images, Images], None]


def images(count: int) -> Images:
    """Pictures of a colour each, with some noise."""
    random = np.random.default_rng(5)
    colours = random.uniform(0.2, 0.8, (count, 1, 1, 3))
    shades = np.repeat(np.repeat(random.uniform(-0.2, 0.2, (count, 4, 4, 1)), SIZE // 4, 1), SIZE // 4, 2)
    return np.clip(colours + shades + random.normal(0, 0.03, (count, SIZE, SIZE, 3)), 0, 1).astype(np.float32)


@pytest.fixture
def sizes(bench: Callable[[str], ModuleType]) -> Sizes:
    """What gives the networks that are measured weights of ordinary size."""
    found: Sizes = bench("networks").ordinary_sizes
    return found


def network(name: str, x: Images, sizes: Sizes) -> KerasObject:
    """A network whose random weights give numbers of ordinary size, and for different images different classes."""
    KERAS.utils.set_random_seed(3)
    build = getattr(KERAS.applications, name)
    model = build(weights=None, input_shape=(SIZE, SIZE, 3), classes=CLASSES, classifier_activation=None)
    sizes(model, x, images(100))
    last = model.layers[-1]
    logits = np.asarray(model(x))
    last.kernel.assign(np.asarray(last.kernel) * 3 / logits.std(0))
    last.bias.assign(-np.asarray(model(x)).mean(0))
    return model


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "precision"), [("MobileNetV2", 17), ("ResNet50", 16), ("VGG16", 16)])
def test_a_network_agrees_with_keras_about_the_class(name: str, precision: int, sizes: Sizes) -> None:
    many = images(4 * IMAGES)
    model = network(name, many, sizes)
    # Random weights leave some images between two classes; a rounding may decide there.
    best = np.sort(np.asarray(model(many)), axis=1)
    x = many[best[:, -1] - best[:, -2] > 0.3][:IMAGES]
    expected = np.asarray(model(x))
    assert len(expected) == IMAGES
    found = imported(model, calibrate=x, allow_unproven=True, digits=None, precision=precision)
    kernels = {number: weights.kernel for number, weights in found.weights.items()}
    cluster = MemoryCluster(found.program, kernels, {number: each.bias for number, each in found.weights.items()})
    answers = []
    for start in range(0, IMAGES, 5):
        cluster.prepare(5)
        answers.append(cluster.query(x[start : start + 5]).values)
    logits = np.concatenate(answers)
    assert len(set(expected.argmax(1))) >= CLASSES // 2
    assert np.abs(logits - expected).max() < 0.15
    np.testing.assert_array_equal(logits.argmax(1), expected.argmax(1))


def test_a_residual_network_takes_its_sums_into_its_layers(sizes: Sizes) -> None:
    program = import_model(network("ResNet50", images(2), sizes)).program
    linear = [step for step in program.steps if isinstance(step, Linear)]
    assert len(linear) == 54
    assert sum(bool(step.plus) for step in linear) == 16
    assert [follows(step) for step in linear].count("truncate") == 5
    relus = [step for step in program.steps if isinstance(step, Signs) and "relu" in step.layer]
    assert len(relus) == 1  # behind the max pooling
