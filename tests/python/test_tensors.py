"""Private tensors against NumPy, over virtual workers: every operation on random and edge values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from syfr.errors import InputTypeError, RangeCheckError, ShapeError
from syfr.tensors.from_r import permitting
from syfr.tensors.functions import error_of
from syfr.tensors.private import PlainTensor, PrivateTensor, VirtualWorker, concatenate

Array = NDArray[np.float64]
EXACT = 2.0**-14
"""Sharing rounds to a multiple of it."""

EDGES = np.array([0.0, 2.0**-14, -(2.0**-14), 1.0, -1.0, 2.0, -2.0, 0.5])


@pytest.fixture(scope="module")
def share() -> Callable[[Any], PrivateTensor]:
    """Shares an array with three virtual workers."""
    alice, bob, carol = (VirtualWorker(id=name) for name in ("alice", "bob", "carol"))
    return lambda array: PlainTensor(array).share(alice, bob, crypto_provider=carol)


def values(seed: int) -> Array:
    """Multiples of 2^-14, which fixed point holds exactly; some rows hold edge values and equal ones."""
    found = np.random.default_rng(seed).integers(-2 << 14, 2 << 14, (6, 8)) / (1 << 14)
    found[0], found[1] = EDGES, 1.25
    return found


X, Y = values(1), values(2)
Y[2] = X[2]

EXACT_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "-x": lambda x, y: -x,
    "1 - x": lambda x, y: 1 - x,
    "x + 0.25": lambda x, y: x + 0.25,
    "3 * x": lambda x, y: 3 * x,
    "x >= y": lambda x, y: x >= y,
    "x > y": lambda x, y: x > y,
    "x <= y": lambda x, y: x <= y,
    "x < y": lambda x, y: x < y,
    "x == y": lambda x, y: x == y,
    "x != y": lambda x, y: x != y,
    "x >= 0": lambda x, y: x >= 0,
    "sum": lambda x, y: x.sum(),
    "sum of columns": lambda x, y: x.sum(0),
    "sum of rows": lambda x, y: x.sum(axis=1),
    "argmax of rows": lambda x, y: x.argmax(1),
    "argmax": lambda x, y: x.argmax(),
    "max": lambda x, y: x.max(),
    "max of columns": lambda x, y: x.max(0),
    "min of rows": lambda x, y: x.min(1),
    "abs": lambda x, y: abs(x),
    "reshape": lambda x, y: x.reshape(4, -1),
    "transpose": lambda x, y: x.T,
    "index": lambda x, y: x[1:5:2, [0, 3, 3]],
    "one element": lambda x, y: x[2, 3],
    "a row with all": lambda x, y: x + y[1],
    "a column with all": lambda x, y: x - y[:, 2:3],
}

ROUNDED_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "x * y": lambda x, y: x * y,
    "x * x": lambda x, y: x * x,
    "0.37 * x": lambda x, y: 0.37 * x,
    "x / 7": lambda x, y: x / 7,
    "x ** 3": lambda x, y: x**3,
    "x @ y": lambda x, y: x @ y.T,
    "mean": lambda x, y: x.mean(),
    "mean of rows": lambda x, y: x.mean(1),
}


@pytest.mark.parametrize("name", EXACT_OPERATIONS)
def test_an_exact_operation_is_numpys(name: str, share: Callable[[Any], PrivateTensor]) -> None:
    operation = EXACT_OPERATIONS[name]
    found, wanted = operation(share(X), share(Y)).get(), np.asarray(operation(X, Y), np.float64)
    assert found.shape == (wanted.shape or (1,))
    if name in ("x == y", "x != y"):
        near = np.abs(X - Y) < 2 * 8 * EXACT
        assert np.array_equal(found[~near], wanted[~near])
        assert np.array_equal(found[X == Y], wanted[X == Y])
    else:
        assert np.array_equal(found, np.atleast_1d(wanted))


@pytest.mark.parametrize("name", ROUNDED_OPERATIONS)
def test_a_rounded_operation_is_numpys_nearly(name: str, share: Callable[[Any], PrivateTensor]) -> None:
    operation = ROUNDED_OPERATIONS[name]
    found, wanted = operation(share(X), share(Y)).get(), np.atleast_1d(operation(X, Y))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 64 * EXACT


def test_relu_maximum_where_and_joining(share: Callable[[Any], PrivateTensor]) -> None:
    x, y = share(X), share(Y)
    assert np.array_equal(x.relu().get(), np.maximum(X, 0))
    assert np.array_equal(x.maximum(y).get(), np.maximum(X, Y))
    assert np.array_equal(concatenate([x, y], 1).get(), np.concatenate([X, Y], 1))
    assert np.abs((x >= y).where(x, y).get() - np.maximum(X, Y)).max() <= 2 * EXACT


CURVES = ("exp", "log", "sqrt", "reciprocal", "sigmoid", "tanh")


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("span", [(0.25, 2.0), (1.0, 1.5), (0.5, 40.0)])
def test_a_curve_keeps_its_declared_error(
    name: str, span: tuple[float, float], share: Callable[[Any], PrivateTensor]
) -> None:
    low, high = span if name != "exp" else (-span[1] / 8, span[0])
    x = np.concatenate([[low, high], np.random.default_rng(4).uniform(low, high, 200)])
    x = np.rint(x * 2**14) / 2**14
    twin = {
        "reciprocal": lambda x: 1 / x,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    }.get(name, getattr(np, name, None))
    alice, bob, carol = (VirtualWorker(id=word) for word in "abc")
    private = PlainTensor(x, (low, high)).share(alice, bob, crypto_provider=carol)
    error = error_of(name, (low, high))
    assert error < 0.02
    assert np.abs(getattr(private, name)().get() - twin(x)).max() <= error + EXACT


def test_the_domain_of_a_curve_is_checked(share: Callable[[Any], PrivateTensor]) -> None:
    for attempt in (lambda x: x.log(), lambda x: x.sqrt(), lambda x: 1 / x, lambda x: (x * 100).exp()):
        with pytest.raises(RangeCheckError, match=r"its argument was declared.* or clip it first\.$"):
            attempt(share(X))


def test_sorting_top_k_softmax_and_division(share: Callable[[Any], PrivateTensor]) -> None:
    x, y = share(X), share(Y)
    assert np.abs(x.sort(1).get() - np.sort(X, 1)).max() <= 2 * EXACT
    assert np.abs(x.sort(0, descending=True).get() + np.sort(-X, 0)).max() <= 2 * EXACT
    values, places = x.topk(3)
    assert np.abs(values.get() + np.sort(-X, 1)[:, :3]).max() <= 2 * EXACT
    assert np.array_equal(places.get(), np.argsort(-X, 1, kind="stable")[:, :3])
    powers = np.exp(X - X.max(1, keepdims=True))
    assert np.abs(x.softmax(1).get() - powers / powers.sum(1, keepdims=True)).max() < 0.001
    columns = np.exp(X - X.max(0)) / np.exp(X - X.max(0)).sum(0)
    assert np.abs(x.softmax(0).get() - columns).max() < 0.001
    assert np.abs((x / (y + 3)).get() - X / (Y + 3)).max() < 0.01
    assert np.array_equal(x.sign().get(), np.sign(X))
    assert np.array_equal(x.argmin(1).get(), X.argmin(1))


def test_assignment_and_convolution(share: Callable[[Any], PrivateTensor]) -> None:
    x, changed = share(X), X.copy()
    x[1:3, ::2] = 0.5
    changed[1:3, ::2] = 0.5
    x[4] = share(Y)[0]
    changed[4] = Y[0]
    assert np.array_equal(x.get(), changed)
    images, kernel = X.reshape(2, 4, 6, 1), Y[:2, :6].reshape(2, 3, 1, 2)
    windows = np.lib.stride_tricks.sliding_window_view(images[..., 0], (2, 3), (1, 2))[:, ::2, ::2]
    wanted = np.einsum("nhwyx,yxo->nhwo", windows, kernel[:, :, 0])
    assert np.abs(share(images).conv2d(share(kernel), stride=2).get() - wanted).max() < 64 * EXACT


def test_an_explanation_tells_what_would_run(share: Callable[[Any], PrivateTensor]) -> None:
    x = share(X)
    table = ((x * x).argmax(1) == 2).sum().explain()
    names = [row["operation"] for row in table]
    assert names == ["*", "argmax", "argmax", "==", "sum: opened", "all"]
    assert table[-1]["delays"] == 2 + 3 + 3 + 3
    assert table[-1]["online_bytes"] == sum(row["online_bytes"] for row in table[:-1])


def test_what_does_not_fit_is_refused_at_the_door(share: Callable[[Any], PrivateTensor]) -> None:
    x = share(X)
    with pytest.raises(ShapeError, match="do not fit together"):
        x + share(X[:, :3])
    with pytest.raises(ShapeError, match="no axis"):
        x.sum(2)
    with pytest.raises(RangeCheckError, match="'\\*' can give numbers"):
        (x * 1000) * (x * 1000)
    with pytest.raises(RangeCheckError, match="does not hold the elements"):
        PlainTensor(X, range=(0, 1))
    with pytest.raises(InputTypeError, match="neither true nor false"):
        bool(x > 0)
    with pytest.raises(InputTypeError, match="different workers"):
        x + PlainTensor(X).share(*(VirtualWorker(id=name) for name in "abc"))
    with pytest.raises(InputTypeError, match="missing or infinite"):
        PlainTensor([1.0, np.nan])
    for refused in (lambda: x.permit(""), lambda: permitting(x, None, 1.0)):  # type: ignore[arg-type]
        with pytest.raises(InputTypeError, match=r"name is (empty|missing)"):
            refused()
    for attempt, remedy in (
        (lambda: x.topk(9), "Ask for no more than there are"),
        (lambda: x.conv2d(x), "Give images as"),
        (lambda: share(np.zeros((1, 2, 2, 1))).conv2d(share(np.zeros((3, 3, 1, 1)))), "Use a smaller one"),
        (lambda: x @ x, "Give matrices"),
        (lambda: x.reshape(5), "Give sizes with that many elements"),
    ):
        with pytest.raises(ShapeError, match=f"\\. {remedy}"):
            attempt()


def test_all_numbers_that_fit_can_be_shared_without_a_range(share: Callable[[Any], PrivateTensor]) -> None:
    numbers = [5000.0, -8191.5, 0.5]
    assert np.array_equal(share(numbers).get(), numbers)
    with pytest.raises(RangeCheckError, match="reaches 8192"):
        share([8192.0])


def test_printing_opens_nothing(share: Callable[[Any], PrivateTensor]) -> None:
    assert repr(share(X) + 1) == "PrivateTensor(shape=(6, 8), range=(-1, 3))"
