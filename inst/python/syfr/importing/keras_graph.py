"""From Keras's own graph of a model to a graph of operations.

Both generations of Keras keep the history of every symbolic tensor: the layer that made it and the call it was made by.
The outputs of a model are followed back along it. Models inside models are opened, and so is a layer or model whose own
call() is made of layers: it is called once more, on the symbolic tensors, which lays its inside open.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from syfr.importing.calls import Call, KerasObject, Symbol, keras_class, keras_module, keras_name, refuse
from syfr.importing.folding import fold
from syfr.importing.graph import Answer, Graph
from syfr.importing.keras_layers import WHOLE, convert
from syfr.importing.layers_recurrent import repeated
from syfr.steps import Shape

Key = tuple[int, int, int]
"""A symbolic tensor: which layer made it, in which of its calls, and as which of the call's results."""


def is_model(layer: KerasObject) -> bool:
    """Whether an object is a model of either Keras."""
    return any(cls.__name__ == "Model" and keras_class(cls) is cls for cls in type(layer).__mro__)


def ends(model: KerasObject) -> tuple[list[Any], list[Any], Any, Any]:
    """The symbolic inputs and outputs of a model, and the structures of them that predict() takes and returns."""
    if keras_name(model) not in ("Sequential", "Functional", "Model"):
        return _traced(model)
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs = outputs = None
    if not inputs or not outputs:
        refuse(
            model,
            "has no symbolic input and output",
            "Build it with an Input layer or input_shape, or call it once on a batch before it is shared.",
        )
    return list(inputs), list(outputs), _structure(model, "inputs"), _structure(model, "outputs")


def _structure(model: KerasObject, ends: str) -> Any:
    """Lists or dictionaries of tensors, as the model was made with; only Functional models remember them."""
    found = getattr(model, f"_{ends}_struct", None)
    return getattr(model, f"_nested_{ends}", None) if found is None else found


def _traced(model: KerasObject) -> tuple[list[Any], list[Any], Any, Any]:
    """A model whose call() is the user's: called on symbolic inputs of the shape that it has seen."""
    shape = _seen_shape(model)
    module = keras_module(model)
    if shape is None or module is None:
        refuse(
            model,
            "defines its own call() and has not been called yet",
            "Call it once on a batch, say model(x), before it is shared.",
        )
    inputs = _inputs(module, shape)
    outputs = run_call(model, (inputs,), {})
    return leaves(inputs), leaves(outputs), inputs, outputs


def _seen_shape(model: KerasObject) -> Any:
    """The shape of the batches that a model was built for, batch axis first, or several of them."""
    spec = getattr(model, "save_spec", lambda: None)()
    if spec:
        return _shapes_of(spec[0][0])
    shapes = getattr(model, "_build_shapes_dict", None)
    if shapes and len(shapes) == 1:
        return next(iter(shapes.values()))
    return getattr(model, "_build_input_shape", None)


def _shapes_of(spec: Any) -> Any:
    if isinstance(spec, Mapping):
        return {key: _shapes_of(value) for key, value in spec.items()}
    if isinstance(spec, (list, tuple)):
        return [_shapes_of(value) for value in spec]
    return tuple(spec.shape)


def _inputs(module: Any, shape: Any) -> Any:
    if isinstance(shape, Mapping):
        return {key: _inputs(module, value) for key, value in shape.items()}
    sizes = list(shape)
    if any(isinstance(size, (list, tuple)) for size in sizes):
        return [_inputs(module, size) for size in sizes]
    return module.Input(tuple(None if size is None else int(size) for size in sizes[1:]))


