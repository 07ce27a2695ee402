"""What R calls for private tensors: operations with R's meaning, in terms of NumPy's.

Elements of an R array run down its columns, and a vector is used again as often as fits. R counts axes and places from
1; what crosses here counts from 0. Nothing here waits: what takes long is a Task.
"""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syfr.errors import InputTypeError, ShapeError
from syfr.face.arguments import count_argument, seconds_argument
from syfr.face.owner import SharedModel
from syfr.face.tasks import Emit, Steps, Task
from syfr.tensors import operations, private
from syfr.tensors.evaluate import evaluating
from syfr.tensors.expression import compile_nodes
from syfr.tensors.private import GET_SECONDS, PlainTensor, PrivateTensor, _handles, concatenate

Floats = NDArray[np.float64]
Operand = PrivateTensor | float

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "%*%": operator.matmul,
}


def sharing(
    values: Floats, range: Sequence[float] | None, cluster: object, reveal: str, min_rows: float, timeout: float
) -> Task[PrivateTensor]:
    """Share an array with a cluster; no range, or an empty one, stands for one around what it holds."""
    plain = PlainTensor(values, (range[0], range[1]) if range else None)
    return plain.sharing(cluster, reveal=reveal, min_rows=count_argument(min_rows, "min_rows"), timeout=timeout)


def getting(tensors: Sequence[PrivateTensor], timeout: float = GET_SECONDS) -> Task[list[Floats]]:
    """Open several tensors in one run, which shares delays and preprocessing."""
    seconds, place = seconds_argument(timeout), tensors[0]._place
    if any(tensor._place is not place for tensor in tensors):
        raise InputTypeError("These tensors are shared with different workers. Open them one by one.")

    def work(_: Emit) -> Steps[list[Floats]]:
        compiled = compile_nodes([tensor._node for tensor in tensors])
        handles = [_handles[node] for node in compiled.inputs]
        flat = yield from place.compute(compiled, handles, time.monotonic() + seconds)
        ends = np.cumsum([math.prod(tensor.shape) for tensor in tensors])[:-1]
        parts = zip(np.split(flat, ends), tensors, strict=True)
        return [part.reshape(tensor.shape) for part, tensor in parts]

    return Task(work)


def score(
    model: SharedModel, x: Floats, y: Floats, metrics: Sequence[str], batch: float, timeout: float
) -> Task[dict[str, Any]]:
    """How good a model is; the axes of length 1 at the end of the rows may be missing."""
    rows = np.asarray(x, np.float64)
    rows = rows.reshape(*rows.shape, *_missing_axes(model, rows.ndim))
    size = count_argument(batch, "batch")
    return evaluating(model, rows, y, metrics=list(metrics), batch=size, timeout=timeout)


def permitting(x: PrivateTensor, name: str, timeout: float) -> Task[None]:
    """Let somebody else open what is computed from a tensor that was shared."""
    return x.permitting(name, timeout)


# ---- elements ----


def binary(name: str, x: Operand, y: Operand) -> PrivateTensor:
    """An operator between tensors that fit, or a tensor and a number."""
    found: PrivateTensor = OPERATORS[name](x, y)
    return found


def power(x: PrivateTensor, exponent: float) -> PrivateTensor:
    """x^exponent, which comes as a float from R."""
    if not float(exponent).is_integer():
        raise InputTypeError("A private tensor can be raised to whole powers from 1. Use sqrt() for a root.")
    return x ** int(exponent)


def unary(name: str, x: PrivateTensor) -> PrivateTensor:
    """A method without arguments."""
    found: PrivateTensor = getattr(x, name)()
    return found


def both(x: Operand, y: Operand) -> PrivateTensor:
    """1 where both are 1; exact, of numbers that are 0 or 1."""
    return binary(">=", binary("+", x, y), 1.5)


def either(x: Operand, y: Operand) -> PrivateTensor:
    """1 where one of them is 1."""
    return binary(">=", binary("+", x, y), 0.5)


def predict(model: SharedModel, x: PrivateTensor) -> PrivateTensor:
    """A model's outputs, before its head; the axes of length 1 at the end of the rows may be missing."""
    return private.predict(model, x.reshape(*x.shape, *_missing_axes(model, x.dim())))


def _missing_axes(model: SharedModel, axes: int) -> list[int]:
    """The sizes of the axes that R has dropped from an array of inputs."""
    wanted = model.program.input_shape
    missing = 1 + len(wanted) - axes
    return [1] * missing if missing > 0 and all(size == 1 for size in wanted[-missing:]) else []


