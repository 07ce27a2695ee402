"""Casts at the door: what R passes is understood, what cannot be meant is refused with a remedy."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from syfr.errors import InputTypeError, ShapeError, SyfrError, ValueRangeError
from syfr.face import arguments
from syfr.program import Program
from syfr.steps import Linear

IMAGE = Program((4, 3, 1), (Linear("d", 0, (1, 2), (4, 3, 1), (4, 3, 2), "output"),))
VECTOR = Program((4,), (Linear("d", 0, (4, 2), (4,), (2,), "output"),), input_range=(-1.0, 2.0))


LARGE = Program((50, 40, 1), (Linear("d", 0, (1, 2), (50, 40, 1), (50, 40, 2), "output"),))


@pytest.mark.parametrize("dropped", [False, True])
def test_an_array_of_r_is_copied_once(dropped: bool) -> None:
    given = np.zeros((100, 50, 40) if dropped else (100, 50, 40, 1), order="F")
    given.flags.writeable = False
    tracemalloc.start()
    try:
        found = arguments.array_argument(given, LARGE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.flags.c_contiguous
    # One copy, and a flag for each element, whether it is finite.
    assert given.nbytes <= peak < 1.5 * given.nbytes


@pytest.mark.parametrize("value", [3, 3.0, np.int32(3), np.float64(3), np.float32(3)])
def test_counts_may_be_doubles(value: object) -> None:
    found = arguments.count_argument(value, "num_requests")
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [3.5, "3", None, True, [3], float("nan"), float("inf"), 1e300])
def test_other_things_are_no_counts(value: object) -> None:
    with pytest.raises(InputTypeError, match=r"num_requests is .*\. Give a whole number\."):
        arguments.count_argument(value, "num_requests")


@pytest.mark.parametrize("value", [0, -3.0])
def test_counts_are_positive(value: object) -> None:
    with pytest.raises(ValueRangeError, match="num_requests is"):
        arguments.count_argument(value, "num_requests")


@pytest.mark.parametrize("value", [[1.0, 28.0, 28.0, 1.0], (1, 28, 28, 1), np.array([1, 28, 28, 1], np.int32)])
def test_shapes_may_be_lists_of_doubles(value: object) -> None:
    assert arguments.batch_shape_argument(value, "in_shape") == (1, (28, 28, 1))


def test_a_batch_size_may_be_left_open() -> None:
    assert arguments.batch_shape_argument([None, 10.0], "out_shape") == (None, (10,))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (10.0, InputTypeError),
        ("1, 10", InputTypeError),
        (None, InputTypeError),
        ([10], ShapeError),
        ([1, 28.5], InputTypeError),
        ([1, None], InputTypeError),
        ([1, 0], ValueRangeError),
    ],
)
def test_other_things_are_no_shapes(value: object, error: type[SyfrError]) -> None:
    with pytest.raises(error, match="in_shape"):
        arguments.batch_shape_argument(value, "in_shape")


def test_ranges() -> None:
    assert arguments.range_argument([0, 255.0]) == (0.0, 255.0)
    for value, error in [
        ((1, 0), ValueRangeError),
        ((0, float("inf")), ValueRangeError),
        ("01", InputTypeError),
        ((0, 1, 2), InputTypeError),
        (3, InputTypeError),
        ((0, "1"), InputTypeError),
    ]:
        with pytest.raises(error, match="input_range"):
            arguments.range_argument(value)


def test_seconds() -> None:
    assert arguments.seconds_argument(5) == 5.0
    for value in (0, float("inf"), float("nan")):
        with pytest.raises(ValueRangeError, match=r"timeout is .* Give a positive and finite number"):
            arguments.seconds_argument(value)
    for other in ("5", True, None):
        with pytest.raises(InputTypeError, match=r"timeout is ('5'|true|missing)"):
            arguments.seconds_argument(other)


def test_texts_flags_and_paths() -> None:
    assert arguments.text_argument("mnist", "name") == "mnist"
    assert arguments.flag_argument(np.True_, "auto_managed") is True
    assert arguments.path_argument("~/x", "credentials") == Path.home() / "x"
    refused: list[tuple[Callable[[object, str], object], object]] = [
        (arguments.text_argument, 3),
        (arguments.text_argument, " "),
        (arguments.text_argument, "x" * 300),
        (arguments.flag_argument, 1),
        (arguments.flag_argument, "TRUE"),
        (arguments.path_argument, 3),
        (arguments.path_argument, ""),
    ]
    for cast, value in refused:
        with pytest.raises(InputTypeError, match="given is"):
            cast(value, "given")


def test_an_array_of_r_is_taken_as_it_is() -> None:
    x = np.asfortranarray(np.random.default_rng(1).uniform(size=(2, 4, 3, 1)))
    x.setflags(write=False)
    found = arguments.array_argument(x, IMAGE)
    np.testing.assert_array_equal(found, x)
    assert found.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float32, np.bool_])
def test_numbers_of_any_type_become_doubles(dtype: type) -> None:
    found = arguments.array_argument(np.ones((1, 4), dtype), VECTOR)
    assert found.dtype == np.float64
    assert (found == 1).all()


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((4, 3, 1), 1), ((4, 3), 1), ((1, 4, 3), 1), ((5, 4, 3), 5), ((5, 4, 3, 1), 5), ((1, 1, 4, 3, 1), 1)],
)
def test_axes_of_extent_one_that_r_drops_are_restored(shape: tuple[int, ...], rows: int) -> None:
    x = np.random.default_rng(1).uniform(size=shape)
    found = arguments.array_argument(np.asfortranarray(x), IMAGE)
    assert found.shape == (rows, 4, 3, 1)
    np.testing.assert_array_equal(found.ravel(), x.ravel())


def test_a_row_of_a_vector_model() -> None:
    assert arguments.array_argument([0.5, 1, 1, 0], VECTOR).shape == (1, 4)
    assert arguments.array_argument(np.zeros((4, 4)), VECTOR).shape == (4, 4)


@pytest.mark.parametrize("shape", [(12,), (3, 4), (2, 3, 4, 1), (0, 4, 3, 1), (), (4, 3, 2), (2, 2, 4, 3, 1)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"takes \(rows, 4, 3, 1\)"):
        arguments.array_argument(np.zeros(shape), IMAGE)


@pytest.mark.parametrize("value", ["text", [["a"] * 4], None, {"a": 1}, np.zeros((1, 4), complex), [[1, 2], [3]]])
def test_what_is_not_numeric_is_refused(value: object) -> None:
    with pytest.raises(InputTypeError, match="Give a numeric array"):
        arguments.array_argument(value, VECTOR)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_are_refused(value: float) -> None:
    x = np.zeros((3, 4))
    x[1, 2] = value
    with pytest.raises(ValueRangeError, match=r"Row 2 of x .*NA, NaN or Inf"):
        arguments.array_argument(x, VECTOR)


@pytest.mark.parametrize("value", [-1.001, 2.001, 255, -(2**31)])
def test_values_outside_the_declared_range_are_refused(value: float) -> None:
    x = np.zeros((3, 4))
    x[0, 0] = value
    with pytest.raises(ValueRangeError, match=r"the model takes -1 to 2 \(input_range\)\. Scale the input"):
        arguments.array_argument(x, VECTOR)
