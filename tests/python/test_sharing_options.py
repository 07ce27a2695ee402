"""What an owner may say of a model: what clients get, how exact, in which format, and with which ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_models import GENERATIONS, inputs, randomize, sequential
from syfr.errors import InputTypeError, RangeCheckError, ShapeError, UnsupportedLayerError, ValueRangeError
from syfr.face.arguments import array_argument, batch_shape_argument
from syfr.face.cluster import TFECluster
from syfr.face.finding import Found
from syfr.face.imports import imported
from syfr.face.owner import SharedModel
from syfr.face.results import Results, results
from syfr.face.worker import TFEWorker
from syfr.importing.bounds import check_ranges
from syfr.importing.calibration import calibrated
from syfr.importing.calls import KerasObject
from syfr.importing.keras_import import Imported
from syfr.party.memory import MemoryCluster
from syfr.program import Program

KERAS = GENERATIONS["keras3"]
X = np.random.default_rng(2).uniform(0.0, 1.0, (4, 6)).astype(np.float32)


def ask(found: Imported, x: Any) -> Results:
    """What a client gets of three parties in memory."""
    kernels = {number: weights.kernel for number, weights in found.weights.items()}
    cluster = MemoryCluster(found.program, kernels, {number: each.bias for number, each in found.weights.items()})
    rows = array_argument(x, found.program)
    cluster.prepare(len(rows))
    return results(found.program, cluster.query(rows).values)


@pytest.fixture(scope="module")
def classifier() -> KerasObject:
    """Five classes, with a softmax."""
    layers = KERAS.layers
    return sequential(KERAS, (6,), layers.Dense(8, activation="relu"), layers.Dense(5, activation="softmax"))


@pytest.fixture(scope="module")
def binary() -> KerasObject:
    """Two classes, with a sigmoid; both occur."""
    model = sequential(KERAS, (6,), KERAS.layers.Dense(1, activation="sigmoid"))
    logit = np.asarray(X @ np.asarray(model.layers[-1].kernel))
    model.layers[-1].bias.assign(-np.median(logit)[None])
    return model


def logits(model: KerasObject) -> Any:
    """What goes into the softmax or sigmoid."""
    last = model.layers[-1]
    inner = KERAS.Model(model.inputs[0], last.input)(X)
    return np.asarray(inner) @ np.asarray(last.kernel) + np.asarray(last.bias)


def test_predictions_and_logits(classifier: KerasObject) -> None:
    np.testing.assert_allclose(ask(imported(classifier, digits=None), X), np.asarray(classifier(X)), atol=1e-3)
    found = imported(classifier, output="logits", digits=None)
    assert found.program.head == "linear"
    np.testing.assert_allclose(ask(found, X), logits(classifier), atol=2e-3)


def test_a_label_is_all_that_is_opened(classifier: KerasObject) -> None:
    found = imported(classifier, output="label")
    assert found.program.output_shape == (1,)
    assert (found.program.head, found.program.output_digits) == ("label", 0)
    labels = ask(found, X)
    assert isinstance(labels, np.ndarray)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, np.asarray(classifier(X)).argmax(1)[:, None])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_best_labels_in_their_order(classifier: KerasObject, k: int) -> None:
    found = ask(imported(classifier, output="top_k", k=k), X)
    np.testing.assert_array_equal(found, np.argsort(-np.asarray(classifier(X)), axis=1)[:, :k])


def test_the_label_of_one_probability(binary: KerasObject) -> None:
    expected = (logits(binary) >= 0).astype(np.int64)
    assert 0 < expected.sum() < len(X)
    np.testing.assert_array_equal(ask(imported(binary, output="label"), X), expected)


def test_labels_of_several_outputs() -> None:
    start = inputs(KERAS, (6,))
    ends = {"one": KERAS.layers.Dense(3, activation="softmax")(start), "two": KERAS.layers.Dense(4)(start)}
    model = KERAS.Model(start, ends)
    randomize(model)
    found = ask(imported(model, output="label"), X)
    assert isinstance(found, dict)
    for name, expected in model(X).items():
        np.testing.assert_array_equal(found[name], np.asarray(expected).argmax(1)[:, None])


def test_where_there_is_no_label(classifier: KerasObject) -> None:
    layers = KERAS.layers
    one = sequential(KERAS, (6,), layers.Dense(1, name="it"))
    with pytest.raises(UnsupportedLayerError, match=r"'it' ends the model with one number that is no probability"):
        imported(one, output="label")
    image = sequential(KERAS, (6, 5), layers.Dense(3, name="it"))
    with pytest.raises(UnsupportedLayerError, match=r"'it' ends the model with rows of \(6, 3\).*one number for each"):
        imported(image, output="label")
    with pytest.raises(ValueRangeError, match=r"k is 6; the model gives 5 .* Give k up to 5"):
        imported(classifier, output="top_k", k=6)


def test_digits_and_precision(classifier: KerasObject) -> None:
    def formats(**options: object) -> tuple[int, int, int]:
        program = imported(classifier, **options).program  # type: ignore[arg-type]
        return program.precision.fraction_bits, program.precision.value_bits, program.output_digits

    assert formats() == (14, 42, 10)
    assert formats(digits=None) == (14, 42, 14)
    assert formats(digits=0.0) == (14, 42, 0)
    assert formats(digits=10, precision=8) == (8, 36, 8)
    assert formats(precision=18.0, digits=14) == (18, 46, 14)
    found = ask(imported(classifier, output="logits", precision=17, digits=3), X)
    np.testing.assert_allclose(found, logits(classifier), atol=0.126)
    assert (np.asarray(found) * 8 == np.rint(np.asarray(found) * 8)).all()


def test_names_of_classes_are_told_to_clients(classifier: KerasObject, binary: KerasObject) -> None:
    program = imported(classifier, classes=list("abcde")).program
    assert Program.from_message(program.to_message()).classes == ("a", "b", "c", "d", "e")
    assert imported(binary, classes=["no", "yes"]).program.classes == ("no", "yes")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"output": "labels"}, InputTypeError, r"output is 'labels'\. Give one of model, logits, label, top_k"),
        ({"precision": 3}, ValueRangeError, r"precision is 3\. Give 6 to 18"),
        ({"precision": "high"}, InputTypeError, "precision"),
        ({"k": 0, "output": "top_k"}, ValueRangeError, "k is 0"),
        ({"digits": -1}, ValueRangeError, r"digits is -1\. Give 0 to 14"),
        ({"digits": 15}, ValueRangeError, r"digits is 15\. Give 0 to 14"),
        ({"classes": "abcde"}, InputTypeError, "classes must be several names"),
        ({"classes": ["a", "b"]}, ValueRangeError, r"has 2 names; the model tells 5 classes apart\. Give"),
        ({"classes": ["a"]}, ValueRangeError, "classes has 1 name;"),
        ({"input_range": (0, 1e9)}, ValueRangeError, "input_range is from 0 to 1e.09; inputs must be below .* Scale"),
        ({"input_range": (0, 1e-9)}, ValueRangeError, "it must be wider than"),
        ({"classes": list("abcda")}, ValueRangeError, "a name twice"),
        ({"allow_unproven": 1}, InputTypeError, "allow_unproven"),
        ({"calibrate": np.zeros((2, 5))}, ShapeError, r"\(2, 5\); the model takes \(rows, 6\)"),
        ({"calibrate": np.full((2, 6), 7.0)}, ValueRangeError, "calibrate has values from 7 to 7"),
    ],
)
def test_options_that_cannot_be_meant(
    classifier: KerasObject, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        imported(classifier, **options)


def wide(factor: float) -> KerasObject:
    """A model that can reach 6·factor², but on the data does not come near it."""
    layers = KERAS.layers
    model = sequential(KERAS, (6,), layers.Dense(1, name="first"), layers.Dense(1, name="last", activation="relu"))
    for layer, kernel in zip(model.layers, ([[1.0], [-1.0]] * 3, [[1.0]]), strict=True):
        layer.kernel.assign(factor * np.array(kernel))
        layer.bias.assign([0.0])
    return model


def test_ranges_from_data_are_no_proof() -> None:
    model, x = wide(60.0), np.full((20, 6), 0.5, np.float32)
    with pytest.raises(RangeCheckError, match=r"can reach .*give data like the inputs to come as calibrate"):
        imported(model)
    with pytest.raises(RangeCheckError, match=r"inputs like these only.*Say allow_unproven = True"):
        imported(model, calibrate=x)
    found = imported(model, calibrate=x, allow_unproven=True)
    assert not found.program.proven
    assert not Program.from_message(found.program.to_message()).proven
    cluster = TFECluster(TFEWorker(), TFEWorker(), TFEWorker())
    assert repr(SharedModel(cluster, "0" * 32, "wide", found.program)).endswith("; ranges not proven)")
    assert str(Found("0" * 32, "wide", found.program, True)).endswith(", ranges not proven")
    assert imported(wide(2.0), calibrate=x, allow_unproven=True).program.proven


def test_data_has_four_bits_of_headroom() -> None:
    x = np.tile([[0.75, 0.5]], (20, 3)).astype(np.float32)
    found = imported(wide(1.0))
    first, last = calibrated(found.program, found.weights, x)
    assert (first.magnitude, last.magnitude) == pytest.approx((0.75 * 16, 0.75 * 16))
    assert all(bound.magnitude < 3.1 for bound in check_ranges(found.program, found.weights))
    with pytest.raises(RangeCheckError, match=r"'first \+ last' reaches 2700 on the .*, 43200 with four bits"):
        imported(wide(60.0), calibrate=x, allow_unproven=True)


def two_inputs() -> KerasObject:
    """A model that takes two inputs, called "a" and "b"."""
    a, b = KERAS.Input((2,), name="a"), KERAS.Input((3, 1), name="b")
    joined = KERAS.layers.Concatenate()([a, KERAS.layers.Flatten()(b)])
    model = KERAS.Model([a, b], [KERAS.layers.Dense(2, activation="sigmoid")(joined), joined])
    randomize(model)
    return model


def test_several_inputs_as_a_list_or_by_name() -> None:
    model = two_inputs()
    found = imported(model, digits=None)
    random = np.random.default_rng(1)
    a, b = random.uniform(0, 1, (3, 2)), random.uniform(0, 1, (3, 3, 1))
    expected = [np.asarray(value) for value in model([a, b])]
    for x in ([a, b], (a, b[..., 0]), {"b": b, "a": a}):
        answers = ask(found, x)
        assert isinstance(answers, list)
        for answer, wanted in zip(answers, expected, strict=True):
            np.testing.assert_allclose(answer, wanted, atol=1e-3)
    one = ask(found, [a[0], b[0]])
    assert [value.shape for value in one] == [(1, 2), (1, 5)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((1, 5)), InputTypeError, r"not one array for each.*Give a list of 2 arrays, or .* 'a', 'b'"),
        ([np.zeros((1, 2))], InputTypeError, "not one array for each"),
        ({"a": np.zeros((1, 2)), "c": np.zeros((1, 3, 1))}, InputTypeError, "x has 'a', 'c'"),
        ([np.zeros((1, 3)), np.zeros((1, 3, 1))], ShapeError, r"\(1, 3\); the model takes \(rows, 2\)"),
        ([np.zeros((2, 2)), np.zeros((1, 3, 1))], ShapeError, r"The parts of x have \[1, 2\] rows"),
        ([np.zeros((1, 2)), np.full((1, 3, 1), 2.0)], ValueRangeError, r"x\['b'\] has values from 2 to 2"),
    ],
)
def test_inputs_that_cannot_be_meant(x: object, error: type[Exception], message: str) -> None:
    program = imported(two_inputs()).program
    with pytest.raises(error, match=message):
        array_argument(x, program)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ({"a": np.zeros((1, 6))}, InputTypeError, "x has names, and the model has only one input"),
        (np.zeros((0, 6)), ShapeError, r"\(0, 6\), so no rows; .* Give at least one row"),
    ],
)
def test_inputs_that_one_input_does_not_take(
    classifier: KerasObject, x: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        array_argument(x, imported(classifier).program)


def test_a_model_of_several_ends_is_found_by_all_its_shapes() -> None:
    found = Found("0" * 32, "two", imported(two_inputs()).program, True)
    ins, outs = [(5, 2), (5, 3, 1)], [[5.0, 2.0], [5.0, 5.0]]
    assert found.fits(batch_shape_argument(ins, "in_shape"), batch_shape_argument(outs, "out_shape"))
    named = {"b": ins[1], "a": ins[0]}
    assert found.fits(batch_shape_argument(named, "in_shape"), batch_shape_argument(outs, "out_shape"))
    assert not found.fits(batch_shape_argument(ins[::-1], "in_shape"), batch_shape_argument(outs, "out_shape"))
    assert not found.fits(batch_shape_argument((5, 5), "in_shape"), batch_shape_argument(outs, "out_shape"))
    assert str(found) == "'two' from (rows, 2) and (rows, 3, 1) to (rows, 2) and (rows, 5)"
    with pytest.raises(ShapeError, match="different batch sizes"):
        batch_shape_argument([(5, 2), (4, 3, 1)], "in_shape")
