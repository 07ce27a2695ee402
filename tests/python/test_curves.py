"""Activation functions as piecewise linear ones: how close they come, and that they are exact far from 0."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from syfr.errors import ValueRangeError
from syfr.importing.curves import FINE, PROMISED, Curve, curve, evaluate
from syfr.importing.polyline import Tube, corners
from syfr.program import Program
from syfr.steps import MAX_KNOTS, Combine, Signs

Floats = NDArray[np.float64]
Parameters = dict[str, float]

UNIT = 2.0**-14
FAR = 8192.0


def exp(x: Floats) -> Floats:
    return np.exp(np.minimum(x, 700.0))


def sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + exp(-x))


def softplus(x: Floats) -> Floats:
    return np.maximum(x, 0.0) + np.log1p(exp(-np.abs(x)))


def gelu(x: Floats) -> Floats:
    return np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def gelu_tanh(x: Floats) -> Floats:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def elu(x: Floats, alpha: float = 1.0) -> Floats:
    return np.where(x > 0, x, alpha * (exp(np.minimum(x, 0.0)) - 1))


def leaky(x: Floats, slope: float) -> Floats:
    return np.where(x > 0, x, slope * x)


CASES: list[tuple[str, Parameters, Callable[[Floats], Floats], int]] = [
    ("relu", {}, lambda x: np.maximum(x, 0), 1),
    ("relu", {"max_value": 2.5}, lambda x: np.clip(x, 0, 2.5), 2),
    ("relu", {"max_value": 6.0, "negative_slope": 0.25}, lambda x: np.where(x < 0, x / 4, np.minimum(x, 6)), 2),
    ("relu6", {}, lambda x: np.clip(x, 0, 6), 2),
    ("leaky_relu", {"negative_slope": 0.3}, lambda x: leaky(x, 0.3), 1),
    ("leaky_relu", {"negative_slope": 0.25}, lambda x: leaky(x, 0.25), 1),
    ("hard_tanh", {}, lambda x: np.clip(x, -1, 1), 2),
    ("hard_sigmoid", {}, lambda x: np.clip(x + 3, 0, 6) / 6, 3),
    ("hard_sigmoid", {"slope": 0.2}, lambda x: np.clip(0.2 * x + 0.5, 0, 1), 3),
    ("hard_silu", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6, 15),
    ("sigmoid", {}, sigmoid, 10),
    ("tanh", {}, np.tanh, 12),
    ("softsign", {}, lambda x: x / (1 + np.abs(x)), 22),
    ("softplus", {}, softplus, 12),
    ("softplus", {"beta": 10.0}, lambda x: softplus(10 * x) / 10, 4),
    ("softplus", {"beta": 0.1}, lambda x: softplus(0.1 * x) / 0.1, 40),
    ("log_sigmoid", {}, lambda x: -softplus(-x), 12),
    ("elu", {}, elu, 8),
    ("elu", {"alpha": 0.3}, lambda x: elu(x, 0.3), 5),
    ("celu", {"alpha": 2.0}, lambda x: elu(x / 2) * 2, 12),
    ("selu", {}, lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772), 11),
    ("gelu", {}, gelu, 10),
    ("gelu", {"approximate": True}, gelu_tanh, 10),
    ("silu", {}, lambda x: x * sigmoid(x), 14),
    ("mish", {}, lambda x: x * np.tanh(softplus(x)), 12),
    ("exponential", {}, lambda x: exp(np.minimum(x, 0)), 9),
    ("exponential", {"high": 2.0}, lambda x: exp(np.minimum(x, 2)), 26),
]
"""Name, parameters, the function, and the knots that are enough."""

NAMES = [f"{name} {parameters}" if parameters else name for name, parameters, _, _ in CASES]
NOT_MONOTONE = {"gelu", "silu", "mish", "hard_silu"}


def places(found: Curve) -> Floats:
    """Multiples of 2^-14 over the whole range: even, random, and closely around knots and ends."""
    random = np.random.default_rng(5)
    near = np.add.outer([*found.knots, 0, -FAR / UNIT, FAR / UNIT], np.arange(-3, 4)).ravel() * UNIT
    x = np.concatenate(
        [
            np.linspace(-12, 12, 40_001),
            random.uniform(-FAR, FAR, 5_000),
            np.sinh(random.uniform(-9.5, 9.5, 20_000)),
            near,
        ]
    )
    return np.unique(np.rint(x[np.abs(x) <= FAR] / UNIT)) * UNIT


@pytest.mark.parametrize(("name", "parameters", "function", "knots"), CASES, ids=NAMES)
def test_a_curve_is_as_close_as_it_says(
    name: str, parameters: Parameters, function: Callable[[Floats], Floats], knots: int
) -> None:
    found = curve(name, **parameters)
    x = places(found)
    wrong = np.abs(evaluate(found, x) - function(x))
    rounding = UNIT if found.scale_bits else 0.0
    assert np.all(wrong + rounding <= found.error + found.drift * np.abs(x) + 1e-12)
    assert found.error < PROMISED
    assert found.drift < UNIT / 32
    assert len(found.knots) <= knots


@pytest.mark.parametrize(("name", "parameters", "function", "knots"), CASES, ids=NAMES)
def test_a_curve_is_a_step_and_keeps_the_shape(
    name: str, parameters: Parameters, function: Callable[[Floats], Floats], knots: int
) -> None:
    found = curve(name, **parameters)
    step = Signs("curve", 0, (3,), found.knots, found.factors, found.slope, found.constant, found.scale_bits)
    program = Program((3,), (step, Combine("end", (1,), (3,), (1,), then="output")))
    program.check()
    assert Program.from_message(program.to_message()) == program
    slopes = np.cumsum([found.slope, *found.factors])
    assert name in NOT_MONOTONE or slopes.min() >= 0
    limit = 1.8 if "high" not in parameters else math.exp(parameters["high"])
    assert slopes.max() <= limit * 2**found.scale_bits


FAR_VALUES: dict[str, tuple[float | None, float | None]] = {
    **dict.fromkeys(("silu", "gelu", "mish", "softplus", "hard_silu", "relu"), (0.0, None)),
    **dict.fromkeys(("elu", "celu"), (-1.0, None)),
    **dict.fromkeys(("tanh", "softsign", "hard_tanh"), (-1.0, 1.0)),
    **dict.fromkeys(("sigmoid", "exponential", "hard_sigmoid"), (0.0, 1.0)),
    "relu6": (0.0, 6.0),
    "log_sigmoid": (None, 0.0),
    "leaky_relu": (-0.25 * 2000, None),
}
"""What functions are far to the left and to the right; None for x itself."""


@pytest.mark.parametrize("name", FAR_VALUES)
def test_far_from_zero_a_curve_is_exact(name: str) -> None:
    found = curve(name, **({"negative_slope": 0.25} if name == "leaky_relu" else {}))
    for x, expected in zip((-2000.0, 2000.0), FAR_VALUES[name], strict=True):
        assert evaluate(found, np.array([x]))[0] == (x if expected is None else expected)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softsign"])
def test_odd_functions_stay_odd(name: str) -> None:
    x = np.rint(np.sinh(np.linspace(0, 9, 3_000)) / UNIT) * UNIT
    found = curve(name)
    centre = evaluate(found, np.zeros(1))[0]
    np.testing.assert_allclose(evaluate(found, x) + evaluate(found, -x), 2 * centre, atol=1e-12)
    assert centre == (0.5 if name == "sigmoid" else 0.0)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("name", ["sigmoid", "gelu", "elu", "softplus"])
def test_other_number_formats_have_curves_too(name: str, bits: int) -> None:
    found = curve(name, fraction_bits=bits)
    function = next(case[2] for case in CASES if case[0] == name and not case[1])
    x = np.arange(-20 * 2**bits, 20 * 2**bits, 3) / 2**bits
    assert np.max(np.abs(evaluate(found, x, bits) - function(x))) <= found.error < 1.2 * PROMISED
    assert evaluate(found, np.array([-100.0, 100.0]), bits) == pytest.approx(function(np.array([-100.0, 100.0])))


@pytest.mark.parametrize(("name", "bound"), [("sigmoid", FINE), ("tanh", FINE), ("softsign", 2 * FINE)])
def test_finer_curves_are_closer_as_far_as_a_step_takes_the_knots(name: str, bound: float) -> None:
    usual, fine = curve(name), curve(name, promised=FINE)
    function = next(case[2] for case in CASES if case[0] == name and not case[1])
    x = places(fine)
    assert np.abs(evaluate(fine, x) - function(x)).max() + UNIT <= fine.error < bound < PROMISED
    assert len(usual.knots) < len(fine.knots) <= MAX_KNOTS


def test_the_same_curve_comes_out_again() -> None:
    found = curve("silu")
    curve.cache_clear()
    assert curve("silu") == found


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("sine", {}, "'sine' is not known"),
        ("elu", {"beta": 2.0}, "no approximation of 'elu' with"),
        ("relu", {"max_value": -1.0}, "has the parameter -1"),
        ("softplus", {"beta": 0.0}, "has the parameter 0"),
        ("exponential", {"high": 6.0}, "secure compares"),
    ],
)
def test_what_cannot_be_approximated_is_refused(name: str, parameters: Parameters, said: str) -> None:
    for promised in (PROMISED, FINE):
        with pytest.raises(ValueRangeError, match=said):
            curve(name, promised=promised, **parameters)


def test_a_polyline_has_the_fewest_corners() -> None:
    """A chord of length h of x² is h²/4 away from it; with its ends as far on the other side, h²/8."""
    tube = Tube(lambda x: np.clip(x, -1.0, 1.0) ** 2, 3.0, (0.0, 1.0), (0.0, 1.0), 2.0**-20, 2.0**-20, (-1.0, 1.0))
    for lines in (4, 8):
        error = (2 / lines) ** 2 / 8
        found = corners(tube, error * 1.05)
        assert found is not None
        assert len(found) <= lines + 2
        x = np.linspace(-1, 1, 5_001)
        reached = np.interp(x, *np.transpose(found))
        assert np.max(np.abs(reached - x**2)) <= error * 1.06


def test_a_polyline_that_cannot_be_is_none() -> None:
    coarse = Tube(np.tanh, 30.0, (0.0, 1.0), None, 0.5, 0.5)
    assert corners(coarse, 1e-3) is None
