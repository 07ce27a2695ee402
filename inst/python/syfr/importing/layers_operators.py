"""Operations that a model applies outside of layers: ``x + y``, ``2 * x``, ``keras.ops.relu(x)``, ``tf.nn.relu(x)``.

Keras 3 has a class for each, Keras 2 a layer that wraps TensorFlow's function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from syfr.importing import layers_merge
from syfr.importing.calls import Call, KerasObject, Symbol, refuse, scaled
from syfr.importing.elements import Bend, Curved
from syfr.importing.layers_activations import named, softmax_over
from syfr.importing.operations import Floats, Scale
from syfr.importing.places import Join, NewShape

Operator = Callable[[Call], int]


def operator_name(layer: KerasObject) -> str | None:
    """The function that a layer of Keras 2 wraps; None for an ordinary layer, and for an operation of Keras 3."""
    if type(layer).__name__ not in ("TFOpLambda", "SlicingOpLambda"):
        return None
    symbol = str(getattr(layer, "symbol", type(layer).__name__)).split(".")[-1]
    return _OLD_NAMES.get(symbol, symbol)


_OLD_NAMES = {
    "add": "Add",
    "subtract": "Subtract",
    "multiply": "Multiply",
    "truediv": "TrueDivide",
    "divide": "TrueDivide",
    "negative": "Negative",
    "neg": "Negative",
    "maximum": "Maximum",
    "minimum": "Minimum",
    "reshape": "Reshape",
    "concat": "Concatenate",
    "relu": "Relu",
    "relu6": "Relu6",
    "leaky_relu": "LeakyRelu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softplus": "Softplus",
    "elu": "Elu",
    "gelu": "Gelu",
    "silu": "Silu",
    "swish": "Silu",
    "softmax": "Softmax",
}


def _both(call: Call) -> tuple[Any, Any]:
    """The two operands, of which at least one is a value."""
    given = [*call.arguments, *(call.options[key] for key in ("x1", "x2", "x", "y") if key in call.options)]
    if len(given) < 2:
        refuse(call.layer, "has one operand", "Give it two.")
    return given[0], given[1]


def _constant(call: Call, operand: Any) -> Floats:
    if hasattr(operand, "assign"):
        refuse(call.layer, "works with a weight outside of a layer", "Put it into a layer: a Dense, a Normalization.")
    array = np.asarray(operand, np.float64)
    if not np.isfinite(array).all():
        refuse(call.layer, "works with a number that is not finite", "Give finite numbers.")
    return array


def _plus(call: Call, sign: float) -> int:
    first, second = _both(call)
    if isinstance(first, Symbol) and isinstance(second, Symbol):
        return layers_merge.add(call) if sign > 0 else layers_merge.subtract(call)
    if isinstance(first, Symbol):
        one, constant = np.ones(1), sign * _constant(call, second)
    else:
        one, constant = np.full(1, sign), _constant(call, first)
    return call.apply(*scaled(call, one, constant))


def _times(call: Call) -> int:
    first, second = _both(call)
    if isinstance(first, Symbol) and isinstance(second, Symbol):
        return layers_merge.multiply(call)
    return _factor(call, _constant(call, second if isinstance(first, Symbol) else first))


def _divided(call: Call) -> int:
    first, second = _both(call)
    if not isinstance(first, Symbol) or isinstance(second, Symbol):
        refuse(call.layer, "divides by a value of the network", "Divide by a constant.")
    divisor = _constant(call, second)
    if not divisor.all():
        refuse(call.layer, "divides by zero", "Divide by another constant.")
    return _factor(call, 1.0 / divisor)


def _negative(call: Call) -> int:
    return _factor(call, np.full(1, -1.0))


def _factor(call: Call, factor: Floats) -> int:
    """A factor that the model's code names, which the layer after or before it takes in."""
    if factor.size > 1:
        return call.apply(*scaled(call, factor, np.zeros(1), biased=False))
    channels = call.input_shape[-1]
    numbers = np.full(channels, float(factor.flat[0]))
    return call.apply(Scale(call.name, numbers, np.zeros(channels), biased=False, uniform=True, public=True))


def _extreme(call: Call, sign: float) -> int:
    first, second = _both(call)
    if isinstance(first, Symbol) and isinstance(second, Symbol):
        return layers_merge.maximum(call, sign)
    bound = _constant(call, second if isinstance(first, Symbol) else first)
    if bound.size != 1:
        refuse(call.layer, "compares with an array", "Compare with one number.")
    knot = float(bound.flat[0])
    # max(x, b) = b + max(0, x - b), and min(x, b) = x - max(0, x - b)
    slope, constant = (0.0, knot) if sign > 0 else (1.0, 0.0)
    return call.apply(Bend(call.name, (knot,), (sign,), slope, constant))


def _joined(call: Call) -> int:
    axis = getattr(call.layer, "axis", call.options.get("axis", call.arguments[-1] if len(call.arguments) > 1 else -1))
    rank = len(call.output_shape)
    place = int(axis) % (rank + 1) - 1
    if place < 0:
        refuse(call.layer, "joins along the batch", "Join along another axis.")
    return call.graph.add(Join(call.name, place), *call.sources)


def _option(call: Call, *names: str, default: float) -> float:
    """The parameter of a function, which is its second one where no name is given."""
    for name in names:
        if name in call.options:
            return float(call.options[name])
        if hasattr(call.layer, name):
            return float(getattr(call.layer, name))
    return float(call.arguments[1]) if len(call.arguments) > 1 else default


def _leaky(call: Call) -> int:
    slope = _option(call, "negative_slope", "alpha", default=0.2)
    return call.apply(Bend(call.name, (0.0,), (1.0 - slope,), slope))


def _elu(call: Call) -> int:
    return call.apply(Curved(call.name, "elu", (("alpha", _option(call, "alpha", default=1.0)),)))


def _gelu(call: Call) -> int:
    approximate = _option(call, "approximate", default=0.0)
    return call.apply(Curved(call.name, "gelu", (("approximate", approximate),)))


def _softmax(call: Call) -> int:
    return softmax_over(call, int(_option(call, "axis", default=-1)))


def _function(name: str) -> Operator:
    return lambda call: named(replace(call, options={}), name)


OPERATORS: dict[str, Operator] = {
    "Add": lambda call: _plus(call, 1.0),
    "Subtract": lambda call: _plus(call, -1.0),
    "Multiply": _times,
    "TrueDivide": _divided,
    "Divide": _divided,
    "Negative": _negative,
    "Maximum": lambda call: _extreme(call, 1.0),
    "Minimum": lambda call: _extreme(call, -1.0),
    "Reshape": lambda call: call.apply(NewShape(call.name, call.output_shape)),
    "Concatenate": _joined,
    "LeakyRelu": _leaky,
    "Elu": _elu,
    "Gelu": _gelu,
    "Softmax": _softmax,
    **{
        name: _function(function)
        for name, function in {
            "Relu": "relu",
            "Relu6": "relu6",
            "Sigmoid": "sigmoid",
            "Tanh": "tanh",
            "Softplus": "softplus",
            "Silu": "silu",
            "HardSigmoid": "hard_sigmoid",
            "HardSilu": "hard_silu",
            "HardTanh": "hard_tanh",
            "Selu": "selu",
            "Mish": "mish",
            "Softsign": "softsign",
            "LogSigmoid": "log_sigmoid",
        }.items()
    },
}
"""What each operation becomes, by the name of its class in Keras 3."""