def where(test: PrivateTensor, yes: Operand, no: Operand) -> PrivateTensor:
    """``yes`` where test is 1 and ``no`` where it is 0."""
    return test * binary("-", yes, no) + no if isinstance(yes, PrivateTensor) else test * (yes - no) + no


def maximum(x: Operand, y: Operand) -> PrivateTensor:
    """The larger of two, of which one may be a number."""
    if isinstance(x, PrivateTensor):
        return x.maximum(y)
    if isinstance(y, PrivateTensor):
        return y.maximum(x)
    raise InputTypeError("Neither of the two is a private tensor. Share one first.")


# ---- axes ----


def along(name: str, x: PrivateTensor, axis: float | None) -> PrivateTensor:
    """A method over an axis, or over all elements in R's order."""
    over: Callable[..., PrivateTensor] = getattr(x if axis is not None else reshaped(x, [-1]), name)
    return over(axis=0 if axis is None else int(axis))


def summed(x: PrivateTensor, kept: float, last: bool, mean: bool) -> PrivateTensor:
    """rowSums() and its relatives: the first ``kept`` axes stay, or (``last``) all others do."""
    split = int(kept)
    rows, columns = math.prod(x.shape[:split]), math.prod(x.shape[split:])
    flat = x.reshape(rows, columns)
    over = flat.mean if mean else flat.sum
    return over(axis=0).reshape(*x.shape[split:]) if last else over(axis=1).reshape(*x.shape[:split])


def ordered(x: PrivateTensor, axis: float, decreasing: bool) -> PrivateTensor:
    """The elements along an axis in order."""
    return x.sort(int(axis), descending=decreasing)


def largest(x: PrivateTensor, k: float, axis: float) -> list[PrivateTensor]:
    """The k largest along an axis, and their places from 1."""
    values, places = x.topk(count_argument(k, "k"), int(axis))
    return [values, places + 1.0]


def convolved(x: PrivateTensor, kernel: PrivateTensor, stride: float) -> PrivateTensor:
    """Two-dimensional convolution of images."""
    return x.conv2d(kernel, stride=count_argument(stride, "stride"))


# ---- shapes ----


def _turned(x: PrivateTensor) -> PrivateTensor:
    return x if x.dim() == 1 else x.transpose()


def reshaped(x: PrivateTensor, sizes: Sequence[float]) -> PrivateTensor:
    """The same elements, taken down the columns, in another shape."""
    shape = [int(size) for size in sizes]
    if -1 not in shape and [size for size in shape if size != 1] == [size for size in x.shape if size != 1]:
        return x.reshape(*shape)
    return _turned(_turned(x).reshape(*reversed(shape)))


def recycled(x: PrivateTensor, sizes: Sequence[float]) -> PrivateTensor:
    """A vector, used again and again down the columns of an array; axes along which it repeats may be left as 1."""
    shape = [int(size) for size in sizes]
    length, total = x.shape[0], math.prod(shape)
    for place in range(len(shape) + 1):
        if math.prod(shape[:place]) == length:
            return reshaped(x, [*shape[:place], *[1] * (len(shape) - place)])
    if total % length:
        raise ShapeError(f"A vector of length {length} does not fit an array of {total} elements. Give one that fits.")
    return reshaped(x[np.tile(np.arange(length), total // length)], shape)


def axes(x: PrivateTensor, order: Sequence[float]) -> PrivateTensor:
    """The axes in another order."""
    return x.transpose(*(int(axis) for axis in order))


def joined(tensors: Sequence[PrivateTensor], axis: float) -> PrivateTensor:
    """Tensors one after the other along an axis."""
    return concatenate(list(tensors), int(axis))


def select(x: PrivateTensor, indices: Sequence[Sequence[float] | None]) -> PrivateTensor:
    """Elements at places of each axis; None for all of one."""
    node = x._node
    for axis, places in enumerate(indices):
        if places is not None:
            node = operations.take(node, axis, [int(place) for place in places])
    return x._new(node)


def pick(x: PrivateTensor, places: Floats) -> PrivateTensor:
    """Elements at places of the flat tensor, in the shape of ``places``."""
    return x.reshape(-1)[np.asarray(places).astype(np.int64).reshape(-1)].reshape(*np.shape(places))


def replaced(x: PrivateTensor, values: Operand, places: Floats) -> PrivateTensor:
    """A tensor in which ``places`` says for each element where it comes from: x and then values, both flat."""
    flat = x.reshape(-1)
    added = values.reshape(-1) if isinstance(values, PrivateTensor) else flat[:1] * 0.0 + values
    return pick(concatenate([flat, added]), places)
