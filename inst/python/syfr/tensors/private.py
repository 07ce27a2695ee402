"""Private tensors as users hold them: handles on what the workers have, and expressions over them.

Nothing runs and nothing is opened until get(). Names are those of NumPy and of PyTorch's tensors, for both are at home.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from syfr.errors import InputTypeError, RangeCheckError, ShapeError
from syfr.face.arguments import count_argument, seconds_argument
from syfr.face.cluster import TFECluster
from syfr.face.owner import SharedModel, shared_model
from syfr.face.tasks import Steps, Task
from syfr.party.tensors import REVEALS
from syfr.tensors import functions, operations, ordering
from syfr.tensors.explain import explained
from syfr.tensors.expression import LARGEST, PRECISION, Compiled, Node, compile_nodes
from syfr.tensors.models import apply_model
from syfr.tensors.places import Floats, InProcess, Place, Workers
from syfr.trust.identity import Bundle

GET_SECONDS = 60.0


class Opened(np.ndarray[Any, np.dtype[np.float64]]):
    """An opened result: an array of numbers, with the words of PyTorch's tensors besides."""

    def float_precision(self) -> Opened:
        """Itself: it holds real numbers already."""
        return self

    def long(self) -> Opened:
        """Rounded to whole numbers."""
        return np.rint(self).view(Opened)


class PlainTensor:
    """An array that is to be shared.

    Args:
        values: numbers.
        range: the smallest and largest that an element may be, by which room is found in fixed point; it is public.
            By default a little more than the array holds, which then tells about it.
    """

    def __init__(self, values: ArrayLike, range: tuple[float, float] | None = None) -> None:
        array = np.asarray(values, np.float64)
        self.values = array.reshape(1) if array.ndim == 0 else array
        if array.size == 0 or not np.isfinite(array).all():
            raise InputTypeError("A tensor holds numbers, none of them missing or infinite.")
        low, high = (float(end) for end in (range if range is not None else _rounded_range(array)))
        if not (low <= array.min() and array.max() <= high and max(-low, high) < LARGEST):
            raise RangeCheckError(
                f"range = ({low:g}, {high:g}) does not hold the elements, or goes beyond {LARGEST:g}. "
                "Declare the smallest and largest value that an element may have, or scale the array."
            )
        self.range = low, high

    def fix_precision(self, digits: int | None = None) -> PlainTensor:
        """Itself: sharing is in fixed point with 14 binary digits, 4 decimal ones; ``digits`` may be at most that."""
        if digits is not None and count_argument(digits, "digits") > DECIMAL_DIGITS:
            raise InputTypeError(f"digits = {digits}, but fixed point carries {DECIMAL_DIGITS} decimal digits here.")
        return self

    def share(self, *workers: Any, crypto_provider: Any = None, **policy: Any) -> PrivateTensor:
        """Share with a cluster, or with two workers and a crypto provider; see :meth:`sharing`."""
        return self.sharing(*workers, crypto_provider=crypto_provider, **policy).wait()

    def sharing(
        self,
        *workers: Any,
        crypto_provider: Any = None,
        reveal: str = "owner",
        min_rows: int = 1,
        timeout: float = GET_SECONDS,
    ) -> Task[PrivateTensor]:
        """Hand masked values to the workers.

        Args:
            workers: a TFECluster; or two VirtualWorkers, with ``crypto_provider`` the third.
            reveal: "owner": only this session opens what is computed from it. "aggregate": others may open sums over
                all rows, of which there must be ``min_rows``.
        """
        if reveal not in REVEALS:
            raise InputTypeError(f"reveal = '{reveal}' is unknown. Use {' or '.join(REVEALS)}.")
        rows, seconds = count_argument(min_rows, "min_rows"), seconds_argument(timeout)
        place = place_of(workers, crypto_provider)
        return Task(lambda _: self.share_steps(place, time.monotonic() + seconds, reveal, rows))

    def share_steps(
        self, place: Place, deadline: float, reveal: str = "owner", min_rows: int = 1, name: str = "tensor"
    ) -> Steps[PrivateTensor]:
        """The work of :meth:`sharing`."""
        handle = yield from place.share(PRECISION.encode(self.values), reveal, min_rows, deadline)
        node = operations.input_node(name, self.values.shape, self.range)
        _handles[node] = handle
        weakref.finalize(node, place.forget, handle).atexit = False
        return PrivateTensor(node, place)