def run_call(layer: KerasObject, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What the user's call() gives for symbolic tensors, which remember the layers inside."""
    keywords = dict(options)
    if "training" in inspect.signature(layer.call).parameters:
        keywords["training"] = False
    try:
        return layer.call(*arguments, **keywords)
    except Exception as error:
        refuse(
            layer,
            f"has a call() that Keras cannot follow ({type(error).__name__})",
            "Write it with Keras's own layers and operations, or build the model with keras.Sequential or keras.Model.",
        )


def leaves(structure: Any) -> list[Any]:
    """The tensors of a structure in the order that Keras has them in."""
    if isinstance(structure, Mapping):
        return [leaf for key in sorted(structure) for leaf in leaves(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for value in structure for leaf in leaves(value)]
    return [structure]


def names_of(structure: Any, count: int) -> list[str]:
    """The names that predict() gives to outputs: those of a dictionary, else none."""
    return [str(key) for key in sorted(structure)] if isinstance(structure, Mapping) else [""] * count


def row_of(tensor: Any, layer: KerasObject) -> Shape:
    """The shape of one row of a symbolic tensor."""
    shape = tuple(tensor.shape)[1:]
    if not shape or any(size is None for size in shape):
        refuse(
            layer,
            f"works on rows of shape {shape}",
            "Every size but the batch's must be fixed; give the Input layer a full shape.",
        )
    return tuple(int(size) for size in shape)


class Reader:
    """Follows tensors back through one model to the values that its inputs have."""

    def __init__(self, graph: Graph, model: KerasObject, inputs: Sequence[Any], values: Sequence[int]) -> None:
        self.graph, self.model = graph, model
        self.known = {_key(tensor): value for tensor, value in zip(inputs, values, strict=True)}
        self.opened: dict[tuple[int, int], list[Any]] = {}

    def value(self, tensor: Any) -> int:
        """The value of a tensor, with all that it needs."""
        waiting = [tensor]
        while waiting:
            needed = [other for other in self._needs(waiting[-1]) if _key(other) not in self.known]
            if needed:
                waiting.extend(reversed(needed))
            else:
                self._convert(waiting.pop())
        return self.known[_key(tensor)]

    def _needs(self, tensor: Any) -> list[Any]:
        """The tensors whose values must be known before this one's."""
        if _key(tensor) in self.known:
            return []
        layer, place, which = tensor._keras_history[:3]
        node = layer._inbound_nodes[place]
        sources = _sources(node)
        if not sources:
            refuse(self.model, f"needs '{layer.name}', which is not among its inputs", "Give every input to the model.")
        if not _opens(layer) or any(_key(source) not in self.known for source in sources):
            return sources
        number = (id(layer), place)
        if number not in self.opened:
            self.opened[number] = leaves(run_call(layer, *_arguments(node)))
        return [self.opened[number][which]]

    def _convert(self, tensor: Any) -> None:
        if _key(tensor) in self.known:
            return
        layer, place, which = tensor._keras_history[:3]
        node = layer._inbound_nodes[place]
        opened = self.opened.get((id(layer), place))
        if opened is not None:
            self.known[_key(tensor)] = self.known[_key(opened[which])]
            return
        if _trains_always(node):
            refuse(layer, "is called with training=True", "Call it without the argument.")
        sources = _sources(node)
        values = [self.known[_key(source)] for source in sources]
        if is_model(layer):
            inputs, outputs, _, _ = ends(layer)
            inner = Reader(self.graph, layer, inputs, values)
            for number, output in enumerate(outputs):
                self.known[(id(layer), place, number)] = inner.value(output)
            return
        arguments, options = _symbols(_arguments(node), sources)
        shapes = tuple(row_of(source, layer) for source in sources)
        call = Call(layer, self.graph, tuple(values), shapes, row_of(tensor, layer), arguments, options)
        found = each_time(call) if keras_name(layer) == "TimeDistributed" else convert(call, which)
        self.known.update({(id(layer), place, number): value for number, value in enumerate(found)})


def each_time(call: Call) -> tuple[int, ...]:
    """A layer or model at every time alike: what it does once, folded, and then repeated with the same weights."""
    inner, shape = call.layer.layer, call.input_shape[1:]
    if call.options.get("mask") is not None:
        refuse(call.layer, "is called with a mask", "Leave the mask out.")
    if type(inner).__name__ in WHOLE:
        return convert(replace(call, layer=inner))
    symbol = _inputs(keras_module(call.layer), (None, *shape))
    outputs = leaves(inner(symbol))
    if len(outputs) > 1:
        refuse(call.layer, "wraps a layer with several outputs", "Wrap one with a single output.")
    once = Graph(shape)
    once.answers = [Answer(Reader(once, call.layer, [symbol], [0]).value(outputs[0]))]
    fold(once)
    return (repeated(call, once),)


def _opens(layer: KerasObject) -> bool:
    """Whether a layer has a call() of the user's own, made of other layers."""
    inner = getattr(layer, "_flatten_layers", None)
    return keras_class(type(layer)) is None and inner is not None and sum(1 for _ in inner()) > 1


def _key(tensor: Any) -> Key:
    layer, place, which = tensor._keras_history[:3]
    return id(layer), int(place), int(which)


def _sources(node: KerasObject) -> list[Any]:
    """The tensors that a call read: Keras 2 keeps them flat as keras_inputs, Keras 3 as input_tensors."""
    return list(getattr(node, "keras_inputs", None) or node.input_tensors)


def _arguments(node: KerasObject) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """What a call was given."""
    given = getattr(node, "arguments", None)
    if given is not None:
        return given.args, given.kwargs
    return getattr(node, "call_args", ()), getattr(node, "call_kwargs", {})


def _symbols(
    given: tuple[Sequence[Any], Mapping[str, Any]], sources: Sequence[Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same with a Symbol for every symbolic tensor."""
    arguments, options = given
    places = {_key(source): place for place, source in enumerate(sources)}
    return (
        tuple(_symbol(value, places) for value in arguments),
        {name: _symbol(value, places) for name, value in options.items()},
    )


def _symbol(value: Any, places: Mapping[Key, int]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_symbol(item, places) for item in value]
    return Symbol(places[_key(value)]) if hasattr(value, "_keras_history") else value


def _trains_always(node: KerasObject) -> bool:
    """Whether predict() too runs the call in training mode: in Keras 2 the argument stays, in Keras 3 it does not."""
    return bool(getattr(node, "call_kwargs", {}).get("training"))
