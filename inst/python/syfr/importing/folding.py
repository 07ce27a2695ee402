"""Fewer steps for the same network: what is linear is folded into the neighbouring linear layer.

Average pooling, batch normalisation, rescaling and padding cost nothing once they are part of a kernel, and
every fold saves a truncation with its delays. The operations of a chain are rewritten two or three neighbours
at a time until no rule applies, and then become the steps of a Program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from syfr.errors import UnsupportedLayerError
from syfr.importing.composition import compose, plan
from syfr.importing.operations import (
    Affine,
    NewShape,
    Operation,
    Relu,
    Scale,
    Weights,
    diagonal,
    identity,
    is_mean,
    only_pads,
    pull_back,
)
from syfr.steps import Linear, Reshape, Shape, Step

MAX_KERNEL = 1 << 24
"""Numbers in a kernel that folding may make; more would only move the cost to sharing the weights."""

STEP_PRODUCTS = 1_000_000
ELEMENT_PRODUCTS = 2_000
"""A truncation of its own costs about as much as this many products, and as this many for each element."""

LABEL_LENGTH = 200

Operations = Sequence[Operation]
Rule = Callable[[Operations, Shape], "tuple[int, list[Operation]] | None"]


def fold(operations: Operations, input_shape: Shape) -> list[Operation]:
    """The same function of a row of ``input_shape`` in as few operations as the rules can reach."""
    folded = list(operations)
    while _rewrite_once(folded, input_shape):
        pass
    return folded


def lower(operations: Operations, input_shape: Shape) -> tuple[list[Step], dict[int, Weights]]:
    """Fold a chain and turn it into steps, the last of them the output, with the weights by step number."""
    chain = _exact_means(fold(_complete(fold(operations, input_shape), input_shape), input_shape))
    steps: list[Step] = []
    weights: dict[int, Weights] = {}
    shape = input_shape
    for place, operation in enumerate(chain):
        source, output = len(steps), operation.output_shape(shape)
        if isinstance(operation, NewShape):
            steps.append(Reshape(operation.layer, source, shape, output))
        elif isinstance(operation, Affine):
            then = _then(chain, place)
            kernel = operation.kernel.shape
            weights[source] = Weights(np.ascontiguousarray(operation.kernel), operation.bias)
            steps.append(Linear(operation.layer, source, kernel, shape, output, then, operation.geometry))
        shape = output
    return steps, weights


def _then(chain: Operations, place: int) -> str:
    if place + 1 == len(chain):
        return "output"
    return "relu" if isinstance(chain[place + 1], Relu) else "truncate"


def _complete(operations: list[Operation], input_shape: Shape) -> list[Operation]:
    """Make every relu follow an Affine and the chain end in one, with an identity where there is none."""
    done: list[Operation] = []
    shape = input_shape
    for operation in operations:
        if isinstance(operation, Scale):
            done.append(_diagonal(operation, shape))
        else:
            if isinstance(operation, Relu) and not (done and isinstance(done[-1], Affine)):
                done.append(_diagonal(identity(operation.layer, shape[-1]), shape))
            done.append(operation)
        shape = operation.output_shape(shape)
    if not (done and isinstance(done[-1], Affine)):
        layer = done[-1].layer if done else "input"
        done.append(_diagonal(identity(layer, shape[-1]), shape))
    return done


def _exact_means(chain: list[Operation]) -> list[Operation]:
    """Pooling that stays a step of its own divides by a power of two, which fixed point holds exactly.

    The rest of the division, a factor from 1 to 2, goes into the next kernel; a relu on the way lets it pass.
    """
    found = list(chain)
    for place, operation in enumerate(found):
        following = next((i for i in range(place + 1, len(found)) if isinstance(found[i], Affine)), None)
        if following is None or not isinstance(operation, Affine) or not is_mean(operation):
            continue
        after = found[following]
        if isinstance(after, Affine):
            exact = 2.0 ** math.floor(math.log2(operation.kernel.flat[0]))
            factor = operation.kernel.flat[0] / exact
            found[place] = replace(operation, kernel=np.full_like(operation.kernel, exact))
            found[following] = replace(after, kernel=after.kernel * factor)
    return found


def _diagonal(scale: Scale, shape: Shape) -> Affine:
    if len(shape) != 3 and shape[-1] ** 2 > MAX_KERNEL:
        raise UnsupportedLayerError(
            f"Layer '{scale.layer}' would need a step of its own on {shape[-1]} features, too large a one. "
            "Put a Dense layer directly after it."
        )
    return diagonal(scale, shape)


def _rewrite_once(chain: list[Operation], input_shape: Shape) -> bool:
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


def _shape_rules(chain: Operations, shape: Shape) -> tuple[int, list[Operation]] | None:
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


def _relu_twice(chain: Operations, shape: Shape) -> tuple[int, list[Operation]] | None:
    """The second of two relus changes nothing."""
    if len(chain) > 1 and isinstance(chain[0], Relu) and isinstance(chain[1], Relu):
        return 2, [chain[0]]
    return None


def _padding_waits(chain: Operations, shape: Shape) -> tuple[int, list[Operation]] | None:
    """Zeros stay zeros under a relu or a factor: padding moves on to the convolution that takes it in."""
    if len(chain) < 2 or not only_pads(chain[0]):
        return None
    first, second = chain[0], chain[1]
    if isinstance(second, Relu) or (isinstance(second, Scale) and not second.biased):
        return 2, [second, first]
    return _compose(chain, shape)


def _scale_after(chain: Operations, shape: Shape) -> tuple[int, list[Operation]] | None:
    """A Scale goes into an Affine or Scale before it, also into an Affine before a change of shape."""
    if len(chain) < 2:
        return None
    first, second = chain[0], chain[1]
    if isinstance(second, Scale) and isinstance(first, (Affine, Scale)):
        label = _label(first, second)
        if isinstance(first, Scale):
            factor, offset = first.factor * second.factor, first.offset * second.factor + second.offset
            uniform = first.uniform and second.uniform
            return 2, [Scale(label, factor, offset, first.biased or second.biased, uniform)]
        kernel, bias = first.kernel * second.factor, first.bias * second.factor + second.offset
        return 2, [Affine(label, kernel, bias, first.geometry, first.biased or second.biased)]
    third = chain[2] if len(chain) > 2 else None
    if isinstance(first, Affine) and isinstance(second, NewShape) and isinstance(third, Scale):
        before = _reshaped(third, second.shape, first.output_shape(shape))
        return None if before is None else (3, [first, before, second])
    return None


def _scale_before(chain: Operations, shape: Shape) -> tuple[int, list[Operation]] | None:
    """A Scale goes into the Affine behind it, unless zeros are put in between that it would have to move."""
    if len(chain) < 2 or not isinstance(chain[0], Scale):
        return None
    first, second = chain[0], chain[1]
    if isinstance(second, Affine):
        label = _label(first, second)
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


def _compose(chain: Operations, shape: Shape) -> tuple[int, list[Operation]] | None:
    """Two convolutions or two matrix products become one, where that costs less than a truncation."""
    if len(chain) < 2:
        return None
    first, second = chain[0], chain[1]
    if not (isinstance(first, Affine) and isinstance(second, Affine)):
        return None
    label = _label(first, second)
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


def _into_matrix(chain: Operations, shape: Shape) -> tuple[int, list[Operation]] | None:
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
    return 3, [flatten, pull_back(first, shape, third, _label(first, third))]


_RULES: tuple[Rule, ...] = (
    _shape_rules,
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


def _label(*operations: Operation) -> str:
    names: list[str] = []
    for operation in operations:
        names.extend(name for name in operation.layer.split(" + ") if name not in names)
    label = " + ".join(names)
    return label if len(label) <= LABEL_LENGTH else f"{names[0]} + ... + {names[-1]}"[:LABEL_LENGTH]
