"""Activations: as an argument of a layer, by the name of Keras's function, and as layers of their own.

What is linear between a few knots is computed exactly. Smooth functions are approximated by curves.py; a softmax
or a sigmoid that ends a model is exact: the client computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from syfr.importing.calls import ROOTS, Call, KerasObject, axes_last, is_keras3, refuse, scaled, weight
from syfr.importing.elements import Bend, Curved, Jump, Relu, Softmax, Sum

Activation = Callable[[Call], int]
"""From a call, of whichever layer, on one value to the value of the function."""


def activated(call: Call, value: int, where: str = "activation") -> int:
    """The activation that a layer has as an argument, on a value that it has computed."""
    function = getattr(call.layer, where, None)
    if function is None:
        return value
    inner = call.on(value, call.output_shape)
    if any(base.__name__ == "Layer" and base.__module__.split(".")[0] in ROOTS for base in type(function).__mro__):
        return _layer_as_function(inner, function, where)
    name = getattr(function, "__name__", type(function).__name__)
    if str(getattr(function, "__module__", "")).split(".")[0] not in (*ROOTS, "tensorflow"):
        refuse(
            call.layer,
            f"uses {where}={name}, a function that is not Keras's own",
            f"Use one of Keras's: {_known()}.",
        )
    return named(inner, name, where)


def named(call: Call, name: str, where: str = "activation") -> int:
    """A function of Keras's by its name."""
    if name not in FUNCTIONS:
        refuse(call.layer, f"uses {where}={name}", f"Supported are {_known()}.")
    return FUNCTIONS[name](call)


def _known() -> str:
    return ", ".join(sorted(FUNCTIONS))


def _layer_as_function(call: Call, layer: KerasObject, where: str) -> int:
    found = LAYERS.get(type(layer).__name__)
    if found is None:
        refuse(call.layer, f"uses {where}={type(layer).__name__}", "Add it as a layer of its own.")
    return found(Call(layer, call.graph, call.sources, call.input_shapes, call.output_shape))


# ---- functions ----


def _linear(call: Call) -> int:
    return call.sources[0]


def _relu(call: Call) -> int:
    return call.apply(Relu(call.name))


def _bend(*knots: float, factors: tuple[float, ...], slope: float = 0.0, constant: float = 0.0) -> Activation:
    return lambda call: call.apply(Bend(call.name, knots, factors, slope, constant))


def _curve(name: str, **parameters: float) -> Activation:
    return lambda call: call.apply(Curved(call.name, name, tuple(parameters.items())))


def _softmax(call: Call) -> int:
    return call.apply(Softmax(call.name))


def _hard_sigmoid(call: Call) -> int:
    """Two different functions of the same name in Keras 2 and 3."""
    if is_keras3(call.layer):
        return call.apply(Bend(call.name, (-3.0, 3.0), (1 / 6, -1 / 6)))
    return call.apply(Bend(call.name, (-2.5, 2.5), (0.2, -0.2)))


def _leaky(slope: float) -> Activation:
    return lambda call: call.apply(Bend(call.name, (0.0,), (1.0 - slope,), slope))


FUNCTIONS: dict[str, Activation] = {
    "linear": _linear,
    "relu": _relu,
    "relu6": _bend(0.0, 6.0, factors=(1.0, -1.0)),
    "leaky_relu": _leaky(0.2),
    "hard_sigmoid": _hard_sigmoid,
    "hard_tanh": _bend(-1.0, 1.0, factors=(1.0, -1.0), constant=-1.0),
    "hard_silu": _curve("hard_silu"),
    "hard_swish": _curve("hard_silu"),
    "sigmoid": _curve("sigmoid"),
    "tanh": _curve("tanh"),
    "softplus": _curve("softplus"),
    "elu": _curve("elu"),
    "selu": _curve("selu"),
    "gelu": _curve("gelu"),
    "silu": _curve("silu"),
    "celu": _curve("celu"),
    "mish": _curve("mish"),
    "softsign": _curve("softsign"),
    "log_sigmoid": _curve("log_sigmoid"),
    "swish": _curve("silu"),
    "softmax": _softmax,
}


# ---- layers ----


def activation_layer(call: Call) -> int:
    """Activation."""
    return activated(call, call.sources[0])


def relu_layer(call: Call) -> int:
    """ReLU with a largest value, a threshold and a slope below it: x only above the threshold, where it may jump."""
    layer = call.layer
    largest = None if layer.max_value is None else float(layer.max_value)
    threshold, slope = float(layer.threshold), float(layer.negative_slope)
    if largest is not None and largest <= threshold:
        refuse(layer, f"uses max_value={largest:g}, which is not above threshold={threshold:g}", "Raise max_value.")
    if largest is None and threshold == 0.0 and slope == 0.0:
        return _relu(call)
    knots, factors = (threshold,), (1.0 - slope,)
    if largest is not None:
        knots, factors = (threshold, largest), (1.0 - slope, -1.0)  # type: ignore[assignment]
    bent = call.apply(Bend(call.name, knots, factors, slope, -slope * threshold))
    if threshold == 0.0:
        return bent
    jump = call.apply(Jump(call.name, threshold, threshold))
    return call.graph.add(Sum(call.name, (1.0, 1.0)), bent, jump)


def _thresholded_relu(call: Call) -> int:
    threshold = float(call.layer.theta)
    bent = call.apply(Bend(call.name, (threshold,), (1.0,)))
    return call.graph.add(Sum(call.name, (1.0, 1.0)), bent, call.apply(Jump(call.name, threshold, threshold)))


def leaky_relu_layer(call: Call) -> int:
    """LeakyReLU, whose slope is called alpha in Keras 2."""
    slope = getattr(call.layer, "negative_slope", None)
    return _leaky(float(np.asarray(call.layer.alpha if slope is None else slope)))(call)


def prelu(call: Call) -> int:
    """PReLU: relu(x) + alpha·(x - relu(x)), alpha a weight."""
    alpha = weight(call.layer, "alpha")
    above = call.apply(Relu(call.name))
    below = call.graph.add(Sum(call.name, (1.0, -1.0)), call.sources[0], above)
    operations = scaled(call, alpha, np.zeros_like(alpha), biased=False)
    return call.graph.add(Sum(call.name, (1.0, 1.0)), call.apply(*operations, source=below), above)


def elu_layer(call: Call) -> int:
    """ELU."""
    alpha = float(np.asarray(call.layer.alpha))
    return call.apply(Curved(call.name, "elu", (("alpha", alpha),)))


def softmax_layer(call: Call) -> int:
    """Softmax, over any axes but the batch's."""
    if call.options.get("mask") is not None or len(call.arguments) > 1:
        refuse(call.layer, "is called with a mask", "Call it without one.")
    return softmax_over(call, call.layer.axis)


def softmax_over(call: Call, axis: Any) -> int:
    """A softmax over an axis or several, which count from the batch's."""
    before, after = axes_last(call, axis)
    return call.apply(*before, Softmax(call.name), *after)


LAYERS: dict[str, Activation] = {
    "Activation": activation_layer,
    "ReLU": relu_layer,
    "LeakyReLU": leaky_relu_layer,
    "PReLU": prelu,
    "ELU": elu_layer,
    "ThresholdedReLU": _thresholded_relu,
    "Softmax": softmax_layer,
}
