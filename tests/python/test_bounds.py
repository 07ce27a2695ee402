"""The range check: its bounds hold and are reached, and what does not fit is refused by name."""

from __future__ import annotations

import re

import numpy as np
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syfr.errors import ProtocolError, RangeCheckError
from syfr.importing.bounds import check_ranges, limit
from syfr.importing.operations import Weights
from syfr.program import Program
from syfr.ring.fixedpoint import Precision
from syfr.steps import (
    Combine,
    Concatenate,
    Geometry,
    Linear,
    Product,
    Ranks,
    Reshape,
    Shape,
    Signs,
    Step,
    Take,
    Weigh,
)


def dense(kernel: list[list[float]], bias: list[float], layer: str = "dense", **of_program: object) -> tuple:  # type: ignore[type-arg]
    """A Program of one matrix product, and its weights."""
    rows, columns = np.shape(kernel)
    step = Linear(layer, 0, (rows, columns), (rows,), (columns,), "output")
    program = Program((rows,), (step,), **of_program)  # type: ignore[arg-type]
    return program, {0: Weights(np.array(kernel) / program.input_scale, np.array(bias))}


def test_a_bound_is_reached() -> None:
    program, weights = dense([[1.0, -2.0], [3.0, 4.0]], [0.5, -1.0], input_range=(-1.0, 2.0))
    (bound,) = check_ranges(program, weights)
    assert (bound.step, bound.layer) == (0, "dense")
    corners = np.array(np.meshgrid([-1.0, 2.0], [-1.0, 2.0])).reshape(2, -1).T
    found = plain.evaluate(program, weights, corners)
    assert (bound.low, bound.high) == (found.min(), found.max())
    assert bound.magnitude == 9.0
    assert bound.fits


def test_weights_are_rounded_as_they_will_be() -> None:
    precision = Precision(fraction_bits=4, value_bits=30)
    program, weights = dense([[0.97], [0.02]], [1 / 1024], precision=precision)
    (bound,) = check_ranges(program, weights)
    assert bound.high == 1.0
    weights[0].bias[:] = 3 / 512
    assert check_ranges(program, weights)[0].high == 1.0 + 2 / 256


def stacked(then: str, first: float, second: float = 1.0) -> tuple[Program, dict[int, Weights]]:
    """Two 1 x 1 matrix products, the first followed by ``then``."""
    steps = (Linear("one", 0, (1, 1), (1,), (1,), then), Linear("two", 1, (1, 1), (1,), (1,), "output"))
    weights = {0: Weights(np.array([[first]]), np.zeros(1)), 1: Weights(np.array([[second]]), np.zeros(1))}
    return Program((1,), steps, input_range=(-1.0, 1.0)), weights


def test_relu_clips_and_truncation_adds_a_unit() -> None:
    unit = 2.0**-14
    low = 1.0 + unit
    program, weights = stacked("relu", low, 1.0)
    one, two = check_ranges(program, weights)
    assert (one.low, one.high) == (-low, low)
    assert (two.low, two.high) == (0.0, low)
    weights = {0: Weights(np.array([[1.0]]), np.full(1, unit / 2)), 1: weights[1]}
    assert check_ranges(program, weights)[1].high == 1.0 + unit
    program, _ = stacked("truncate", low, 1.0)
    assert check_ranges(program, weights)[1].low == -1.0


@pytest.mark.parametrize(("then", "edge"), [("relu", 8192.0), ("truncate", 4096.0)])
def test_the_edge_of_what_fits(then: str, edge: float) -> None:
    assert limit(Precision(), then) == edge - 2.0**-14
    check_ranges(*stacked(then, edge - 2 * 2.0**-14, 0.001))
    with pytest.raises(RangeCheckError, match=f"'one' can reach {edge:g} "):
        check_ranges(*stacked(then, edge, 0.001))


def test_the_message_names_layer_bound_and_choices() -> None:
    program, weights = dense([[5000.0], [5000.0]], [0.0], layer="conv + pool")
    with pytest.raises(RangeCheckError) as raised:
        check_ranges(program, weights)
    assert str(raised.value) == (
        "Layer 'conv + pool' can reach 10000 for inputs from 0 to 1; with 14 fraction bits, magnitudes below 8192 "
        "fit. Declare a tighter input_range, give data like the inputs to come as calibrate (its bounds are not "
        "proven), or choose a smaller precision: 13 fraction bits give this layer room."
    )


