"""Fewer steps for the same network: what is linear is folded into the neighbouring linear layer.

Average pooling, batch normalisation, rescaling and padding cost nothing once they are part of a kernel, and
every fold saves a truncation with its delays. The operations of a chain are rewritten two or three neighbours
at a time until no rule applies; what stands where branches meet is merging.py's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from syfr.importing.composition import compose, plan
from syfr.importing.elements import Bend, Curved, Relu
from syfr.importing.graph import Graph, Unary
from syfr.importing.merging import merge
from syfr.importing.operations import Affine, Scale, diagonal, label_of, only_pads, pull_back
from syfr.importing.places import MaxPool, NewShape, Order, Places, grown
from syfr.steps import Shape

MAX_KERNEL = 1 << 24
"""Numbers in a kernel that folding may make; more would only move the cost to sharing the weights."""

STEP_PRODUCTS = 1_000_000
ELEMENT_PRODUCTS = 2_000
"""A truncation of its own costs about as much as this many products, and as this many for each element."""

Operations = Sequence[Unary]
Rule = Callable[[Operations, Shape], "tuple[int, list[Unary]] | None"]


def fold(graph: Graph) -> None:
    """The same network in as few operations as the rules can reach; the graph is changed in place."""
    changed = True
    while changed:
        changed = False
        shapes = graph.shapes()
        for chain in graph.chains():
            operations = chain_of(graph, chain)
            shape = shapes[graph.nodes[chain[0]].sources[0]]
            folded = fold_chain(operations, shape)
            if folded is not None:
                shapes[graph.rewrite(chain, folded)] = shapes[chain[-1]]
                changed = True
        changed = merge(graph) or changed


def fold_chain(operations: Operations, shape: Shape) -> list[Unary] | None:
    """A chain of operations on a row of ``shape`` as fewer ones; None if no rule applies."""
    folded = list(operations)
    changed = False
    while _rewrite_once(folded, shape):
        changed = True
    return folded if changed else None


def chain_of(graph: Graph, chain: Sequence[int]) -> list[Unary]:
    """The operations of a chain."""
    return [_unary(graph.nodes[value].operation) for value in chain]


def _unary(operation: object) -> Unary:
    if not isinstance(operation, Unary):
        raise TypeError("a chain holds operations on one value")
    return operation


def _rewrite_once(chain: list[Unary], input_shape: Shape) -> bool:
    shapes = [input_shape]
    for operation in chain:
        shapes.append(operation.output_shape(shapes[-1]))
    for rule in _RULES:
        for place in range(len(chain)):
            found = rule(chain[place:], shapes[place])
            if found is not None:
                length, replacement = found
                chain[place : place + length] = replacement
                return True
    return False


# Each rule looks at the operations from some place on and the shape they begin with. It returns how many of
# them it replaces, and by what, or None.


def _shape_rules(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """One change of shape is enough, none if nothing changes; it can wait until after a relu."""
    first = chain[0]
    if not isinstance(first, NewShape):
        return None
    if first.shape == shape:
        return 1, []
    following = chain[1] if len(chain) > 1 else None
    if isinstance(following, NewShape):
        return 2, [following]
    if isinstance(following, Relu):
        return 2, [following, first]
    return None


def _order_rules(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """One change of order is enough, none if nothing changes; it can wait until after a function of each element."""
    first = chain[0]
    if not isinstance(first, Order):
        return None
    if first.axes == tuple(range(len(shape))):
        return 1, []
    following = chain[1] if len(chain) > 1 else None
    if isinstance(following, Order):
        return 2, [first.then(following)]
    if isinstance(following, (Relu, Bend, Curved)):
        return 2, [following, first]
    if isinstance(following, Scale) and following.uniform:
        before = _reshaped(following, first.output_shape(shape), shape)
        return None if before is None else (2, [before, first])
    return None


def _places_rules(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """What repeats elements or puts zeros waits until after a relu; nothing is left of what changes nothing."""
    first = chain[0]
    if not isinstance(first, Places):
        return None
    if first.indices == tuple(range(shape[first.axis])):
        return 1, []
    if len(chain) > 1 and isinstance(chain[1], Relu) and grown(shape, first.output_shape(shape)):
        return 2, [chain[1], first]
    return None


def _relu_waits(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """A relu moves behind a max pooling, where there are fewer elements; so it does if zeros are put in between."""
    if len(chain) < 2 or not isinstance(chain[0], Relu):
        return None
    if isinstance(chain[1], MaxPool):
        return 2, [chain[1], chain[0]]
    if len(chain) > 2 and only_pads(chain[1]) and isinstance(chain[2], MaxPool):
        return 3, [chain[1], chain[2], chain[0]]
    return None


def _relu_twice(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """The second of two relus changes nothing."""
    if len(chain) > 1 and isinstance(chain[0], Relu) and isinstance(chain[1], Relu):
        return 2, [chain[0]]
    return None


def _padding_waits(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """Zeros stay zeros under a relu or a factor: padding moves on to the convolution that takes it in."""
    if len(chain) < 2 or not only_pads(chain[0]):
        return None
    first, second = chain[0], chain[1]
    if isinstance(second, Relu) or (isinstance(second, Scale) and not second.biased):
        return 2, [second, first]
    return _compose(chain, shape)


def _scale_after(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """A Scale goes into an Affine or Scale before it, also into an Affine before a change of shape."""
    if len(chain) < 2:
        return None
    first, second = chain[0], chain[1]
    if isinstance(second, Scale) and isinstance(first, (Affine, Scale)):
        label = label_of(first, second)
        if isinstance(first, Scale):
            factor, offset = first.factor * second.factor, first.offset * second.factor + second.offset
            uniform, public = first.uniform and second.uniform, first.public and second.public
            return 2, [Scale(label, factor, offset, first.biased or second.biased, uniform, public)]
        kernel, bias = first.kernel * second.factor, first.bias * second.factor + second.offset
        return 2, [Affine(label, kernel, bias, first.geometry, first.biased or second.biased)]
    third = chain[2] if len(chain) > 2 else None
    if isinstance(first, Affine) and isinstance(second, NewShape) and isinstance(third, Scale):
        before = _reshaped(third, second.shape, first.output_shape(shape))
        return None if before is None else (3, [first, before, second])
    return None


def _scale_before(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """A Scale goes into the Affine behind it, unless zeros are put in between that it would have to move."""
    if len(chain) < 2 or not isinstance(chain[0], Scale):
        return None
    first, second = chain[0], chain[1]
    if isinstance(second, Affine):
        label = label_of(first, second)
        if second.geometry is None:
            kernel, bias = second.kernel * first.factor[:, None], second.bias + first.offset @ second.kernel
            return 2, [Affine(label, kernel, bias, biased=first.biased or second.biased)]
        scaling = diagonal(first, shape)
        found = plan(scaling, second, shape)
        return None if found is None else (2, [compose(scaling, second, found, label)])
    third = chain[2] if len(chain) > 2 else None
    if isinstance(second, NewShape) and isinstance(third, Affine):
        after = _reshaped(first, shape, second.shape)
        return None if after is None else (3, [second, after, third])
    return None


def _compose(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """Two convolutions or two matrix products become one, where that costs less than a truncation."""
    if len(chain) < 2:
        return None
    first, second = chain[0], chain[1]
    if not (isinstance(first, Affine) and isinstance(second, Affine)):
        return None
    label = label_of(first, second)
    if first.geometry is None and second.geometry is None:
        kernel: Shape = (first.kernel.shape[0], second.kernel.shape[1])
        if not _pays(first, second, shape, kernel):
            return None
        bias = second.bias + first.bias @ second.kernel
        biased = first.biased or second.biased
        return 2, [Affine(label, first.kernel @ second.kernel, bias, biased=biased)]
    found = plan(first, second, shape)
    if found is None or not _pays(first, second, shape, found.kernel):
        return None
    return 2, [compose(first, second, found, label)]


def _into_matrix(chain: Operations, shape: Shape) -> tuple[int, list[Unary]] | None:
    """Pooling, flattening, then a dense layer: one dense layer on what was pooled, where that is cheaper."""
    if len(chain) < 3:
        return None
    first, second, third = chain[0], chain[1], chain[2]
    if not (isinstance(first, Affine) and isinstance(second, NewShape) and isinstance(third, Affine)):
        return None
    if first.geometry is None or third.geometry is not None or len(second.shape) != 1:
        return None
    kernel = (math.prod(shape), third.kernel.shape[1])
    work = first.products(shape) * third.kernel.shape[1]
    if work > MAX_KERNEL << 6 or not _pays(first, third, shape, kernel, second.shape):
        return None
    flatten = NewShape(second.layer, (kernel[0],))
    return 3, [flatten, pull_back(first, shape, third, label_of(first, third))]


_RULES: tuple[Rule, ...] = (
    _shape_rules,
    _order_rules,
    _places_rules,
    _relu_waits,
    _relu_twice,
    _padding_waits,
    _scale_after,
    _compose,
    _scale_before,
    _into_matrix,
)


def _pays(first: Affine, second: Affine, shape: Shape, kernel: Shape, reshaped: Shape | None = None) -> bool:
    """Whether one kernel of this shape costs less than two with a truncation between them."""
    middle = first.output_shape(shape)
    between = middle if reshaped is None else reshaped
    together = math.prod(kernel[:-1]) * math.prod(second.output_shape(between))
    apart = first.products(shape) + second.products(between)
    truncation = STEP_PRODUCTS + ELEMENT_PRODUCTS * math.prod(middle)
    return math.prod(kernel) <= MAX_KERNEL and together <= apart + truncation


def _reshaped(scale: Scale, shape: Shape, other: Shape) -> Scale | None:
    """The Scale that does on rows of ``other`` what this one does on rows of ``shape``, if there is one."""
    names = np.zeros(shape[-1], np.intp) if scale.uniform else np.arange(shape[-1])
    channels = np.broadcast_to(names, shape).reshape(-1, other[-1])
    if (channels != channels[0]).any():
        return None
    return replace(scale, factor=scale.factor[channels[0]], offset=scale.offset[channels[0]])
