"""Operations that act on each element alone: functions of one variable, sums and products of several values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from syfr.importing.curves import PROMISED
from syfr.steps import Shape


@dataclass(frozen=True)
class Known:
    """What is known of the result of an operation beyond what the ranges of its inputs tell.

    Attributes:
        low, high: no element is smaller or larger.
        average: of a matrix product: the rows of the left matrix are shares of one, so that the result is in the
            range of the right one.
    """

    low: float = -math.inf
    high: float = math.inf
    average: bool = False


@dataclass(frozen=True)
class Relu:
    """max(0, x)."""

    layer: str

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of its input."""
        return shape


@dataclass(frozen=True)
class Bend:
    """slope·x + constant + sum of factor·max(0, x - knot): exact, with numbers that the architecture sets."""

    layer: str
    knots: tuple[float, ...]
    factors: tuple[float, ...]
    slope: float = 0.0
    constant: float = 0.0

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of its input."""
        return shape

    @property
    def homogeneous(self) -> bool:
        """Whether a positive factor may as well be applied behind it."""
        return self.knots == (0.0,) and self.constant == 0.0

    @property
    def whole(self) -> bool:
        """Whether all slopes are whole numbers, so that nothing is rounded."""
        return all(float(number).is_integer() for number in (self.slope, *self.factors))


@dataclass(frozen=True)
class Jump:
    """``height`` where x > threshold, else 0."""

    layer: str
    threshold: float
    height: float

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of its input."""
        return shape


@dataclass(frozen=True)
class Curved:
    """A smooth function, approximated; as the last operation of all the client may compute it exactly, by ``name``.

    ``error`` is what the approximation stays below, if the number format has the digits.
    """

    layer: str
    name: str
    parameters: tuple[tuple[str, float], ...] = ()
    error: float = PROMISED

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of its input."""
        return shape


@dataclass(frozen=True)
class Softmax:
    """A softmax over the last axis; as the last operation of all the client may compute it exactly.

    ``counts`` says which places count, row after row, where some do not: those get 0, and others do not see them.
    """

    layer: str
    counts: tuple[bool, ...] | None = None

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of its input."""
        return shape


@dataclass(frozen=True)
class Normalized:
    """Each row along the last axis over the root of its mean square, or of its sum of squares, and ``epsilon``.

    Attributes:
        centred: whether its mean is taken off before.
        mean: whether the root is of the mean square; or of the sum, so that every row has length 1.
    """

    layer: str
    epsilon: float
    centred: bool = True
    mean: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of its input."""
        return shape


@dataclass(frozen=True)
class Sum:
    """The sum of values of one shape, each with a public factor, and a public constant."""

    layer: str
    factors: tuple[float, ...]
    constant: float = 0.0

    def output_shape(self, shape: Shape, *others: Shape) -> Shape:
        """The shape of its inputs."""
        return shape

    @property
    def whole(self) -> bool:
        """Whether fixed point computes it without any rounding."""
        return all(float(factor).is_integer() for factor in self.factors)


@dataclass(frozen=True)
class Times:
    """The product of two values of one shape, or of the matrices in their last two axes, over 2^scale_bits."""

    layer: str
    matrices: bool = False
    scale_bits: int = 0
    known: Known | None = None

    def output_shape(self, shape: Shape, *others: Shape) -> Shape:
        """The shape of its inputs, or rows of the left by columns of the right."""
        return (*shape[:-1], others[-1][-1]) if self.matrices else shape
