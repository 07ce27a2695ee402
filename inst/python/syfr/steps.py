"""The steps of a Program: what each computes, on which values, and of what shape. Public, and never executed as code.

Shapes leave out the batch axis; axes and shapes here are those of one row. Steps are of two kinds. *Local* ones move or
add numbers, which every worker does alone with what it holds: Reshape, Slice, Transpose, Take, Concatenate, Weigh and a
Combine that nothing follows. The others need messages: what they cost stands beside their protocol (protocol/).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from syfr.errors import ProtocolError

Shape = tuple[int, ...]

MAX_ELEMENTS = 1 << 27
MAX_PRODUCTS = 1 << 36
"""Multiply-adds and gathered elements of one step for one row."""
MAX_SOURCES = 256
MAX_KNOTS = 64
MAX_RANKED = 2_048
MAX_PUBLIC = 1 << 46
"""Public numbers in ring elements are smaller in magnitude."""

AFTER = ("relu", "truncate", "output")
"""What follows a product: truncation and max(0, .), truncation alone, or truncation towards the client."""


@dataclass(frozen=True)
class Geometry:
    """Where a two-dimensional convolution places its kernel: strides, zero padding, dilation, groups.

    ``padding`` is ((top, bottom), (left, right)).
    """

    strides: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_size(self, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the result for an input of ``size`` and a kernel of ``kernel``."""
        out = []
        for axis in (0, 1):
            span = (kernel[axis] - 1) * self.dilation[axis] + 1
            out.append((size[axis] + sum(self.padding[axis]) - span) // self.strides[axis] + 1)
        return out[0], out[1]


class ReadsOne:
    """A step that reads a single value."""

    source: int

    @property
    def sources(self) -> tuple[int, ...]:
        """The values that the step reads."""
        return (self.source,)


@dataclass(frozen=True)
class Linear:
    """x·W + b, as a matrix product or one convolution, more values added to it, and what follows in the same step.

    Pooling, batch normalisation, bias and padding are already folded into ``W`` and ``b`` by the owner.

    Attributes:
        layer: the Keras layers it came from, for messages.
        source: number of the value it reads.
        kernel: (inputs, outputs), or (height, width, channels in / groups, channels out).
        input_shape, output_shape: a row of each; channels last.
        then: one of AFTER.
        geometry: of a convolution, which acts on the last three axes; None for a matrix product, on the last one.
        plus: values of the output's shape that are added before what follows, each with a whole factor: a residual
            connection costs nothing.
        weights: the number of an earlier step, of the same kernel and geometry, whose weights it uses; None for its
            own. What a recurrent layer does at every time has weights that are shared once.
    """

    layer: str
    source: int
    kernel: Shape
    input_shape: Shape
    output_shape: Shape
    then: str
    geometry: Geometry | None = None
    plus: tuple[tuple[int, int], ...] = ()
    weights: int | None = None

    @property
    def sources(self) -> tuple[int, ...]:
        """The values that the step reads."""
        return (self.source, *(value for value, _ in self.plus))

    @property
    def products(self) -> int:
        """Multiply-adds for one row."""
        inner = math.prod(self.kernel[:-1])
        return inner * math.prod(self.output_shape)

    @property
    def numbers(self) -> int:
        """Weights: the kernel, and a bias for each output channel."""
        return math.prod(self.kernel) + self.kernel[-1]

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless shapes, kernel and geometry fit together; ``shapes`` are those of the sources."""
        _check_after(self.layer, self.then, AFTER)
        check_shapes(self.layer, self.kernel, self.input_shape, self.output_shape)
        _require(self.layer, shapes[0] == self.input_shape, "declares an input shape that its source does not have")
        _require(self.layer, all(shape == self.output_shape for shape in shapes[1:]), "adds values of other shapes")
        _check_public(self.layer, [factor for _, factor in self.plus])
        expected = self._dense_shape() if self.geometry is None else self._convolution_shape(self.geometry)
        gathered = math.prod(self.kernel[:-1]) * math.prod(self.output_shape[:-1])
        if gathered > MAX_ELEMENTS or self.products > MAX_PRODUCTS:
            raise ProtocolError(f"Layer '{self.layer}' has more work for one row than a worker takes.")
        if expected != self.output_shape:
            raise ProtocolError(
                f"Layer '{self.layer}' declares the output shape {self.output_shape}; its kernel gives {expected}."
            )

    def _dense_shape(self) -> Shape:
        if len(self.kernel) != 2 or not self.input_shape or self.kernel[0] != self.input_shape[-1]:
            raise ProtocolError(f"The kernel of layer '{self.layer}' does not fit its input {self.input_shape}.")
        return (*self.input_shape[:-1], self.kernel[1])

    def _convolution_shape(self, geometry: Geometry) -> Shape:
        groups, image = geometry.groups, self.input_shape[-3:]
        numbers = (*geometry.strides, *geometry.dilation, groups)
        pads = (*geometry.padding[0], *geometry.padding[1])
        fits = len(self.kernel) == 4 and len(image) == 3 and min(numbers) >= 1 and min(pads) >= 0
        if not fits or max(*numbers, *pads) > MAX_ELEMENTS:
            raise ProtocolError(f"Layer '{self.layer}' declares a convolution that cannot be placed.")
        if self.kernel[2] * groups != image[2] or self.kernel[3] % groups:
            raise ProtocolError(f"The channels of layer '{self.layer}' do not fit its {groups} group(s).")
        height, width = geometry.output_size((image[0], image[1]), (self.kernel[0], self.kernel[1]))
        return *self.input_shape[:-3], height, width, self.kernel[3]


@dataclass(frozen=True)
class Combine:
    """A sum of values with public factors: sum of factor·value, plus a constant, all divided by 2^scale_bits.

    Attributes:
        factors: one whole number a source, in units of 2^-scale_bits.
        constant: a whole number in units of 2^-(f + scale_bits).
        scale_bits: the bits that are taken off, often f.
        then: one of AFTER; or "nothing" where scale_bits is 0: the sum is then local and exact.
    """

    layer: str
    sources: tuple[int, ...]
    output_shape: Shape
    factors: tuple[int, ...]
    constant: int = 0
    scale_bits: int = 0
    then: str = "nothing"

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless all sources have the output's shape."""
        _check_after(self.layer, self.then, (*AFTER, "nothing"))
        check_shapes(self.layer, self.output_shape)
        _require(self.layer, len(self.factors) == len(self.sources), "needs one factor for each value")
        _require(self.layer, all(shape == self.output_shape for shape in shapes), "adds values of other shapes")
        _check_public(self.layer, [*self.factors, self.constant])
        sound = self.scale_bits == 0 if self.then == "nothing" else 0 <= self.scale_bits < 48
        _require(self.layer, sound and (self.scale_bits > 0 or self.then in ("nothing", "output")), _NO_SCALE)


_NO_SCALE = "declares a scale that does not go with what follows"


@dataclass(frozen=True)
class Product:
    """The product of two secret values, element by element or as matrices, over 2^scale_bits; and what follows it.

    Attributes:
        left, right: the values. As matrices (..., rows, inner) and (..., inner, columns).
        matrices: whether it is a matrix product.
        scale_bits: bits that are taken off besides the f of every product: values that are held so many times larger
            keep as many bits more behind the point.
    """

    layer: str
    left: int
    right: int
    output_shape: Shape
    then: str
    matrices: bool = False
    scale_bits: int = 0

    @property
    def sources(self) -> tuple[int, ...]:
        """The values that the step reads."""
        return self.left, self.right

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless the shapes fit together."""
        _check_after(self.layer, self.then, AFTER)
        check_shapes(self.layer, self.output_shape)
        _require(self.layer, 0 <= self.scale_bits < 48, _NO_SCALE)
        left, right = shapes
        if self.matrices:
            fits = len(left) >= 2 and left[:-2] == right[:-2] and left[-1] == right[-2]
            _require(self.layer, fits, "multiplies matrices that do not fit together")
            _require(self.layer, self.output_shape == (*left[:-1], right[-1]), "declares another output shape")
            _require(self.layer, math.prod(self.output_shape) * left[-1] <= MAX_PRODUCTS, "has too much work for a row")
        else:
            _require(self.layer, left == right == self.output_shape, "multiplies values of different shapes")


@dataclass(frozen=True)
class Signs(ReadsOne):
    """A function of one variable that is linear between knots, applied to every element.

    Of each x it gives (slope·x + constant + sum of factor_i·g(x - knot_i)) / 2^scale_bits, where g(v) is max(0, v), or
    [v >= 0] as one unit of 2^-f when ``bits`` is set. One knot at 0 with factor 1 is a ReLU. With scale_bits = 0 the
    result is exact.

    Attributes:
        knots: ascending whole numbers in units of 2^-f.
        factors: one whole number a knot, in units of 2^-scale_bits.
        slope, constant: in units of 2^-scale_bits and 2^-(f + scale_bits).
        scale_bits: the bits that are taken off, often f.
    """

    layer: str
    source: int
    output_shape: Shape
    knots: tuple[int, ...]
    factors: tuple[int, ...]
    slope: int = 0
    constant: int = 0
    scale_bits: int = 0
    bits: bool = False

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless knots and factors are in order."""
        check_shapes(self.layer, self.output_shape)
        _require(self.layer, shapes[0] == self.output_shape, "declares an output shape that is not its input's")
        sound = 1 <= len(self.knots) <= MAX_KNOTS and len(self.knots) == len(self.factors)
        ascending = all(one < other for one, other in zip(self.knots, self.knots[1:], strict=False))
        _require(self.layer, sound and ascending, "needs ascending knots and one factor for each")
        _check_public(self.layer, [*self.knots, *self.factors, self.slope, self.constant])
        _require(self.layer, 0 <= self.scale_bits < 48, _NO_SCALE)
        work = math.prod(self.output_shape) * len(self.knots)
        _require(self.layer, work <= MAX_ELEMENTS, "has too much work for a row")


@dataclass(frozen=True)
class Ranks(ReadsOne):
    """Along the last axis, how many others each number beats; of equals the first beats the rest.

    The largest gets n - 1.0, the smallest 0.0: argmax, top-k and sorting follow from it by :class:`Signs`.
    """

    layer: str
    source: int
    output_shape: Shape

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless there are 2 to MAX_RANKED numbers to rank."""
        check_shapes(self.layer, self.output_shape)
        fits = shapes[0] == self.output_shape and 2 <= self.output_shape[-1] <= MAX_RANKED
        _require(self.layer, fits, f"ranks other than 2 to {MAX_RANKED} numbers")
        pairs = math.prod(self.output_shape) * (self.output_shape[-1] - 1) // 2
        _require(self.layer, pairs <= MAX_ELEMENTS, "has too much work for a row")


@dataclass(frozen=True)
class Reshape(ReadsOne):
    """The same numbers in another shape."""

    layer: str
    source: int
    input_shape: Shape
    output_shape: Shape

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless both shapes hold the same number of elements."""
        check_shapes(self.layer, self.input_shape, self.output_shape)
        _require(self.layer, shapes[0] == self.input_shape, "declares an input shape that its source does not have")
        if math.prod(self.input_shape) != math.prod(self.output_shape):
            raise ProtocolError(f"Layer '{self.layer}' cannot turn {self.input_shape} into {self.output_shape}.")


@dataclass(frozen=True)
class Slice(ReadsOne):
    """A run of elements of a flat row, in a shape of its own: one of several inputs that lie one after the other."""

    layer: str
    source: int
    output_shape: Shape
    start: int

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless the source is flat and long enough."""
        check_shapes(self.layer, self.output_shape)
        fits = len(shapes[0]) == 1 and 0 <= self.start <= shapes[0][0] - math.prod(self.output_shape)
        _require(self.layer, fits, "reads elements that its input does not have")


@dataclass(frozen=True)
class Transpose(ReadsOne):
    """The axes of a row in another order."""

    layer: str
    source: int
    output_shape: Shape
    axes: tuple[int, ...]

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless ``axes`` is a permutation."""
        check_shapes(self.layer, self.output_shape)
        permutes = sorted(self.axes) == list(range(len(shapes[0])))
        fits = permutes and self.output_shape == tuple(shapes[0][axis] for axis in self.axes)
        _require(self.layer, fits, "declares axes that do not fit its input")


@dataclass(frozen=True)
class Take(ReadsOne):
    """Along one axis the elements at public places, any number of times; -1 takes a zero. Crops, pads, repeats."""

    layer: str
    source: int
    output_shape: Shape
    axis: int
    indices: tuple[int, ...]

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless every index is in range."""
        check_shapes(self.layer, self.output_shape)
        shape, axis = shapes[0], self.axis
        fits = 0 <= axis < len(shape) and bool(self.indices)
        fits = fits and self.output_shape == (*shape[:axis], len(self.indices), *shape[axis + 1 :])
        fits = fits and min(self.indices) >= -1 and max(self.indices) < shape[axis]
        _require(self.layer, fits, "takes elements that its input does not have")


@dataclass(frozen=True)
class Concatenate:
    """Values one after the other along an axis."""

    layer: str
    sources: tuple[int, ...]
    output_shape: Shape
    axis: int

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless the shapes fit together."""
        check_shapes(self.layer, self.output_shape)
        axis, first = self.axis, shapes[0]
        fits = 0 <= axis < len(first) and all(len(shape) == len(first) for shape in shapes)
        fits = fits and all(
            (*shape[:axis], *shape[axis + 1 :]) == (*first[:axis], *first[axis + 1 :]) for shape in shapes
        )
        total = sum(shape[axis] for shape in shapes) if fits else 0
        fits = fits and self.output_shape == (*first[:axis], total, *first[axis + 1 :])
        _require(self.layer, fits, "joins values that do not fit together")


@dataclass(frozen=True)
class Weigh(ReadsOne):
    """The sum over the last axis with public whole factors, one a place; exact."""

    layer: str
    source: int
    output_shape: Shape
    factors: tuple[int, ...]

    def check(self, shapes: Sequence[Shape]) -> None:
        """Raise ProtocolError unless there is a factor for each place."""
        check_shapes(self.layer, self.output_shape)
        fits = shapes[0][-1] == len(self.factors) and self.output_shape == (*shapes[0][:-1], 1)
        _require(self.layer, fits, "needs one factor for each place of the last axis")
        _check_public(self.layer, self.factors)


Step = Linear | Combine | Product | Signs | Ranks | Reshape | Slice | Transpose | Take | Concatenate | Weigh
STEPS: tuple[type[Step], ...] = (
    Linear,
    Combine,
    Product,
    Signs,
    Ranks,
    Reshape,
    Slice,
    Transpose,
    Take,
    Concatenate,
    Weigh,
)


def follows(step: Step) -> str:
    """What follows a step's product or sum: one of AFTER, or "nothing"."""
    return step.then if isinstance(step, (Linear, Combine, Product)) else "nothing"


def is_output(step: Step) -> bool:
    """Whether the step gives a part of the answer."""
    return follows(step) == "output"


def _require(layer: str, holds: bool, problem: str) -> None:
    if not holds:
        raise ProtocolError(f"Layer '{layer}' {problem}.")


def _check_after(layer: str, then: str, known: Sequence[str]) -> None:
    if then not in known:
        raise ProtocolError(f"Layer '{layer}' is followed by '{then}', which is unknown here.")


def _check_public(layer: str, numbers: Sequence[int]) -> None:
    _require(layer, all(-MAX_PUBLIC < number < MAX_PUBLIC for number in numbers), "declares numbers that are too large")


def check_shapes(layer: str, *shapes: Shape) -> None:
    """Raise ProtocolError for a shape that is empty or too large."""
    for shape in shapes:
        if not shape or len(shape) > 8 or min(shape) < 1 or math.prod(shape) > MAX_ELEMENTS:
            raise ProtocolError(f"Layer '{layer}' has the shape {shape}, which is empty or too large.")
