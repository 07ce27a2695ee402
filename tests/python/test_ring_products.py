"""Matrix products and convolutions modulo 2^64 against Python's integers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray
from syfr.ring import products
from syfr.ring.fixedpoint import Words
from syfr.ring.products import convolve_onto, matmul_onto
from syfr.steps import Geometry


def words(seed: int, *shape: int) -> Words:
    """Random ring elements, some of them at the edges."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 2**64, shape, np.uint64, endpoint=False)
    edges = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    return np.where(rng.random(shape) < 0.2, rng.choice(edges, shape), found)


def modulo(exact: NDArray[Any]) -> Words:
    """Python integers modulo 2^64."""
    return (exact % 2**64).astype(np.uint64)


@given(some.integers(1, 13), some.integers(1, 9), some.integers(1, 11), some.integers(0, 2**32))
def test_matrix_products(rows: int, inner: int, columns: int, seed: int) -> None:
    left, right, onto = words(seed, rows, inner), words(seed + 1, inner, columns), words(seed + 2, rows, columns)
    expected = modulo(left.astype(object) @ right.astype(object) + onto.astype(object))
    out = onto.copy()
    assert matmul_onto(left, right, out) is out
    assert np.array_equal(out, expected)


def test_matrix_products_act_on_the_last_axis() -> None:
    left, right = words(1, 2, 3, 5, 4), words(2, 4, 6)
    out = np.zeros((2, 3, 5, 6), np.uint64)
    matmul_onto(left, right, out)
    assert np.array_equal(out, modulo(left.astype(object) @ right.astype(object)))


@pytest.mark.parametrize("inner", [products.BLOCK_WORDS // 11 + extra for extra in (-1, 0, 1, 6)])
def test_a_right_side_of_several_blocks(inner: int) -> None:
    left, right, onto = words(1, 5, inner), words(2, inner, 11), words(3, 5, 11)
    expected = modulo(left.astype(object) @ right.astype(object) + onto.astype(object))
    assert np.array_equal(matmul_onto(left, right, onto), expected)


def convolved(x: Words, kernel: Words, place: Geometry, size: tuple[int, int]) -> Words:
    """A convolution, one product after the other."""
    depth, each = kernel.shape[2], kernel.shape[3] // place.groups
    out = np.zeros((x.shape[0], *size, kernel.shape[3]), object)
    for row, y, z, channel in np.ndindex(*out.shape):
        group = channel // each
        total = 0
        for ky, kx, inner in itertools.product(*map(range, kernel.shape[:3])):
            at_y = y * place.strides[0] - place.padding[0][0] + ky * place.dilation[0]
            at_x = z * place.strides[1] - place.padding[1][0] + kx * place.dilation[1]
            if 0 <= at_y < x.shape[1] and 0 <= at_x < x.shape[2]:
                total += int(x[row, at_y, at_x, group * depth + inner]) * int(kernel[ky, kx, inner, channel])
        out[row, y, z, channel] = total
    return modulo(out)


pairs = some.tuples(some.integers(1, 3), some.integers(1, 3))
margins = some.tuples(some.integers(0, 2), some.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(
    rows=some.integers(1, 2),
    size=some.tuples(some.integers(1, 6), some.integers(1, 6)),
    kernel=pairs,
    depth=some.integers(1, 2),
    each=some.integers(1, 3),
    strides=pairs,
    dilation=pairs,
    padding=some.tuples(margins, margins),
    groups=some.integers(1, 3),
    seed=some.integers(0, 2**32),
)
def test_convolutions(
    rows: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    depth: int,
    each: int,
    strides: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    groups: int,
    seed: int,
) -> None:
    place = Geometry(strides, padding, dilation, groups)
    height, width = place.output_size(size, kernel)
    assume(height >= 1 and width >= 1)
    x = words(seed, rows, *size, depth * groups)
    factors = words(seed + 1, *kernel, depth, each * groups)
    onto = words(seed + 2, rows, height, width, each * groups)
    expected = onto + convolved(x, factors, place, (height, width))
    out = onto.copy()
    assert convolve_onto(x, factors, strides, padding, dilation, groups, out) is out
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("groups", [1, 2])
def test_windows_are_gathered_in_pieces(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "WINDOW_WORDS", 1)
    place = Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), groups)
    x, factors = words(1, 2, 5, 7, 2 * groups), words(2, 3, 3, 2, 3 * groups)
    out = np.zeros((2, 5, 7, 3 * groups), np.uint64)
    convolve_onto(x, factors, place.strides, place.padding, place.dilation, groups, out)
    assert np.array_equal(out, convolved(x, factors, place, (5, 7)))


def test_arrays_of_another_type_or_layout_are_refused() -> None:
    good = words(1, 4, 4)
    wrong: NDArray[Any]
    for wrong in (good.astype(np.int64), good.astype(np.uint32), good.T):
        with pytest.raises(TypeError):
            matmul_onto(wrong, good, np.zeros((4, 4), np.uint64))
