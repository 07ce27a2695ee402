"""Folding changes no result: random chains of operations against the same chains one operation after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syfr.importing import folding, lowering
from syfr.importing.composition import compose, plan
from syfr.importing.elements import Relu
from syfr.importing.folding import fold_chain
from syfr.importing.graph import Answer, Graph, Unary
from syfr.importing.lowering import lower
from syfr.importing.operations import Affine, Floats, Scale, Weights, average_pooling, pull_back, zero_padding
from syfr.importing.places import NewShape
from syfr.program import Program
from syfr.ring.fixedpoint import Precision
from syfr.steps import Combine, Geometry, Linear, Shape


def fold(operations: Sequence[Unary], shape: Shape) -> list[Unary]:
    """The operations of a chain, folded."""
    folded = fold_chain(operations, shape)
    return list(operations) if folded is None else folded


def lower_chain(operations: Sequence[Unary], shape: Shape) -> tuple[Program, dict[int, Weights]]:
    """A chain as a Program."""
    graph = Graph(shape)
    graph.answers = [Answer(graph.chain(operations, 0))]
    steps, weights, _ = lower(graph, Precision())
    return Program(shape, tuple(steps)), weights


def run(operations: list[Unary], x: Floats) -> Floats:
    """The operations one after the other, as they are defined."""
    for operation in operations:
        if isinstance(operation, Affine):
            geometry = operation.geometry
            product = x @ operation.kernel if geometry is None else plain.convolve(x, operation.kernel, geometry)
            x = product + operation.bias
        elif isinstance(operation, Scale):
            x = x * operation.factor + operation.offset
        elif isinstance(operation, Relu):
            x = np.maximum(x, 0.0)
        else:
            x = x.reshape(-1, *operation.shape)
    return x


def numbers(*shape: int, of: str = "") -> Floats:
    """Random numbers that depend on nothing but their shape and what they are for."""
    return np.random.default_rng([*shape, *of.encode()]).normal(0.0, 1.0, shape)


def convolution(
    layer: str, kernel: tuple[int, int], inputs: int, outputs: int, geometry: Geometry | None = None
) -> Affine:
    """A convolution with random weights and bias."""
    geometry = Geometry() if geometry is None else geometry
    values = numbers(*kernel, inputs // geometry.groups, outputs, of=layer)
    return Affine(layer, values, numbers(outputs, of=layer), geometry)


def matrix(layer: str, inputs: int, outputs: int) -> Affine:
    """A matrix product with random weights and bias."""
    return Affine(layer, numbers(inputs, outputs, of=layer), numbers(outputs, of=layer))


@st.composite
def chains(draw: st.DrawFn) -> tuple[Shape, list[Unary]]:
    """Operations that fit each other, on small images, sequences and vectors."""
    first: Shape = draw(st.sampled_from([(6, 5, 2), (5, 7, 1), (8, 8, 2), (4, 3), (6,)]))
    shape, found = first, list[Unary]()
    for number in range(draw(st.integers(1, 7))):
        operation = draw(operations(f"layer{number}", shape))
        found.append(operation)
        shape = operation.output_shape(shape)
    return first, found


def operations(layer: str, shape: Shape) -> st.SearchStrategy[Unary]:
    """One operation on rows of ``shape``."""
    channels = shape[-1]
    anywhere: list[st.SearchStrategy[Unary]] = [
        st.just(Relu(layer)),
        st.booleans().map(lambda zero: scaling(layer, channels, zero)),
        st.just(NewShape(layer, (math.prod(shape),))),
        st.integers(1, 4).map(lambda outputs: matrix(layer, channels, outputs)),
    ]
    if len(shape) == 1:
        anywhere.append(st.just(NewShape(layer, (1, channels, 1))))
        anywhere.append(st.just(NewShape(layer, (channels, 1))))
    if len(shape) == 3:
        anywhere.append(st.just(NewShape(layer, (shape[0] * shape[1], channels))))
        anywhere.append(images(layer, shape))
    return st.one_of(*anywhere)


def scaling(layer: str, channels: int, zero: bool) -> Scale:
    """A Scale, without an offset when ``zero``."""
    offset = np.zeros(channels) if zero else numbers(channels, of=f"offset of {layer}")
    return Scale(layer, numbers(channels, of=layer), offset, biased=not zero)


@st.composite
def images(draw: st.DrawFn, layer: str, shape: Shape) -> Unary:
    """A convolution, a pooling or a padding of an image of ``shape``."""
    kind = draw(st.sampled_from(["conv", "conv", "pool", "pad"]))
    small = st.integers(0, 2)
    padding = ((draw(small), draw(small)), (draw(small), draw(small)))
    if kind == "pad":
        return zero_padding(layer, padding, shape[2])
    strides = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    size = (draw(st.integers(1, min(3, shape[0]))), draw(st.integers(1, min(3, shape[1]))))
    if kind == "pool":
        return average_pooling(layer, size, strides, shape[2])
    groups = draw(st.sampled_from([1, shape[2]]))
    outputs = groups * draw(st.integers(1, 2))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1)]))
    padding = ((padding[0][0] + 1, padding[0][1] + 1), padding[1]) if dilation[0] > 1 else padding
    return convolution(layer, size, shape[2], outputs, Geometry(strides, padding, dilation, groups))


@settings(max_examples=400, deadline=None)
@given(chain=chains(), eager=st.booleans())
def test_a_folded_chain_computes_the_same(chain: tuple[Shape, list[Unary]], eager: bool) -> None:
    compare(*chain, eager)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(chain=chains(), eager=st.booleans())
def test_many_folded_chains_compute_the_same(chain: tuple[Shape, list[Unary]], eager: bool) -> None:
    compare(*chain, eager)


def compare(shape: Shape, found: list[Unary], eager: bool) -> None:
    """The lowered Program against the operations one by one, folding wherever possible or only where it is free."""
    eagerly = patch.object(folding, "STEP_PRODUCTS", 1_000_000 if eager else -(10**9))
    with eagerly, patch.object(lowering, "SCALE_BITS", 40):  # so that the factors of means are as good as exact
        program, weights = lower_chain(found, shape)
    with patch.object(Program, "_check_scale"):  # more than a ring element has, as the twin has no ring
        program.check()
        assert Program.from_message(program.to_message()) == program
    x = numbers(2, *shape)
    expected = run(found, x)
    result = plain.evaluate(program, weights, x).reshape(expected.shape)
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9 * (1.0 + np.abs(expected).max()))


@settings(max_examples=100, deadline=None)
@given(chain=chains())
def test_folding_never_adds_steps(chain: tuple[Shape, list[Unary]]) -> None:
    shape, found = chain
    assert len(fold(found, shape)) <= len(found)


def folded(shape: Shape, *found: Unary) -> list[Unary]:
    """The folded chain, checked against the unfolded one."""
    result = fold(found, shape)
    x = numbers(3, *shape)
    np.testing.assert_allclose(run(result, x), run(list(found), x), rtol=1e-9, atol=1e-9)
    return result


def test_convolution_and_pooling_become_one() -> None:
    padding = ((1, 1), (0, 1))
    conv = convolution("conv", (3, 3), 2, 4, Geometry((2, 1), padding, (1, 2)))
    (both,) = folded((16, 15, 2), conv, average_pooling("pool", (2, 3), (2, 3), 4))
    assert isinstance(both, Affine)
    assert both.layer == "conv + pool"
    assert both.kernel.shape == (5, 7, 2, 4)
    assert both.geometry == Geometry((4, 3), ((1, 0), (0, 1)), (1, 1), 1)


def test_a_fused_kernel_is_the_mean_of_shifted_kernels() -> None:
    conv = convolution("conv", (3, 3), 1, 2)
    (both,) = folded((8, 8, 1), conv, average_pooling("pool", (2, 2), (2, 2), 2))
    assert isinstance(both, Affine)
    shifted = [np.pad(conv.kernel, ((y, 1 - y), (x, 1 - x), (0, 0), (0, 0))) for y in (0, 1) for x in (0, 1)]
    np.testing.assert_allclose(both.kernel, np.mean(shifted, axis=0), rtol=1e-15)
    np.testing.assert_array_equal(both.bias, conv.bias)


def test_groups_and_dilation_survive_scaling() -> None:
    geometry = Geometry((1, 1), ((2, 2), (2, 2)), (2, 2), 2)
    conv = convolution("conv", (3, 3), 4, 6, geometry)
    (both,) = folded((7, 6, 4), scaling("before", 4, True), conv, scaling("after", 6, False))
    assert isinstance(both, Affine)
    assert both.geometry == geometry
    assert both.layer == "before + conv + after"


def test_an_offset_is_not_moved_into_zeros() -> None:
    conv = convolution("conv", (3, 3), 2, 2, Geometry(padding=((1, 1), (1, 1))))
    assert len(folded((6, 6, 2), Relu("relu"), scaling("bn", 2, False), conv)) == 3
    assert len(folded((6, 6, 2), Relu("relu"), scaling("bn", 2, True), conv)) == 2


@pytest.mark.parametrize(("between", "steps"), [((12,), 3), ((2, 3, 2), 4), ((3, 4), 2)])
def test_a_scale_passes_a_change_of_shape_where_channels_stay_apart(between: Shape, steps: int) -> None:
    chain = [Relu("relu"), scaling("bn", 4, False), NewShape("shape", between), matrix("dense", between[-1], 2)]
    assert len(folded((3, 4), *chain)) == steps
    image = convolution("conv", (2, 2), 2, 4)
    wide = scaling("bn", between[-1], False)
    assert len(folded((4, 3, 2), image, NewShape("image", (6, 4)), scaling("bn", 4, False))) == 2
    assert len(folded((2, 4, 2), image, NewShape("shape", between), wide)) == (3 if between == (12,) else 2)


def test_a_biased_convolution_is_not_moved_into_zeros() -> None:
    first = convolution("depthwise", (1, 1), 2, 2, Geometry(groups=2))
    second = convolution("conv", (3, 3), 2, 2, Geometry(padding=((1, 1), (1, 1))))
    assert len(folded((6, 6, 2), first, second)) == 2


@pytest.mark.parametrize(("height", "steps"), [(8, 1), (9, 2)])
def test_padding_behind_pooling_needs_whole_windows(height: int, steps: int) -> None:
    conv = convolution("conv", (3, 3), 2, 2, Geometry(padding=((1, 1), (1, 1))))
    assert len(folded((height, 8, 2), average_pooling("pool", (2, 2), (2, 2), 2), conv)) == steps
    assert len(folded((height, 8, 2), average_pooling("pool", (3, 3), (2, 2), 2), conv)) == 2


def test_padding_behind_overlapping_windows_stays_there() -> None:
    conv = convolution("conv", (2, 2), 2, 2, Geometry(padding=((1, 0), (0, 0))))
    assert len(folded((8, 8, 2), average_pooling("pool", (3, 3), (2, 2), 2), conv)) == 2
    assert len(folded((8, 8, 2), average_pooling("pool", (2, 2), (2, 2), 2), conv)) == 1


@pytest.mark.parametrize(("factor", "offset"), [(-1.0, 0.0), (1.0, 0.5)])
def test_only_padding_moves_behind_a_relu(factor: float, offset: float) -> None:
    geometry = Geometry(padding=((1, 1), (0, 2)), groups=2)
    conv = Affine("conv", np.full((1, 1, 1, 2), factor), np.full(2, offset), geometry, biased=offset != 0.0)
    assert folded((5, 4, 2), conv, Relu("relu"))[0] is conv
    assert isinstance(folded((5, 4, 2), zero_padding("pad", geometry.padding, 2), Relu("relu"))[0], Relu)


def test_a_mean_of_its_own_has_no_weights() -> None:
    overlapping, tiles = average_pooling("pool", (3, 3), (2, 2), 2), average_pooling("pool", (3, 3), (3, 3), 2)
    conv = convolution("conv", (3, 3), 2, 2, Geometry(padding=((1, 1), (1, 1))))
    for pool in (overlapping, tiles):
        for chain in ([Relu("one"), pool, conv], [Relu("one"), pool, Relu("two"), conv]):
            program, weights = lower_chain(chain, (9, 8, 2))
            assert len(weights) == 1
            (mean,) = (step for step in program.steps if isinstance(step, Combine) and step.scale_bits)
            assert mean.then == ("truncate" if len(chain) == 3 else "relu")
            assert set(mean.factors) == {round(2**18 / 9)}
            x = numbers(3, 9, 8, 2)
            np.testing.assert_allclose(plain.evaluate(program, weights, x), run(chain, x), rtol=1e-4, atol=1e-4)


def test_a_large_kernel_is_not_made() -> None:
    pool = average_pooling("pool", (64, 64), (64, 64), 256)
    relu, flat = Relu("relu"), NewShape("flat", (256,))
    wide = Affine("dense", np.ones((256, 1000)), np.zeros(1000))
    assert len(fold([relu, pool, flat, wide], (64, 64, 256))) == 4
    conv = Affine("conv", np.ones((3, 3, 256, 256)), np.zeros(256), Geometry())
    assert len(fold([conv, average_pooling("pool", (62, 62), (62, 62), 256)], (64, 64, 256))) == 2


def test_a_slow_kernel_is_not_made() -> None:
    narrow = Affine("narrow", np.ones((4000, 8)), np.zeros(8))
    wide = Affine("wide", np.ones((8, 4000)), np.zeros(4000))
    assert len(fold([narrow, wide], (4000,))) == 2


def test_many_features_are_scaled_without_a_matrix() -> None:
    chain = [Relu("relu"), NewShape("flat", (5000,)), scaling("bn", 5000, True), Relu("last")]
    program, weights = lower_chain(chain, (50, 100, 1))
    assert [weight.kernel.shape for weight in weights.values()] == [(1, 1, 1, 5000)]
    x = numbers(1, 50, 100, 1)
    np.testing.assert_allclose(plain.evaluate(program, weights, x).reshape(1, -1), run(chain, x), atol=1e-9)


def test_two_dense_convolutions_are_not_composed() -> None:
    first, second = convolution("one", (3, 3), 2, 3), convolution("two", (3, 3), 3, 2)
    assert plan(first, second, (8, 8, 2)) is None
    program, _ = lower_chain([first, second], (8, 8, 2))
    assert [step.then for step in program.steps if isinstance(step, Linear)] == ["truncate", "output"]


def test_compose_keeps_the_bias_of_both() -> None:
    first = convolution("one", (2, 2), 3, 3, Geometry(groups=3))
    second = convolution("two", (2, 2), 3, 4)
    found = plan(first, second, (6, 6, 3))
    assert found is not None
    both = compose(first, second, found, "both")
    x = numbers(2, 6, 6, 3)
    np.testing.assert_allclose(run([both], x), run([first, second], x), rtol=1e-12, atol=1e-12)


def test_pull_back_of_a_grouped_padded_convolution() -> None:
    conv = convolution("conv", (3, 2), 4, 6, Geometry((2, 1), ((2, 1), (0, 1)), (1, 2), 2))
    shape = (7, 6, 4)
    size = math.prod(conv.output_shape(shape))
    dense = matrix("dense", size, 3)
    x = numbers(2, *shape)
    expected = run([conv, NewShape("flat", (size,)), dense], x)
    found = run([NewShape("flat", (math.prod(shape),)), pull_back(conv, shape, dense, "both")], x)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_pull_back_takes_a_convolution() -> None:
    with pytest.raises(ValueError, match="convolution"):
        pull_back(matrix("one", 2, 2), (2,), matrix("two", 2, 2), "both")


def test_long_names_are_cut() -> None:
    chain: list[Unary] = [scaling(f"{number:040}", 2, True) for number in range(30)]
    (both,) = fold([*chain, matrix("last", 2, 2)], (2,))
    assert len(both.layer) <= 200
    assert both.layer.endswith("last")