def tensor(values: ArrayLike, range: tuple[float, float] | None = None) -> PlainTensor:
    """An array that is to be shared; see :class:`PlainTensor`."""
    return PlainTensor(values, range)


DECIMAL_DIGITS = 4
_handles: weakref.WeakKeyDictionary[Node, bytes] = weakref.WeakKeyDictionary()
"""What the workers call the inputs of expressions."""

_places: weakref.WeakKeyDictionary[Any, Place] = weakref.WeakKeyDictionary()
"""The session of tensors with a cluster, or with virtual workers."""


def _rounded_range(array: Floats) -> tuple[float, float]:
    """The next powers of two: they tell little of the array."""
    low, high = float(array.min()), float(array.max())
    return -_power_above(-low) if low < 0 else 0.0, _power_above(high) if high > 0 else 0.0


def _power_above(value: float) -> float:
    return float(2.0 ** np.ceil(np.log2(value)))


class VirtualWorker:
    """A named worker in this process, for trying things out: the real protocol, without sockets and without secrecy."""

    def __init__(self, hook: object = None, id: str = "worker") -> None:
        self.id = id

    def __repr__(self) -> str:
        return f"VirtualWorker('{self.id}')"


def place_of(workers: Sequence[Any], crypto_provider: Any = None) -> Place:
    """The session of tensors that this process has with these workers."""
    everybody = [*workers, *([] if crypto_provider is None else [crypto_provider])]
    if len(everybody) == 1 and isinstance(everybody[0], TFECluster):
        cluster = everybody[0]
        if cluster not in _places:
            _places[cluster] = Workers(cluster.addresses, _bundle(cluster))
        return _places[cluster]
    if len(everybody) == 3 and all(isinstance(worker, VirtualWorker) for worker in everybody):
        if everybody[0] not in _places:
            _places[everybody[0]] = InProcess()
        return _places[everybody[0]]
    raise InputTypeError("Share a tensor with a TFECluster, or with two VirtualWorkers and a third as crypto_provider.")


def _bundle(cluster: TFECluster) -> Bundle:
    """The owner's credentials where this is the owner's session, else the client's."""
    owner = cluster.directory / "owner"
    return Bundle.load(owner if owner.is_dir() else cluster.directory / "client")


