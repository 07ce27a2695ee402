"""Operations that move elements to other places and change none; and the maximum of windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from syfr.steps import Geometry, Shape


@dataclass(frozen=True)
class NewShape:
    """The same numbers in the same order, in another shape."""

    layer: str
    shape: Shape

    def output_shape(self, shape: Shape) -> Shape:
        """The new shape."""
        return self.shape


@dataclass(frozen=True)
class Order:
    """The axes of a row in another order."""

    layer: str
    axes: tuple[int, ...]

    def output_shape(self, shape: Shape) -> Shape:
        """The sizes in the new order."""
        return tuple(shape[axis] for axis in self.axes)

    @property
    def inverse(self) -> Order:
        """What undoes it."""
        return Order(self.layer, tuple(sorted(range(len(self.axes)), key=self.axes.__getitem__)))

    def then(self, other: Order) -> Order:
        """This and then the other as one."""
        return Order(self.layer, tuple(self.axes[axis] for axis in other.axes))


@dataclass(frozen=True)
class Places:
    """Along one axis the elements at some places, any number of times; -1 is a zero."""

    layer: str
    axis: int
    indices: tuple[int, ...]

    def output_shape(self, shape: Shape) -> Shape:
        """As many places along the axis as are named."""
        return (*shape[: self.axis], len(self.indices), *shape[self.axis + 1 :])


@dataclass(frozen=True)
class Join:
    """Values one after the other along an axis."""

    layer: str
    axis: int

    def output_shape(self, shape: Shape, *others: Shape) -> Shape:
        """The sizes along the axis added up."""
        total = shape[self.axis] + sum(other[self.axis] for other in others)
        return (*shape[: self.axis], total, *shape[self.axis + 1 :])


@dataclass(frozen=True)
class MaxPool:
    """The largest element of every window of an image, channels last; what lies beside the image does not count."""

    layer: str
    size: tuple[int, int]
    geometry: Geometry

    def output_shape(self, shape: Shape) -> Shape:
        """One element for each window."""
        return (*self.geometry.output_size((shape[0], shape[1]), self.size), shape[2])


def grown(shape: Shape, output: Shape) -> bool:
    """Whether a value of the output's shape has more elements."""
    return math.prod(output) > math.prod(shape)
