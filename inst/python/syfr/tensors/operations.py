"""The operations on private tensors: what each gives, in which range, and the steps that it takes.

Sums, comparisons, maxima and everything that moves elements is exact; products are rounded to a neighbouring multiple
of 2^-f.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from syfr.errors import RangeCheckError, ShapeError
from syfr.steps import Combine, Concatenate, Product, Ranks, Shape, Signs, Take, Transpose, Weigh
from syfr.tensors.expression import ONE, PRECISION, Builder, Node, Range

EQUAL = 8
"""Numbers that differ by at most so many units of 2^-f, 0.0005, count as equal."""

F = PRECISION.fraction_bits


def input_node(name: str, shape: Shape, span: Range) -> Node:
    """A tensor that the workers hold."""
    return Node(name, (), shape, span)


# ---- shapes ----


def reshape(x: Node, shape: Sequence[int]) -> Node:
    """The same elements in another shape; one size may be -1."""
    sizes = list(shape)
    if sizes.count(-1) == 1:
        rest = -math.prod(sizes)
        sizes[sizes.index(-1)] = math.prod(x.shape) // rest if rest else 0
    to = tuple(sizes) or (1,)
    if math.prod(to) != math.prod(x.shape):
        raise ShapeError(f"{x.shape} cannot be reshaped to {tuple(shape)}. Give sizes with that many elements.")
    return Node("reshape", (x,), to, x.range, lambda builder, read: builder.reshape("reshape", read[0], to))


def transpose(x: Node, axes: Sequence[int] | None = None) -> Node:
    """The axes in another order, by default reversed."""
    order = tuple(range(len(x.shape)))[::-1] if axes is None else tuple(axis % len(x.shape) for axis in axes)
    if sorted(order) != list(range(len(x.shape))):
        raise ShapeError(f"The axes {tuple(axes or ())} do not fit a tensor of shape {x.shape}. Name each once.")
    shape = tuple(x.shape[axis] for axis in order)
    return Node(
        "transpose",
        (x,),
        shape,
        x.range,
        lambda builder, read: builder.add(Transpose("transpose", read[0], shape, order)),
    )


def take(x: Node, axis: int, indices: Sequence[int]) -> Node:
    """Elements at public places of one axis."""
    places, size = tuple(int(index) for index in indices), x.shape[axis]
    if not places or not all(-size <= place < size for place in places):
        raise ShapeError(f"An index is outside of axis {axis}, which has {size} elements. Give places inside.")
    places = tuple(place % size for place in places)
    shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
    if places == tuple(range(size)):
        return x
    return Node(
        "index", (x,), shape, x.range, lambda builder, read: builder.add(Take("index", read[0], shape, axis, places))
    )


def concatenate(parts: Sequence[Node], axis: int) -> Node:
    """Tensors one after the other along an axis."""
    first = parts[0].shape
    axis %= len(first)
    rest = [(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts]
    if len(set(rest)) != 1 or {len(part.shape) for part in parts} != {len(first)}:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ShapeError(f"Shapes {shapes} cannot be joined along axis {axis}. Make them alike but for this axis.")
    shape = (*first[:axis], sum(part.shape[axis] for part in parts), *first[axis + 1 :])
    span = min(part.range[0] for part in parts), max(part.range[1] for part in parts)
    return Node(
        "concatenate",
        tuple(parts),
        shape,
        span,
        lambda builder, read: builder.add(Concatenate("concatenate", tuple(read), shape, axis)),
    )


def broadcast(x: Node, shape: Shape) -> Node:
    """Repeat axes of size 1, as NumPy does."""
    if x.shape == shape:
        return x
    padded = (1,) * (len(shape) - len(x.shape)) + x.shape
    if len(x.shape) > len(shape) or any(size not in (1, to) for size, to in zip(padded, shape, strict=True)):
        raise ShapeError(f"A tensor of shape {x.shape} cannot be broadcast to {shape}. Reshape it first.")
    found = reshape(x, padded)
    for axis, (size, to) in enumerate(zip(padded, shape, strict=True)):
        if size != to:
            found = take(found, axis, [0] * to)
    return found


def alike(x: Node, y: Node) -> tuple[Node, Node]:
    """Two tensors in their common shape."""
    rank = max(len(x.shape), len(y.shape))
    first, second = ((1,) * (rank - len(node.shape)) + node.shape for node in (x, y))
    if any(1 not in (one, other) and one != other for one, other in zip(first, second, strict=True)):
        raise ShapeError(f"Tensors of shapes {x.shape} and {y.shape} do not fit together. Reshape one of them.")
    shape = tuple(max(one, other) for one, other in zip(first, second, strict=True))
    return broadcast(x, shape), broadcast(y, shape)


# ---- sums and products ----


def weighted(name: str, nodes: Sequence[Node], factors: Sequence[int], constant: float = 0.0) -> Node:
    """A sum with whole factors, and a public number; exact."""
    units = round(constant * ONE)
    pairs = zip(factors, (node.range for node in nodes), strict=True)
    ends = [_ordered(factor * low, factor * high) for factor, (low, high) in pairs]
    span = sum(low for low, _ in ends) + units / ONE, sum(high for _, high in ends) + units / ONE
    shape = nodes[0].shape
    return Node(
        name,
        tuple(nodes),
        shape,
        span,
        lambda builder, read: builder.add(Combine(name, tuple(read), shape, tuple(factors), units)),
    )


def add(x: Node, y: Node) -> Node:
    """x + y; exact."""
    return weighted("+", alike(x, y), (1, 1))


def subtract(x: Node, y: Node) -> Node:
    """x - y; exact."""
    return weighted("-", alike(x, y), (1, -1))


def shift(x: Node, number: float) -> Node:
    """x + a public number; exact."""
    return weighted("+", (x,), (1,), number)


def scale(x: Node, number: float) -> Node:
    """x times a public number; exact if it is whole."""
    if float(number).is_integer() and abs(number) < LARGEST_FACTOR:
        return weighted("*", (x,), (int(number),))
    factor = round(number * ONE)
    span = _ordered(x.range[0] * factor / ONE, x.range[1] * factor / ONE)
    _require_room("*", span)
    return Node(
        "*",
        (x,),
        x.shape,
        span,
        lambda builder, read: builder.add(Combine("*", tuple(read), x.shape, (factor,), 0, F, "truncate")),
    )


LARGEST_FACTOR = 1 << 20


def multiply(x: Node, y: Node) -> Node:
    """x·y, element by element."""
    x, y = alike(x, y)
    span = _product(x.range, y.range)
    if x is y:
        span = (0.0 if x.range[0] <= 0 <= x.range[1] else min(end * end for end in x.range), span[1])
    _require_room("*", span)
    return Node(
        "*",
        (x, y),
        x.shape,
        span,
        lambda builder, read: builder.add(Product("*", read[0], read[1], x.shape, "truncate")),
    )


def matmul(x: Node, y: Node) -> Node:
    """The matrix product of the last two axes."""
    if len(x.shape) != 2 or len(y.shape) != 2 or x.shape[1] != y.shape[0]:
        raise ShapeError(
            f"Tensors of shapes {x.shape} and {y.shape} cannot be multiplied as matrices. "
            "Give matrices, the first with as many columns as the second has rows."
        )
    low, high = _product(x.range, y.range)
    span = x.shape[1] * low, x.shape[1] * high
    _require_room("%*%", span)
    shape = x.shape[0], y.shape[1]
    return Node(
        "%*%",
        (x, y),
        shape,
        span,
        lambda builder, read: builder.add(Product("%*%", read[0], read[1], shape, "truncate", matrices=True)),
    )


def conv2d(x: Node, kernel: Node, stride: int = 1) -> Node:
    """A convolution without padding of images (rows, height, width, channels) with a private kernel.

    ``kernel`` is (height, width, channels, channels out). Every window becomes a row of one matrix product.
    """
    if len(x.shape) != 4 or len(kernel.shape) != 4 or x.shape[3] != kernel.shape[2] or stride < 1:
        raise ShapeError(
            f"A kernel of shape {kernel.shape} does not fit images of shape {x.shape}. Give images as (rows, height, "
            "width, channels) and a kernel as (height, width, channels, channels out)."
        )
    height, width, channels, outputs = kernel.shape
    down, across = ((x.shape[1] - height) // stride + 1, (x.shape[2] - width) // stride + 1)
    if down < 1 or across < 1:
        raise ShapeError(f"A kernel of shape {kernel.shape} exceeds images of shape {x.shape}. Use a smaller one.")
    taps = []
    for y in range(height):
        rows = take(x, 1, [y + stride * place for place in range(down)])
        taps += [take(rows, 2, [z + stride * place for place in range(across)]) for z in range(width)]
    windows = reshape(concatenate(taps, 3), [x.shape[0] * down * across, height * width * channels])
    found = matmul(windows, reshape(kernel, [height * width * channels, outputs]))
    return reshape(found, [x.shape[0], down, across, outputs])


def total(x: Node, axis: int) -> Node:
    """The sum over an axis, which goes; exact."""
    found = _last(x, axis)
    count, shape = found.shape[-1], found.shape[:-1] or (1,)

    def make(builder: Builder, read: Sequence[int]) -> int:
        weighed = builder.add(Weigh("sum", read[0], (*found.shape[:-1], 1), (1,) * count))
        return builder.reshape("sum", weighed, shape)

    return Node("sum", (found,), shape, (count * x.range[0], count * x.range[1]), make)


def _last(x: Node, axis: int) -> Node:
    axis %= len(x.shape)
    if axis == len(x.shape) - 1:
        return x
    return transpose(x, [*range(axis), *range(axis + 1, len(x.shape)), axis])


def _ordered(one: float, other: float) -> Range:
    return (one, other) if one <= other else (other, one)


def _product(x: Range, y: Range) -> Range:
    ends = [one * other for one in x for other in y]
    return min(ends), max(ends)


def _require_room(name: str, span: Range) -> None:
    """Truncation needs one bit more room than a value has."""
    room = 2.0 ** (PRECISION.value_bits - 2 - 2 * F) - 1
    if max(map(abs, span)) >= room:
        raise RangeCheckError(
            f"'{name}' can give numbers from {span[0]:g} to {span[1]:g}; magnitudes below {room:g} fit. "
            "Declare a tighter range of its inputs, or scale them."
        )


# ---- comparisons and what follows from them ----


def signs(
    name: str, x: Node, knots: Sequence[int], factors: Sequence[int], span: Range, bits: bool = False, slope: int = 0
) -> Node:
    """An exact function that is linear, or constant, between knots."""
    return Node(
        name,
        (x,),
        x.shape,
        span,
        lambda builder, read: builder.add(
            Signs(name, read[0], x.shape, tuple(knots), tuple(factors), slope=slope, bits=bits)
        ),
    )


def not_negative(x: Node) -> Node:
    """1 where x >= 0, else 0."""
    return signs(">=", x, (0,), (ONE,), (0.0, 1.0), bits=True)


def equal(x: Node, y: Node) -> Node:
    """1 where x and y differ by at most EQUAL units of 2^-f, else 0."""
    return signs("==", subtract(x, y), (-EQUAL, EQUAL + 1), (ONE, -ONE), (0.0, 1.0), bits=True)


def opposite(x: Node) -> Node:
    """1 - x."""
    return weighted("!", (x,), (-1,), 1.0)


def relu(x: Node) -> Node:
    """max(0, x); exact."""
    return signs("relu", x, (0,), (1,), (max(0.0, x.range[0]), max(0.0, x.range[1])))


def absolute(x: Node) -> Node:
    """|x|; exact."""
    return signs("abs", x, (0,), (2,), (0.0, max(map(abs, x.range))), slope=-1)


def maximum(x: Node, y: Node) -> Node:
    """The larger of two, element by element; exact."""
    x, y = alike(x, y)
    span = max(x.range[0], y.range[0]), max(x.range[1], y.range[1])
    return Node(
        "max",
        (y, relu(subtract(x, y))),
        x.shape,
        span,
        lambda builder, read: builder.add(Combine("max", tuple(read), x.shape, (1, 1))),
    )


def largest(x: Node, axis: int) -> Node:
    """The maximum along an axis, which goes; exact, three delays for each doubling of its size."""
    found = _last(x, axis)
    last = len(found.shape) - 1
    while found.shape[last] > 1:
        half = found.shape[last] // 2
        upper = take(found, last, range(half, 2 * half))
        rest = take(found, last, range(2 * half, found.shape[last])) if found.shape[last] % 2 else None
        found = maximum(take(found, last, range(half)), upper)
        found = found if rest is None else concatenate([found, rest], last)
    return reshape(found, found.shape[:-1] or (1,))


def argmax(x: Node, axis: int) -> Node:
    """The place of the maximum along an axis, from 0, the first of equal ones; exact, six delays."""
    found = _last(x, axis)
    count, shape = found.shape[-1], found.shape[:-1] or (1,)
    if count == 1:
        return weighted("argmax", (reshape(found, shape),), (0,))

    def make(builder: Builder, read: Sequence[int]) -> int:
        ranks = builder.add(Ranks("argmax", read[0], found.shape))
        best = builder.add(Signs("argmax", ranks, found.shape, ((count - 1) * ONE,), (ONE,), bits=True))
        place = builder.add(Weigh("argmax", best, (*found.shape[:-1], 1), tuple(range(count))))
        return builder.reshape("argmax", place, shape)

    if not 2 * max(map(abs, x.range)) < LARGEST_DIFFERENCE:
        raise RangeCheckError(
            f"'argmax' compares numbers whose differences must stay below {LARGEST_DIFFERENCE:g}. Scale them."
        )
    return Node("argmax", (found,), shape, (0.0, float(count - 1)), make)


LARGEST_DIFFERENCE = 2.0 ** (PRECISION.truncated_bits - 1 - F)
