"""Arithmetic and comparisons on private tensors, under Python's operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from syfr.errors import InputTypeError
from syfr.tensors import operations
from syfr.tensors.expression import Node
from syfr.tensors.places import Place

if TYPE_CHECKING:
    from typing_extensions import Self


class Arithmetic:
    """What private tensors have in common: a node of an expression, and where its inputs live."""

    def __init__(self, node: Node, place: Place) -> None:
        self._node, self._place = node, place

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

    def reciprocal(self) -> Self:
        """1 / x; see :class:`syfr.tensors.summaries.Summaries`."""
        raise NotImplementedError

    def _public(self, values: Any) -> Node:
        """A public array, shared as a private one."""
        raise NotImplementedError

    def _new(self, node: Node) -> Self:
        return type(self)(node, self._place)

    def _with(self, other: object, operation: Callable[[Node, Node], Node]) -> Self:
        return self._new(operation(self._node, self._as_node(other)))

    def _as_node(self, other: object) -> Node:
        """Another private tensor here, or a public array, which is shared."""
        if not isinstance(other, Arithmetic):
            return self._public(other)
        if other._place is not self._place:
            raise InputTypeError("These tensors are shared with different workers. Share both with the same.")
        return other._node

    def __add__(self, other: object) -> Self:
        number = as_number(other)
        if number is not None:
            return self._new(operations.shift(self._node, number))
        return self._with(other, operations.add)

    __radd__ = __add__

    def __neg__(self) -> Self:
        return self._new(operations.weighted("-", (self._node,), (-1,)))

    def __sub__(self, other: object) -> Self:
        number = as_number(other)
        return self + -number if number is not None else self._with(other, operations.subtract)

    def __rsub__(self, other: object) -> Self:
        return -self + other

    def __mul__(self, other: object) -> Self:
        number = as_number(other)
        if number is not None:
            return self._new(operations.scale(self._node, number))
        return self._with(other, operations.multiply)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Self:
        number = as_number(other)
        if number == 0:
            raise InputTypeError("A private tensor cannot be divided by zero.")
        if number is not None:
            return self * (1.0 / number)
        return self * self._new(self._as_node(other)).reciprocal()

    def __rtruediv__(self, other: object) -> Self:
        return self.reciprocal() * other

    def __matmul__(self, other: object) -> Self:
        return self._with(other, operations.matmul)

    def __pow__(self, power: int) -> Self:
        if type(power) is not int or power < 1:
            raise InputTypeError("A private tensor can be raised to whole powers from 1.")
        found = self
        for _ in range(power - 1):
            found = found * self
        return found

    def __ge__(self, other: object) -> Self:
        return self._new(operations.not_negative((self - other)._node))

    def __le__(self, other: object) -> Self:
        return self._new(operations.not_negative((-(self - other))._node))

    def __lt__(self, other: object) -> Self:
        return self._new(operations.opposite((self >= other)._node))

    def __gt__(self, other: object) -> Self:
        return self._new(operations.opposite((self <= other)._node))

    def __eq__(self, other: object) -> Self:  # type: ignore[override]
        return self._new(operations.equal(self._node, self._filled(other)))

    def __ne__(self, other: object) -> Self:  # type: ignore[override]
        return self._new(operations.opposite((self == other)._node))

    __hash__ = None  # type: ignore[assignment]

    eq, ne, ge, gt, le, lt = __eq__, __ne__, __ge__, __gt__, __le__, __lt__

    def _filled(self, other: object) -> Node:
        """Another tensor, or a public number as one: the difference from it, that is."""
        number = as_number(other)
        return self._as_node(other) if number is None else operations.shift(self._zero(), number)

    def _zero(self) -> Node:
        return operations.weighted("0", (self._node,), (0,))


def as_number(value: object) -> float | None:
    """A public number, if it is one."""
    array = np.asarray(value) if isinstance(value, (bool, int, float, np.number, np.ndarray)) else None
    return float(array) if array is not None and array.ndim == 0 and np.isfinite(array) else None
