"""Private tensors in other shapes: elements are moved, chosen and replaced, which is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from syfr.face.arguments import count_argument
from syfr.tensors import operations
from syfr.tensors.arithmetic import Arithmetic, as_number
from syfr.tensors.expression import Node

if TYPE_CHECKING:
    from typing_extensions import Self


class Shaping(Arithmetic):
    """Methods that move elements."""

    def reshape(self, *shape: int) -> Self:
        """The same elements in another shape."""
        return self._new(operations.reshape(self._node, shape))

    view = reshape

    def view_as(self, other: Self) -> Self:
        """In the shape of another."""
        return self.reshape(*other.shape)

    def transpose(self, *axes: int) -> Self:
        """The axes in another order, by default reversed."""
        return self._new(operations.transpose(self._node, axes or None))

    t = transpose

    @property
    def T(self) -> Self:  # noqa: N802
        """Transposed."""
        return self.transpose()

    def __getitem__(self, index: Any) -> Self:
        """Elements at public places."""
        places = np.arange(np.prod(self.shape)).reshape(self.shape)[index]
        flat = operations.take(operations.reshape(self._node, [-1]), 0, np.ravel(places).tolist())
        return self._new(operations.reshape(flat, places.shape or (1,)))


    def assigned(self, index: Any, values: object) -> Self:
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

    def conv2d(self, kernel: object, stride: int = 1) -> Self:
        """A convolution of images (rows, height, width, channels) with a private kernel, without padding."""
        step = count_argument(stride, "stride")
        return self._with(kernel, lambda x, weights: operations.conv2d(x, weights, step))
