"""Products of two values of the network: Dot, Attention, MultiHeadAttention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from syfr.importing.calls import Call, Symbol, refuse, weight
from syfr.importing.elements import Known, Normalized, Softmax, Times
from syfr.importing.operations import Affine, Floats, Scale
from syfr.importing.places import NewShape, Order, Places
from syfr.steps import Shape


def dot(call: Call) -> int:
    """Dot, along one axis of each of two values."""
    axes = call.layer.axes
    given = (axes, axes) if isinstance(axes, int) else tuple(axes)
    sides = []
    for value, shape, axis in zip(call.sources, call.input_shapes, given, strict=True):
        place = int(axis) % (len(shape) + 1) - 1
        if place < 0:
            refuse(call.layer, f"uses axes={axes}, the batch's", "Use another axis.")
        rest = tuple(each for each in range(len(shape)) if each != place)
        rows = math.prod(shape[each] for each in rest)
        order, matrix = Order(call.name, (*rest, place)), NewShape(call.name, (rows, shape[place]))
        value = call.apply(order, matrix, source=value)
        if call.layer.normalize:
            value = call.apply(Normalized(call.name, 0.0, centred=False, mean=False), source=value)
        sides.append(value)
    turned = call.apply(Order(call.name, (1, 0)), source=sides[1])
    found = call.graph.add(Times(call.name, matrices=True), sides[0], turned)
    return call.apply(NewShape(call.name, call.output_shape), source=found)


def attention(call: Call) -> int:
    """Attention by dot products, whose scores may have one learned factor."""
    layer = call.layer
    if layer.score_mode != "dot":
        refuse(layer, f"uses score_mode='{layer.score_mode}'", "Use score_mode='dot'.")
    _refuse_options(call, ("mask",))
    query, value, key = (*call.sources, call.sources[1])[:3]
    size = call.input_shapes[0][-1]
    if layer.use_scale:
        factor = np.full(size, float(weight(layer, "scale")))
        query = call.apply(Scale(call.name, factor, np.zeros(size), biased=False, uniform=True), source=query)
    shape = (call.input_shapes[0][-2], call.input_shapes[1][-2])
    if len(call.output_shape) != 2:
        refuse(layer, f"works on rows of shape {call.input_shapes[0]}", "Use rows of steps by channels.")
    return _attended(call, query, key, value, _counts(call, shape))


def multi_head_attention(call: Call) -> int:
    """MultiHeadAttention, of a sequence to itself or to another one."""
    layer = call.layer
    _refuse_options(call, ("query_mask", "value_mask", "key_mask"))
    for name in ("_use_gate", "_sliding_window"):
        if getattr(layer, name, None):
            refuse(layer, f"uses {name.strip('_')}", "Leave the argument out.")
    places = _operands(call)
    names = ("query", "value", "key") if "key" in places else ("query", "value")
    shapes = {name: call.input_shapes[places[name]] for name in names}
    if any(len(shape) != 2 for shape in shapes.values()) or len(call.output_shape) != 2:
        refuse(layer, f"works on rows of shape {shapes['query']}", "Use rows of steps by channels.")
    sources = {name: call.sources[places[name]] for name in names}
    sources.setdefault("key", sources["value"])
    heads = _projected(call, sources)
    counts = _counts(call, (shapes["query"][0], shapes["value"][0]))
    found = _attended(call, heads["query"], heads["key"], heads["value"], counts)
    kernel = weight(layer._output_dense, "kernel")
    flat = kernel.reshape(-1, kernel.shape[-1])
    joined = NewShape(call.name, (shapes["query"][0], len(flat)))
    return call.apply(Order(call.name, (1, 0, 2)), joined, _affine(call, layer._output_dense, flat), source=found)


def _projected(call: Call, sources: dict[str, int]) -> dict[str, int]:
    """Query, key and value as (heads, steps, channels); those of one value come from one matrix product."""
    parts = {name: getattr(call.layer, f"_{name}_dense") for name in ("query", "key", "value")}
    kernels = {name: weight(part, "kernel") for name, part in parts.items()}
    found: dict[str, int] = {}
    for source in dict.fromkeys(sources[name] for name in parts):
        names = [name for name in parts if sources[name] == source]
        flat = [_affine(call, parts[name], kernels[name].reshape(len(kernels[name]), -1)) for name in names]
        # Scores are products of queries and keys over the root of their length.
        factors = [kernels[name].shape[-1] ** -0.5 if name == "query" else 1.0 for name in names]
        kernel = np.concatenate([each.kernel * factor for each, factor in zip(flat, factors, strict=True)], axis=1)
        bias = np.concatenate([each.bias * factor for each, factor in zip(flat, factors, strict=True)])
        value = call.apply(Affine(call.name, kernel, bias, biased=flat[0].biased), source=source)
        start, width = 0, kernel.shape[1]
        for name in names:
            heads, channels = kernels[name].shape[1:]
            end = start + heads * channels
            steps = call.input_shapes[call.sources.index(source)][0]
            taken = [] if end - start == width else [Places(call.name, 1, tuple(range(start, end)))]
            apart = NewShape(call.name, (steps, heads, channels))
            found[name] = call.apply(*taken, apart, Order(call.name, (1, 0, 2)), source=value)
            start = end
    return found


def _affine(call: Call, part: Any, kernel: Floats) -> Affine:
    """A part of the layer as a matrix product."""
    used = getattr(part, "bias", None) is not None
    offset = weight(part, "bias").reshape(-1) if used else np.zeros(kernel.shape[1])
    return Affine(call.name, kernel, offset, biased=used)


def _attended(call: Call, query: int, key: int, value: int, counts: tuple[bool, ...] | None) -> int:
    """The mean of values, weighed by a softmax of the products of queries and keys."""
    rank = 2 if len(call.graph.shape_of(query, call.sources, call.input_shapes)) == 2 else 3
    turn = Order(call.name, (*range(rank - 2), rank - 1, rank - 2))
    scores = call.graph.add(Times(call.name, matrices=True), query, call.apply(turn, source=key))
    shares = call.apply(Softmax(call.name, counts), source=scores)
    return call.graph.add(Times(call.name, matrices=True, known=Known(average=True)), shares, value)


def _counts(call: Call, shape: Shape) -> tuple[bool, ...] | None:
    """Which step sees which, row after row; None where all see all."""
    found = np.ones(shape, bool)
    mask = call.options.get("attention_mask")
    if mask is not None:
        array = np.asarray(mask).astype(bool)
        if array.ndim < 2 or array.size != math.prod(array.shape[-2:]):
            refuse(call.layer, f"has an attention_mask of shape {array.shape}", "Use one mask for all rows and heads.")
        found = found & array.reshape(array.shape[-2:])
    if call.options.get("use_causal_mask"):
        found = np.tril(found)
    if not found.any(axis=1).all():
        refuse(call.layer, "has a mask that lets a step see nothing", "Let every step see one step at least.")
    return None if found.all() else tuple(map(bool, found.reshape(-1)))


def _refuse_options(call: Call, masks: Sequence[str]) -> None:
    """What would need a secret mask, or gives two values."""
    for name in (*masks, "attention_mask"):
        if _symbolic(call.options.get(name)):
            refuse(call.layer, f"is called with {name} from the network", "Use use_causal_mask, or a fixed mask.")
        if name in masks and call.options.get(name) is not None:
            refuse(call.layer, f"is called with {name}", "Leave it out, and pad with steps of their own.")
    if call.options.get("return_attention_scores"):
        refuse(call.layer, "is called with return_attention_scores=True", "Leave it out: the scores stay secret.")


def _symbolic(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_symbolic, value))
    return isinstance(value, Symbol)


def _operands(call: Call) -> dict[str, int]:
    """Which of the call's values is query, value and key: those without names come first."""
    given = dict(zip(("query", "value", "key"), call.arguments, strict=False)) | dict(call.options)
    return {name: symbol.place for name, symbol in given.items() if isinstance(symbol, Symbol)}
