"""A PyTorch module, traced by torch.fx, -> its Program and its weights.

As keras_import.py, this file knows its framework by what the objects are, and imports it only when a module is given.
Images are channels first in PyTorch: a convolution is put between two changes of axes, which folding takes out again.
Modules are taken as they are in eval mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from syfr.errors import InputTypeError, UnsupportedLayerError
from syfr.importing.elements import Curved, Relu, Softmax, Sum
from syfr.importing.graph import Answer, Graph, Operation
from syfr.importing.keras_import import Imported
from syfr.importing.lowering import lower
from syfr.importing.operations import Affine, Floats, Scale, average_pooling
from syfr.importing.places import MaxPool, NewShape, Order
from syfr.program import Program
from syfr.ring.fixedpoint import Precision
from syfr.steps import Geometry, Shape

BATCH = object()
"""Stands for the number of rows where a module asks for it."""

CURVES = {"sigmoid": "sigmoid", "tanh": "tanh", "softplus": "softplus", "gelu": "gelu", "silu": "silu", "elu": "elu"}
IGNORED = ("dropout", "dropout2d", "identity", "contiguous", "float")
"""Nothing in a prediction."""

SOFTMAX = ("softmax", "log_softmax", "logsoftmax")
"""At the end only a change of scale, which the order of classes does not notice; a softmax may stand inside too."""


def import_module(module: Any, input_shape: Shape, input_range: tuple[float, float]) -> Imported:
    """The Program of a module for rows of a shape; its softmax, at the end, is left out.

    Raises:
        InputTypeError: this is not a torch.nn.Module.
        UnsupportedLayerError: it cannot be traced, or does what cannot be computed privately.
    """
    if not any(base.__name__ == "Module" and base.__module__.startswith("torch.nn") for base in type(module).__mro__):
        raise InputTypeError(f"An object of class {type(module).__name__} is not a torch.nn.Module.")
    import torch.fx

    try:
        traced = torch.fx.symbolic_trace(module)
    except Exception as error:
        raise UnsupportedLayerError(
            f"{type(module).__name__} cannot be traced by torch.fx ({error}). Write forward() without branches on data."
        ) from error
    graph = Graph(input_shape)
    _Reader(graph, dict(traced.named_modules())).read(traced.graph.nodes)
    precision = Precision()
    empty = Program(input_shape, (), precision, input_range)
    steps, weights, known = lower(graph, precision, empty.input_scale)
    program = Program(input_shape, tuple(steps), precision, input_range)
    program.check()
    return Imported(program, weights, known)


class _Reader:
    """Makes the nodes of a graph from those of torch.fx."""

    def __init__(self, graph: Graph, modules: dict[str, Any]) -> None:
        self._graph, self._modules = graph, modules
        self._values: dict[str, Any] = {}
        self._only_ends: dict[int, str] = {}

    def read(self, nodes: Any) -> None:
        """All nodes, in order."""
        for node in nodes:
            if node.op == "placeholder":
                self._values[node.name] = 0
            elif node.op == "output":
                self._graph.answers = [Answer(self._end(self._value(node.args[0])))]
                self._refuse_inside()
            elif node.op == "call_module":
                layer = self._modules[node.target]
                kind = type(layer).__name__.lower()
                self._values[node.name] = self._module(node.target, kind, layer, self._value(node.args[0]))
            else:
                name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")
                self._values[node.name] = self._function(node.name, str(name), node.args, dict(node.kwargs))

    def _value(self, argument: Any) -> Any:
        if isinstance(argument, (list, tuple)):
            return [self._value(one) for one in argument]
        return self._values.get(getattr(argument, "name", ""), argument)

    def _shape(self, value: int) -> Shape:
        return self._graph.shape_of(value, [], [])

    def _add(self, value: int, *operations: Operation) -> int:
        return self._graph.chain(operations, value)

    # ---- modules ----

    def _module(self, name: str, kind: str, layer: Any, value: int) -> int:
        if kind == "linear":
            kernel = _numbers(layer.weight).T
            return self._add(value, Affine(name, np.ascontiguousarray(kernel), _bias(layer, kernel.shape[1])))
        if kind == "conv2d":
            return self._conv(name, layer, value)
        if kind in ("batchnorm1d", "batchnorm2d"):
            factor = _numbers(layer.weight) / np.sqrt(_numbers(layer.running_var) + layer.eps)
            offset = _numbers(layer.bias) - _numbers(layer.running_mean) * factor
            return self._on_last(name, value, [Scale(name, factor, offset)])
        if kind in ("maxpool2d", "avgpool2d"):
            return self._pool(name, kind, value, layer.kernel_size, layer.stride, layer.padding)
        if kind == "flatten":
            return self._add(value, NewShape(name, (math.prod(self._shape(value)),)))
        if kind in SOFTMAX:
            return self._softmax(name, kind, value, layer.dim)
        found: int = self._function(name, kind, [value], {})
        return found

    def _on_last(self, name: str, value: int, operations: Sequence[Operation]) -> int:
        """Operations on images with the channels last, or on rows as they are."""
        if len(self._shape(value)) != 3:
            return self._add(value, *operations)
        last = Order(name, (1, 2, 0))
        return self._add(value, last, *operations, last.inverse)

    def _conv(self, name: str, layer: Any, value: int) -> int:
        kernel = np.ascontiguousarray(_numbers(layer.weight).transpose(2, 3, 1, 0))
        if not isinstance(layer.padding, (int, tuple)) or layer.padding_mode != "zeros":
            raise UnsupportedLayerError(f"Layer '{name}' (Conv2d) uses padding={layer.padding!r}. Give whole numbers.")
        height, width = _two(layer.padding)
        geometry = Geometry(
            _two(layer.stride), ((height, height), (width, width)), _two(layer.dilation), int(layer.groups)
        )
        return self._on_last(name, value, [Affine(name, kernel, _bias(layer, kernel.shape[3]), geometry)])

    def _pool(self, name: str, kind: str, value: int, size: Any, stride: Any, padding: Any) -> int:
        window, strides, (height, width) = _two(size), _two(stride or size), _two(padding or 0)
        if kind.startswith("max"):
            geometry = Geometry(strides, ((height, height), (width, width)))
            return self._on_last(name, value, [MaxPool(name, window, geometry)])
        if height or width:
            raise UnsupportedLayerError(f"Layer '{name}' ({kind}) uses padding={padding!r}. Use padding=0.")
        return self._on_last(name, value, [average_pooling(name, window, strides, self._shape(value)[0])])

    # ---- functions and methods ----

    def _function(self, name: str, kind: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        kind = kind.lower().rstrip("_")
        value, *rest = [self._value(argument) for argument in args]
        if kind in ("size", "shape", "getattr"):
            return BATCH
        if kind == "getitem" and value is BATCH:
            return BATCH
        if kind in ("relu", "relu6"):
            return self._add(value, Relu(name)) if kind == "relu" else self._curve(name, "relu6", value)
        if kind in CURVES:
            return self._curve(name, CURVES[kind], value)
        if kind in IGNORED:
            return value
        if kind in SOFTMAX:
            return self._softmax(name, kind, value, kwargs.get("dim", rest[0] if rest else None))
        if kind in ("view", "reshape", "flatten"):
            return self._reshaped(name, kind, value, rest)
        if kind in ("max_pool2d", "avg_pool2d"):
            given = dict(zip(_POOLING, rest, strict=False)) | kwargs
            return self._pool(name, kind, value, *(given.get(key) for key in _POOLING))
        if kind in ("add", "sub") and rest and isinstance(rest[0], int):
            return self._graph.add(Sum(name, (1.0, 1.0 if kind == "add" else -1.0)), value, rest[0])
        raise UnsupportedLayerError(
            f"'{name}' calls {kind}(), which cannot be computed privately. Supported are {', '.join(_SUPPORTED)}."
        )

    def _softmax(self, name: str, kind: str, value: int, axis: Any) -> int:
        found = self._add(value, Softmax(name))
        if kind != "softmax" or axis not in (-1, len(self._shape(value))):
            self._only_ends[found] = f"'{name}' calls {kind}() over axis {axis}"
        return found

    def _end(self, value: int) -> int:
        """What a softmax at the end reads."""
        node = self._graph.nodes.get(value)
        return value if node is None or not isinstance(node.operation, Softmax) else node.sources[0]

    def _refuse_inside(self) -> None:
        for value in self._graph.order():
            if value in self._only_ends:
                raise UnsupportedLayerError(
                    f"{self._only_ends[value]} inside the network. Use softmax() over the last axis, or end with it."
                )

    def _curve(self, name: str, curve: str, value: int) -> int:
        return self._add(value, Curved(name, curve))

    def _reshaped(self, name: str, kind: str, value: int, rest: Sequence[Any]) -> int:
        total = math.prod(self._shape(value))
        sizes = list(rest[0] if rest and isinstance(rest[0], list) else rest)
        if kind == "flatten":
            sizes = [BATCH, total]
        wanted = [size for size in sizes[1:] if size != -1]
        if not sizes or (sizes[0] is not BATCH and sizes[0] != -1) or not all(type(size) is int for size in wanted):
            raise UnsupportedLayerError(f"'{name}' reshapes the rows themselves. Keep them as the first axis, with -1.")
        known = math.prod(wanted)
        shape = tuple(total // known if size == -1 else size for size in sizes[1:])
        if math.prod(shape) != total:
            raise UnsupportedLayerError(f"'{name}' reshapes rows of {total} numbers to {shape}; the sizes do not fit.")
        return self._add(value, NewShape(name, shape))


_POOLING = ("kernel_size", "stride", "padding")
_MODULES = ("Linear", "Conv2d", "BatchNorm1d", "BatchNorm2d", "MaxPool2d", "AvgPool2d")
_SUPPORTED = (*_MODULES, "relu", "relu6", *CURVES, "softmax", "view", "reshape", "flatten", "add", "sub")

def _numbers(parameter: Any) -> Floats:
    return np.asarray(parameter.detach().cpu().numpy(), np.float64)


def _bias(layer: Any, channels: int) -> Floats:
    return np.zeros(channels) if layer.bias is None else _numbers(layer.bias)


def _two(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)