@given(st.floats(8192.0, 1e6))
def test_the_precision_that_is_named_gives_room(weight: float) -> None:
    with pytest.raises(RangeCheckError) as raised:
        check_ranges(*dense([[weight]], [0.0]))
    bits = int(str(raised.value).split("precision: ")[1].split(" ")[0])
    check_ranges(*dense([[weight]], [0.0], precision=Precision(bits, bits + 28)))
    with pytest.raises(RangeCheckError):
        check_ranges(*dense([[weight]], [0.0], precision=Precision(bits + 1, bits + 29)))


@pytest.mark.parametrize("weight", [1e300, 1e12])
def test_enormous_weights_are_refused(weight: float) -> None:
    with pytest.raises(RangeCheckError, match=r"smaller precision\."):
        check_ranges(*dense([[weight]], [0.0]))


def test_an_enormous_input_is_refused() -> None:
    program, _ = dense([[1e-9]], [0.0], input_range=(0.0, 1e12))
    with pytest.raises(ProtocolError, match="input range"):
        program.check()


def convolutional(seed: int, groups: int, then: str) -> tuple[Program, dict[int, Weights]]:
    """A padded, strided, dilated convolution, a change of shape and a matrix product, with random weights."""
    random = np.random.default_rng(seed)
    geometry = Geometry((2, 1), ((1, 0), (2, 1)), (1, 2), groups)
    image: Shape = (7, 6, 2 * groups)
    kernel: Shape = (3, 2, 2, 3 * groups)
    height, width = geometry.output_size((7, 6), (3, 2))
    out, flat = (height, width, 3 * groups), height * width * 3 * groups
    steps: tuple[Step, ...] = (
        Linear("conv", 0, kernel, image, out, then, geometry),
        Reshape("flatten", 1, out, (flat,)),
        Linear("dense", 2, (flat, 4), (flat,), (4,), "output"),
    )
    weights = {
        0: Weights(random.normal(0, 1, kernel), random.normal(0, 1, kernel[-1])),
        2: Weights(random.normal(0, 1, (flat, 4)), random.normal(0, 1, 4)),
    }
    program = Program(image, steps, input_range=(-0.5, 1.5))
    program.check()
    return program, weights


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("then", ["relu", "truncate"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_input_leaves_its_bound(seed: int, groups: int, then: str) -> None:
    program, weights = convolutional(seed, groups, then)
    bounds = {bound.step: bound for bound in check_ranges(program, weights)}
    random = np.random.default_rng(seed)
    x = np.where(random.random((40, *program.input_shape)) < 0.5, -0.5, 1.5)
    found = plain.values(program, weights, x)
    for number, _ in program.linear_steps():
        assert found[number + 1].max() <= bounds[number].high + 0.01
        assert found[number + 1].min() >= bounds[number].low - 0.01


@pytest.mark.parametrize("groups", [1, 2])
def test_the_bound_of_a_convolution_is_the_worst_input(groups: int) -> None:
    program, weights = convolutional(3, groups, "truncate")
    bound = check_ranges(program, weights)[0]
    kernel = program.round_kernel(program.steps[0], weights[0].kernel)  # type: ignore[arg-type]
    reach = plain.convolve(np.ones((1, *program.input_shape)), np.abs(kernel), program.steps[0].geometry)  # type: ignore[union-attr, arg-type]
    middle = plain.convolve(np.full((1, *program.input_shape), 0.5), kernel, program.steps[0].geometry)  # type: ignore[union-attr, arg-type]
    reach, middle = reach * program.input_scale, middle * program.input_scale
    bias = np.rint(weights[0].bias * 2**28) / 2**28
    assert bound.high == pytest.approx((middle + bias + reach).max(), rel=1e-12)
    assert bound.low == pytest.approx((middle + bias - reach).min(), rel=1e-12)


@pytest.mark.parametrize(("sign", "swapped"), [(1, False), (1, True), (-1, False), (-1, True)])
def test_a_maximum_and_a_minimum_are_bounded_by_what_they_choose_from(sign: int, swapped: bool) -> None:
    """b + relu(a - b) and b - relu(b - a): without more thought, b and the difference could both be large."""
    first, second = (Take("take", 1, (1,), 0, (place,)) for place in (0, 1))
    terms = ((5, sign), (3, 1))
    sources, factors = zip(*(reversed(terms) if swapped else terms), strict=True)
    steps = (
        first,
        second,
        Combine("difference", (2, 3), (1,), (sign, -sign)),
        Signs("relu", 4, (1,), (0,), (1,)),
        Combine("extreme", sources, (1,), factors),
        Combine("output", (6,), (1,), (1,), then="output"),
    )
    program = Program((2,), (Linear("dense", 0, (2, 2), (2,), (2,), "truncate"), *steps), input_range=(0.0, 1.0))
    program.check()
    weights = {0: Weights(np.diag([1.0, -3.0] if sign == 1 else [-3.0, 1.0]), np.zeros(2))}
    last = check_ranges(program, weights)[-1]
    unit = 2.0**-14
    low, high = (0.0, 1.0) if sign == 1 else (-3.0, 0.0)
    assert (last.low, last.high) == pytest.approx((low, high), abs=2 * unit)


ONE = 1 << 14
KINDS: dict[str, tuple[tuple[Step, ...], tuple[float, float]]] = {
    "difference": ((Combine("x", (1, 1), (2,), (1, -3)),), (-11.0, 9.0)),
    "scaled sum": ((Combine("x", (1,), (2,), (-1,), ONE << 3, 2, "truncate"),), (1.25, 2.5)),
    "relu of a sum": ((Combine("x", (1,), (2,), (1 << 4,), 0, 4, "relu"),), (0.0, 3.0)),
    "knot between the ends": ((Signs("x", 1, (2,), (0,), (2,), -1),), (0.0, 3.0)),
    "knots beyond the ends": ((Signs("x", 1, (2,), (-9 * ONE, 9 * ONE), (1, -1)),), (7.0, 12.0)),
    "falling line": ((Signs("x", 1, (2,), (5 * ONE,), (1,), -(1 << 4), ONE << 4, 4),), (-2.0, 3.0)),
    "jump": ((Signs("x", 1, (2,), (ONE,), (5 * ONE,), bits=True),), (0.0, 5.0)),
    "line and jump": ((Signs("x", 1, (2,), (ONE,), (-4 * ONE,), 1, bits=True),), (-3.0, 1.0)),
    "square": ((Product("x", 1, 1, (2,), "truncate"),), (0.0, 9.0)),
    "product": ((Combine("x", (1,), (2,), (-1,)), Product("x", 1, 2, (2,), "truncate")), (-9.0, 6.0)),
    "product over 4": ((Product("x", 1, 1, (2,), "truncate", scale_bits=2),), (0.0, 2.25)),
    "matrix product": (
        (Reshape("x", 1, (2,), (1, 2)), Reshape("x", 1, (2,), (2, 1)), Product("x", 2, 3, (1, 1), "truncate", True)),
        (-18.0, 18.0),
    ),
    "weighed": ((Weigh("x", 1, (1,), (2, -3)),), (-13.0, 12.0)),
    "ranks": ((Ranks("x", 1, (2,)),), (0.0, 1.0)),
    "a zero taken": ((Take("x", 1, (3,), 0, (-1, 0, 1)), Weigh("x", 2, (1,), (1, 0, 0))), (0.0, 0.0)),
    "joined": ((Concatenate("x", (1, 1), (4,), 0), Weigh("x", 2, (1,), (1, 1, 1, 1))), (-8.0, 12.0)),
}
"""Steps on two numbers from -2 to 3, and the bounds of what the last one gives."""


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_bound_of_every_kind_of_step(kind: str) -> None:
    steps, expected = KINDS[kind]
    first = Linear("first", 0, (2, 2), (2,), (2,), "truncate")
    last = Combine("last", (len(steps) + 1,), steps[-1].output_shape, (1,), then="output")
    program = Program((2,), (first, *steps, last), input_range=(-2.0, 3.0))
    program.check()
    weights = {0: Weights(np.eye(2) / program.input_scale, np.zeros(2))}
    bound = check_ranges(program, weights)[-1]
    assert (bound.low, bound.high) == pytest.approx(expected, abs=3e-3)
    x = np.random.default_rng(1).choice([-2.0, -0.01, 0.0, 1.0, 3.0], (500, 2))
    found = plain.evaluate(program, weights, x)
    assert bound.low - 3e-3 <= found.min()
    assert found.max() <= bound.high + 3e-3


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Signs("far", 1, (1,), (-5000 * ONE,), (1,)), "'far' can reach 10000 "),
        (Signs("steep", 1, (1,), (0,), (2,)), "'steep' can reach 10000 "),
        (Product("square", 1, 1, (1,), "truncate"), "'square' can reach 2.5e+07 "),
        (Combine("twice", (1,), (1,), (2 << 4,), 0, 4, "truncate"), "'twice' can reach 10000 "),
    ],
)
def test_every_kind_of_step_may_be_what_does_not_fit(step: Step, message: str) -> None:
    first = Linear("first", 0, (1, 1), (1,), (1,), "relu")
    last = Combine("last", (2,), (1,), (1,), then="output")
    program = Program((1,), (first, step, last))
    program.check()
    with pytest.raises(RangeCheckError, match=re.escape(message)):
        check_ranges(program, {0: Weights(np.array([[5000.0]]), np.zeros(1))})
