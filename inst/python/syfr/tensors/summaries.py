"""Sums, extremes, order and functions of private tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from syfr.errors import ShapeError
from syfr.face.arguments import count_argument
from syfr.tensors import functions, operations, ordering
from syfr.tensors.expression import Node
from syfr.tensors.shapes import Shaping

if TYPE_CHECKING:
    from typing_extensions import Self


class Summaries(Shaping):
    """Methods that reduce an axis, order it, or change each element alike."""

    def sum(self, axis: int | None = None, dim: int | None = None) -> Self:
        """The sum over an axis, or of all elements."""
        return self._reduced(operations.total, axis, dim)

    def mean(self, axis: int | None = None, dim: int | None = None) -> Self:
        """The mean over an axis, or of all elements."""
        total = self.sum(axis, dim)
        return total / (np.prod(self.shape) / np.prod(total.shape))

    def argmax(self, axis: int | None = None, dim: int | None = None) -> Self:
        """The place of the largest element along an axis, from 0, or in the flat tensor."""
        return self._reduced(operations.argmax, axis, dim)

    def max(self, axis: int | None = None, dim: int | None = None) -> Self:
        """The largest element along an axis, or of all."""
        return self._reduced(operations.largest, axis, dim)

    def min(self, axis: int | None = None, dim: int | None = None) -> Self:
        """The smallest element along an axis, or of all."""
        return -(-self).max(axis, dim)

    def _reduced(self, operation: Callable[[Node, int], Node], axis: int | None, dim: int | None) -> Self:
        chosen = axis if axis is not None else dim
        if chosen is None:
            return self._new(operation(operations.reshape(self._node, [-1]), 0))
        if not -self.dim() <= chosen < self.dim():
            raise ShapeError(f"There is no axis {chosen} in a tensor of shape {self.shape}. Choose one it has.")
        return self._new(operation(self._node, chosen))

    def argmin(self, axis: int | None = None, dim: int | None = None) -> Self:
        """The place of the smallest element along an axis, from 0, or in the flat tensor."""
        return (-self).argmax(axis, dim)

    def sort(self, axis: int = -1, descending: bool = False) -> Self:
        """The elements along an axis in order; up to 256 of them."""
        return self._along(axis, lambda node: ordering.ordered(node, node.shape[-1], descending))

    def topk(self, k: int, axis: int = -1) -> tuple[Self, Self]:
        """The k largest along an axis, and their places from 0."""
        count = count_argument(k, "k")
        values = self._along(axis, lambda node: ordering.ordered(node, count, True))
        return values, self._along(axis, lambda node: ordering.places(node, count, True))

    def _along(self, axis: int, operation: Callable[[Node], Node]) -> Self:
        """An operation on the last axis, on another one."""
        if not -self.dim() <= axis < self.dim():
            raise ShapeError(f"There is no axis {axis} in a tensor of shape {self.shape}. Choose one it has.")
        order = list(range(self.dim()))
        order[axis % self.dim()], order[-1] = order[-1], order[axis % self.dim()]
        found = operation(operations.transpose(self._node, order))
        return self._new(operations.transpose(found, order))

    def _curve(self, name: str) -> Self:
        return self._new(functions.function(name, self._node))

    def exp(self) -> Self:
        """e^x, for the declared range of x."""
        return self._curve("exp")

    def log(self) -> Self:
        """The natural logarithm, for the declared range of x, which must be positive."""
        return self._curve("log")

    def sqrt(self) -> Self:
        """The square root, for the declared range of x."""
        return self._curve("sqrt")

    def reciprocal(self) -> Self:
        """1 / x, for the declared range of x, which must not hold 0."""
        return -(-self).reciprocal() if self.range[1] < 0 else self._curve("reciprocal")

    def sigmoid(self) -> Self:
        """1 / (1 + e^-x), to 0.005."""
        return self._curve("sigmoid")

    def tanh(self) -> Self:
        """The hyperbolic tangent, to 0.005."""
        return self._curve("tanh")

    def softmax(self, axis: int = -1, dim: int | None = None) -> Self:
        """e^x over the sum of e^x along an axis, to 0.001."""
        return self._along(axis if dim is None else dim, functions.softmax)

    def sign(self) -> Self:
        """-1, 0 or 1."""
        return (self > 0) - (self < 0)

    def relu(self) -> Self:
        """max(0, x)."""
        return self._new(operations.relu(self._node))

    def abs(self) -> Self:
        """|x|."""
        return self._new(operations.absolute(self._node))

    __abs__ = abs

    def maximum(self, other: object) -> Self:
        """The larger of two, element by element."""
        return self._new(operations.maximum(self._node, self._filled(other)))

    def where(self, yes: object, no: object) -> Self:
        """``yes`` where this is 1 and ``no`` where it is 0."""
        chosen = self._new(self._filled(yes)) - self._new(self._filled(no))
        return self * chosen + no