class PrivateTensor:
    """A tensor that only the workers together hold. Operations on it make others; :meth:`get` opens one."""

    def __init__(self, node: Node, place: Place) -> None:
        self._node, self._place = node, place

    def __repr__(self) -> str:
        low, high = self._node.range
        return f"PrivateTensor(shape={self.shape}, range=({low:g}, {high:g}))"

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape; a single number has the shape (1,)."""
        return self._node.shape

    @property
    def range(self) -> tuple[float, float]:
        """No element is smaller or larger."""
        return self._node.range

    def dim(self) -> int:
        """Axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __bool__(self) -> bool:
        raise InputTypeError("A private tensor is neither true nor false. Compare on shares, and open with get().")

    def fix_precision(self, digits: int | None = None) -> PrivateTensor:
        """Itself."""
        return self

    def copy(self) -> PrivateTensor:
        """The same tensor under another name."""
        return self._new(self._node)

    # ---- opening ----

    def get(self, timeout: float = GET_SECONDS) -> Opened:
        """Open it; see :meth:`getting`."""
        return self.getting(timeout).wait()

    def getting(self, timeout: float = GET_SECONDS) -> Task[Opened]:
        """Run the expression at the workers and open its value, and no other.

        Raises:
            RefusedError: somebody whose data it is made of has not agreed.
        """
        seconds = seconds_argument(timeout)
        return Task(lambda _: self.get_steps(time.monotonic() + seconds))

    def get_steps(self, deadline: float) -> Steps[Opened]:
        """The work of :meth:`getting`."""
        compiled = self.compiled()
        handles = [_handles[node] for node in compiled.inputs]
        flat = yield from self._place.compute(compiled, handles, deadline)
        return flat.reshape(self.shape).view(Opened)

    def compiled(self) -> Compiled:
        """The public description of what would run."""
        return compile_nodes([self._node])

    def explain(self) -> list[dict[str, Any]]:
        """What would run, before anything does: a row for each step, and the last one for all together.

        Columns: "operation", "shape", "delays", "online_bytes", "preprocessing_bytes". Steps that do not wait for each
        other share their delays, so that the last row has fewer than the sum.
        """
        return explained(self.compiled().program)

    def permit(self, name: str, timeout: float = GET_SECONDS) -> None:
        """Let the party of that name open what it computes from this tensor, which must be one that was shared."""
        handle = _handles.get(self._node)
        if handle is None:
            raise InputTypeError("Only a tensor that was shared can be permitted, not what is computed from it.")
        deadline = time.monotonic() + seconds_argument(timeout)
        Task(lambda _: self._place.permit(handle, name, deadline)).wait()

    # ---- operations ----

    def _new(self, node: Node) -> PrivateTensor:
        return PrivateTensor(node, self._place)

    def _with(self, other: object, operation: Callable[[Node, Node], Node]) -> PrivateTensor:
        return self._new(operation(self._node, self._as_node(other)))

    def _as_node(self, other: object) -> Node:
        """Another private tensor here, or a public array, which is shared."""
        if isinstance(other, PrivateTensor):
            if other._place is not self._place:
                raise InputTypeError("These tensors are shared with different workers. Share both with the same.")
            return other._node
        plain = PlainTensor(other)  # type: ignore[arg-type]
        deadline = time.monotonic() + GET_SECONDS
        return Task(lambda _: plain.share_steps(self._place, deadline, name="public")).wait()._node

    def __add__(self, other: object) -> PrivateTensor:
        number = as_number(other)
        if number is not None:
            return self._new(operations.shift(self._node, number))
        return self._with(other, operations.add)

    __radd__ = __add__

    def __neg__(self) -> PrivateTensor:
        return self._new(operations.weighted("-", (self._node,), (-1,)))

    def __sub__(self, other: object) -> PrivateTensor:
        number = as_number(other)
        return self + -number if number is not None else self._with(other, operations.subtract)

    def __rsub__(self, other: object) -> PrivateTensor:
        return -self + other

    def __mul__(self, other: object) -> PrivateTensor:
        number = as_number(other)
        if number is not None:
            return self._new(operations.scale(self._node, number))
        return self._with(other, operations.multiply)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> PrivateTensor:
        number = as_number(other)
        if number == 0:
            raise InputTypeError("A private tensor cannot be divided by zero.")
        if number is not None:
            return self * (1.0 / number)
        return self * self._new(self._as_node(other)).reciprocal()

    def __rtruediv__(self, other: object) -> PrivateTensor:
        return self.reciprocal() * other

    def __matmul__(self, other: object) -> PrivateTensor:
        return self._with(other, operations.matmul)

    def __pow__(self, power: int) -> PrivateTensor:
        if type(power) is not int or power < 1:
            raise InputTypeError("A private tensor can be raised to whole powers from 1.")
        found = self
        for _ in range(power - 1):
            found = found * self
        return found

    def __ge__(self, other: object) -> PrivateTensor:
        return self._new(operations.not_negative((self - other)._node))

    def __le__(self, other: object) -> PrivateTensor:
        return self._new(operations.not_negative((-(self - other))._node))

    def __lt__(self, other: object) -> PrivateTensor:
        return self._new(operations.opposite((self >= other)._node))

    def __gt__(self, other: object) -> PrivateTensor:
        return self._new(operations.opposite((self <= other)._node))

    def __eq__(self, other: object) -> PrivateTensor:  # type: ignore[override]
        return self._new(operations.equal(self._node, self._filled(other)))

    def __ne__(self, other: object) -> PrivateTensor:  # type: ignore[override]
        return self._new(operations.opposite((self == other)._node))

    __hash__ = None  # type: ignore[assignment]

    eq, ne, ge, gt, le, lt = __eq__, __ne__, __ge__, __gt__, __le__, __lt__

    def _filled(self, other: object) -> Node:
        """Another tensor, or a public number as one: the difference from it, that is."""
        number = as_number(other)
        return self._as_node(other) if number is None else operations.shift(self._zero(), number)

    def _zero(self) -> Node:
        return operations.weighted("0", (self._node,), (0,))

    def sum(self, axis: int | None = None, dim: int | None = None) -> PrivateTensor:
        """The sum over an axis, or of all elements."""
        return self._reduced(operations.total, axis, dim)

    def mean(self, axis: int | None = None, dim: int | None = None) -> PrivateTensor:
        """The mean over an axis, or of all elements."""
        total = self.sum(axis, dim)
        return total / (np.prod(self.shape) / np.prod(total.shape))

    def argmax(self, axis: int | None = None, dim: int | None = None) -> PrivateTensor:
        """The place of the largest element along an axis, from 0, or in the flat tensor."""
        return self._reduced(operations.argmax, axis, dim)

    def max(self, axis: int | None = None, dim: int | None = None) -> PrivateTensor:
        """The largest element along an axis, or of all."""
        return self._reduced(operations.largest, axis, dim)

    def min(self, axis: int | None = None, dim: int | None = None) -> PrivateTensor:
        """The smallest element along an axis, or of all."""
        return -(-self).max(axis, dim)

    def _reduced(self, operation: Callable[[Node, int], Node], axis: int | None, dim: int | None) -> PrivateTensor:
        chosen = axis if axis is not None else dim
        if chosen is None:
            return self._new(operation(operations.reshape(self._node, [-1]), 0))
        if not -self.dim() <= chosen < self.dim():
            raise ShapeError(f"There is no axis {chosen} in a tensor of shape {self.shape}.")
        return self._new(operation(self._node, chosen))

    def argmin(self, axis: int | None = None, dim: int | None = None) -> PrivateTensor:
        """The place of the smallest element along an axis, from 0, or in the flat tensor."""
        return (-self).argmax(axis, dim)

    def sort(self, axis: int = -1, descending: bool = False) -> PrivateTensor:
        """The elements along an axis in order; up to 256 of them."""
        return self._along(axis, lambda node: ordering.ordered(node, node.shape[-1], descending))

    def topk(self, k: int, axis: int = -1) -> tuple[PrivateTensor, PrivateTensor]:
        """The k largest along an axis, and their places from 0."""
        count = count_argument(k, "k")
        values = self._along(axis, lambda node: ordering.ordered(node, count, True))
        return values, self._along(axis, lambda node: ordering.places(node, count, True))

    def _along(self, axis: int, operation: Callable[[Node], Node]) -> PrivateTensor:
        """An operation on the last axis, on another one."""
        if not -self.dim() <= axis < self.dim():
            raise ShapeError(f"There is no axis {axis} in a tensor of shape {self.shape}.")
        order = list(range(self.dim()))
        order[axis % self.dim()], order[-1] = order[-1], order[axis % self.dim()]
        found = operation(operations.transpose(self._node, order))
        return self._new(operations.transpose(found, order))

    def _curve(self, name: str) -> PrivateTensor:
        return self._new(functions.function(name, self._node))

    def exp(self) -> PrivateTensor:
        """e^x, for the declared range of x."""
        return self._curve("exp")

    def log(self) -> PrivateTensor:
        """The natural logarithm, for the declared range of x, which must be positive."""
        return self._curve("log")

    def sqrt(self) -> PrivateTensor:
        """The square root, for the declared range of x."""
        return self._curve("sqrt")

    def reciprocal(self) -> PrivateTensor:
        """1 / x, for the declared range of x, which must not hold 0."""
        return -(-self).reciprocal() if self.range[1] < 0 else self._curve("reciprocal")

    def sigmoid(self) -> PrivateTensor:
        """1 / (1 + e^-x), to 0.005."""
        return self._curve("sigmoid")

    def tanh(self) -> PrivateTensor:
        """The hyperbolic tangent, to 0.005."""
        return self._curve("tanh")

    def softmax(self, axis: int = -1, dim: int | None = None) -> PrivateTensor:
        """e^x over the sum of e^x along an axis, to 0.02."""
        chosen = axis if dim is None else dim
        kept = [1 if place == chosen % self.dim() else size for place, size in enumerate(self.shape)]
        low, high = self.range
        powers = (self - self.max(chosen).reshape(*kept))._limited(low - high, 0.0).exp()._limited(0.0, 1.0)
        total = powers.sum(chosen).reshape(*kept)._limited(0.98, float(self.shape[chosen]))
        return powers * total.reciprocal()

    def _limited(self, low: float, high: float) -> PrivateTensor:
        """The same numbers, of which more is known than their operations tell."""
        node = self._node
        span = max(low, node.range[0]), min(high, node.range[1])
        return self._new(Node(node.name, node.sources, node.shape, span, node.make))

    def sign(self) -> PrivateTensor:
        """-1, 0 or 1."""
        return (self > 0) - (self < 0)

    def relu(self) -> PrivateTensor:
        """max(0, x)."""
        return self._new(operations.relu(self._node))

    def abs(self) -> PrivateTensor:
        """|x|."""
        return self._new(operations.absolute(self._node))

    __abs__ = abs

    def maximum(self, other: object) -> PrivateTensor:
        """The larger of two, element by element."""
        return self._new(operations.maximum(self._node, self._filled(other)))

    def where(self, yes: object, no: object) -> PrivateTensor:
        """``yes`` where this is 1 and ``no`` where it is 0."""
        chosen = self._new(self._filled(yes)) - self._new(self._filled(no))
        return self * chosen + no

    # ---- shapes ----

    def reshape(self, *shape: int) -> PrivateTensor:
        """The same elements in another shape."""
        return self._new(operations.reshape(self._node, shape))

    view = reshape

    def view_as(self, other: PrivateTensor) -> PrivateTensor:
        """In the shape of another."""
        return self.reshape(*other.shape)

    def transpose(self, *axes: int) -> PrivateTensor:
        """The axes in another order, by default reversed."""
        return self._new(operations.transpose(self._node, axes or None))

    t = transpose

    @property
    def T(self) -> PrivateTensor:  # noqa: N802
        """Transposed."""
        return self.transpose()

    def __getitem__(self, index: Any) -> PrivateTensor:
        """Elements at public places."""
        places = np.arange(np.prod(self.shape)).reshape(self.shape)[index]
        flat = operations.take(operations.reshape(self._node, [-1]), 0, np.ravel(places).tolist())
        return self._new(operations.reshape(flat, places.shape or (1,)))


    def assigned(self, index: Any, values: object) -> PrivateTensor:
        """A copy in which the elements at public places are others, repeated as NumPy does."""
        places = np.arange(np.prod(self.shape)).reshape(self.shape)
        there = places[index]
        new = operations.broadcast(self._filled_as(values, there.shape or (1,)), there.shape or (1,))
        places[index] = len(places.reshape(-1)) + np.arange(there.size).reshape(there.shape)
        flat = [operations.reshape(node, [-1]) for node in (self._node, new)]
        taken = operations.take(operations.concatenate(flat, 0), 0, places.reshape(-1).tolist())
        return self._new(operations.reshape(taken, self.shape))

    def _filled_as(self, other: object, shape: tuple[int, ...]) -> Node:
        number = as_number(other)
        if number is None:
            return self._as_node(other)
        first = operations.broadcast(self[(0,) * self.dim()]._node, shape)
        return operations.shift(operations.weighted("0", (first,), (0,)), number)

    def __setitem__(self, index: Any, values: object) -> None:
        self._node = self.assigned(index, values)._node

    def conv2d(self, kernel: object, stride: int = 1) -> PrivateTensor:
        """A convolution of images (rows, height, width, channels) with a private kernel, without padding."""
        step = count_argument(stride, "stride")
        return self._with(kernel, lambda x, weights: operations.conv2d(x, weights, step))


def concatenate(tensors: Sequence[PrivateTensor], axis: int = 0) -> PrivateTensor:
    """Tensors one after the other along an axis."""
    nodes = [tensors[0]._as_node(tensor) for tensor in tensors]
    return tensors[0]._new(operations.concatenate(nodes, axis))


def predict(model: object, x: PrivateTensor) -> PrivateTensor:
    """What a shared model gives for every row of a private tensor, before its softmax or sigmoid."""
    shared = model if isinstance(model, SharedModel) else shared_model(model)
    return x._new(apply_model(shared.program, shared.number, x._node))


def as_number(value: object) -> float | None:
    """A public number, if it is one."""
    array = np.asarray(value) if isinstance(value, (bool, int, float, np.number, np.ndarray)) else None
    return float(array) if array is not None and array.ndim == 0 and np.isfinite(array) else None
