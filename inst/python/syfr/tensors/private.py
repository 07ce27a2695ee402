"""Private tensors as users hold them: handles on what the workers have, and expressions over them.

Nothing runs and nothing is opened until get(). Names are those of NumPy and of PyTorch's tensors, for both are at home.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from syfr.errors import InputTypeError, RangeCheckError
from syfr.face.arguments import count_argument, seconds_argument, text_argument
from syfr.face.owner import SharedModel, shared_model
from syfr.face.tasks import Steps, Task
from syfr.party.tensors import REVEALS
from syfr.tensors import operations
from syfr.tensors.explain import explained
from syfr.tensors.expression import LARGEST, ONE, PRECISION, Compiled, Node, compile_nodes
from syfr.tensors.models import apply_model
from syfr.tensors.parties import VirtualWorker, place_of
from syfr.tensors.places import Floats, Place
from syfr.tensors.summaries import Summaries

__all__ = ["Opened", "PlainTensor", "PrivateTensor", "VirtualWorker", "concatenate", "place_of", "predict", "tensor"]

GET_SECONDS = 60.0


class Opened(np.ndarray[Any, np.dtype[np.float64]]):
    """An opened result: an array of numbers, with the words of PyTorch's tensors besides."""

    def float_precision(self) -> Opened:
        """Itself: it holds real numbers already."""
        return self

    def long(self) -> NDArray[np.int64]:
        """Whole numbers, rounded."""
        return np.rint(self).astype(np.int64).view(np.ndarray)


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
                f"The range from {low:g} to {high:g} does not hold the elements, or reaches {LARGEST:g}. "
                "Declare the smallest and largest value that an element may have, or scale the array."
            )
        self.range = low, high

    def fix_precision(self, digits: int | None = None) -> PlainTensor:
        """Itself: sharing is in fixed point with 14 binary digits, 4 decimal ones; ``digits`` may be at most that."""
        if digits is not None and count_argument(digits, "digits") > DECIMAL_DIGITS:
            raise InputTypeError(f"digits is {digits}; fixed point carries {DECIMAL_DIGITS} here. Give at most that.")
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

def _rounded_range(array: Floats) -> tuple[float, float]:
    """The next powers of two, which tell little of the array; the largest number that fits where they do not."""
    low, high = float(array.min()), float(array.max())
    return -_power_above(-low) if low < 0 else 0.0, _power_above(high) if high > 0 else 0.0


def _power_above(value: float) -> float:
    found = float(2.0 ** np.ceil(np.log2(value)))
    return LARGEST - 1 / ONE if value <= LARGEST - 1 / ONE < found else found


class PrivateTensor(Summaries):
    """A tensor that only the workers together hold. Operations on it make others; :meth:`get` opens one."""

    def __repr__(self) -> str:
        low, high = self._node.range
        return f"PrivateTensor(shape={self.shape}, range=({low:g}, {high:g}))"

    def _public(self, values: Any) -> Node:
        deadline = time.monotonic() + GET_SECONDS
        return Task(lambda _: PlainTensor(values).share_steps(self._place, deadline, name="public")).wait()._node

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
        self.permitting(name, timeout).wait()

    def permitting(self, name: str, timeout: float = GET_SECONDS) -> Task[None]:
        """The same as a task."""
        handle = _handles.get(self._node)
        if handle is None:
            raise InputTypeError("What was computed cannot be permitted. Permit a tensor that was shared.")
        party, seconds = text_argument(name, "name"), seconds_argument(timeout)
        return Task(lambda _: self._place.permit(handle, party, time.monotonic() + seconds))

def concatenate(tensors: Sequence[PrivateTensor], axis: int = 0) -> PrivateTensor:
    """Tensors one after the other along an axis."""
    nodes = [tensors[0]._as_node(tensor) for tensor in tensors]
    return tensors[0]._new(operations.concatenate(nodes, axis))


def predict(model: object, x: PrivateTensor) -> PrivateTensor:
    """What a shared model gives for every row of a private tensor, before its softmax or sigmoid."""
    shared = model if isinstance(model, SharedModel) else shared_model(model)
    return x._new(apply_model(shared.program, shared.number, x._node))


