"""Signs, ranks, products and sums of masked values against Python's integers.

Exhaustively at small formats, and at full size with all edges.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from single import combine, draws_of, opened, product, random_draws, ranks, run, signs
from syfr.protocol.bits import deal, prepare, row_bytes
from syfr.ring.fixedpoint import Precision
from syfr.ring.streams import KeyStream, fresh_key
from syfr.steps import Combine, Product, Ranks, Signs
from views import every

Integers = NDArray[np.int64]

SMALL = [
    Precision(1, 3, 1),
    Precision(1, 4, 2),
    Precision(1, 5, 2),
    Precision(2, 6, 1),
    Precision(1, 6, 2),
]
FULL = [Precision(), Precision(14, 40), Precision(18, 46)]
WORD = 1 << 64


def masked_by(
    precision: Precision, step: Signs | Ranks, mask: Integers, seed: int, padded: bool
) -> dict[str, Integers]:
    """Random draws, with ``mask`` as the sum of the masks of the value."""
    draws = random_draws(draws_of(precision, step, WORD, WORD, WORD, padded), mask.shape[0], seed)
    draws["input1"] = mask.astype(np.uint64) - draws["input0"]
    return draws


def expected_signs(step: Signs, x: Integers) -> Integers:
    """What a step gives, before it is divided by 2^scale_bits."""
    total = step.slope * x + step.constant
    for knot, factor in zip(step.knots, step.factors, strict=True):
        total = total + factor * ((x >= knot) if step.bits else np.maximum(x - knot, 0))
    return total


def check_signs(
    precision: Precision, step: Signs, x: Integers, mask: Integers, seed: int = 1, padded: bool = False
) -> None:
    """Run a batch, a row for each x and mask."""
    draws = masked_by(precision, step, mask[:, None], seed, padded)
    found = opened(run(precision, step, [x[:, None].astype(np.uint64)], draws, padded), draws)[:, 0]
    expected = expected_signs(step, x)
    if not step.scale_bits:
        assert np.array_equal(found, expected)
    else:
        floor = expected >> step.scale_bits
        up = expected != floor << step.scale_bits
        assert ((found == floor) | (found == floor + up)).all()


@pytest.mark.parametrize("precision", SMALL, ids=str)
@pytest.mark.parametrize("bits", [False, True])
def test_signs_exhaustively_at_small_formats(precision: Precision, bits: bool) -> None:
    kappa = precision.truncated_bits
    half = 1 << (kappa - 1)
    at = every(x=2 * half, mask=2 * half)
    for knot in range(-half, half):
        x = at["x"] - half
        legal = (x - knot >= -half) & (x - knot < half)
        step = signs((knot,), (3,), slope=-2, constant=1, bits=bits)
        for padded in (False, True):
            check_signs(precision, step, x[legal], at["mask"][legal], knot + half + 1, padded)


@pytest.mark.parametrize("precision", SMALL[1:], ids=str)
def test_several_knots_exhaustively_at_small_formats(precision: Precision) -> None:
    half = 1 << (precision.truncated_bits - 1)
    at = every(x=half, mask=2 * half)
    x = at["x"] - half // 2
    knots = tuple(range(-half // 2 + 1, half // 2 + 1))
    for bits in (False, True):
        step = signs(knots, tuple((1 - 2 * (knot % 2)) * (knot + 2) for knot in knots), slope=3, constant=-5, bits=bits)
        check_signs(precision, step, x, at["mask"])


def test_a_curve_exhaustively_at_a_small_format() -> None:
    # z must fit kappa + 1 bits but two: -16 <= z < 16.
    precision = Precision(1, 6, 2)
    at = every(x=8, mask=32)
    step = signs((-1, 2), (1, -2), slope=1, constant=1, scale_bits=1)
    assert np.abs(expected_signs(step, np.arange(-4, 4))).max() < 16
    for seed in range(10):
        check_signs(precision, step, at["x"] - 4, at["mask"], seed)


def edges(precision: Precision, knot: int) -> tuple[Integers, Integers]:
    """Values and masks that meet every branch of the compare with a knot."""
    kappa = precision.truncated_bits
    half, whole = 1 << (kappa - 1), 1 << kappa
    rng = np.random.default_rng(31)
    distances = [0, 1, -1, 2, -2, half - 1, half - 2, -half, -half + 1, *rng.integers(-half, half, 20).tolist()]
    masks = [0, 1, 2, half - 2, half - 1, half, half + 1, whole - 2, whole - 1, *rng.integers(0, whole, 25).tolist()]
    pairs = [(distance + knot, mask) for distance in distances for mask in masks]
    # C' of ones or zeros only, with either top bit.
    pairs += [
        (distance + knot, (public - distance) % whole)
        for distance in distances
        for public in (half - 1, whole - 1, 0, half)
    ]
    found = np.array(pairs, np.int64)
    return found[:, 0], found[:, 1]


@pytest.mark.parametrize("precision", FULL, ids=str)
def test_signs_at_full_size_with_every_edge(precision: Precision) -> None:
    kappa = precision.truncated_bits
    half = 1 << (kappa - 1)
    for knot in (0, 1, -1, half // 2, -half, half - 1):
        x, mask = edges(precision, knot)
        public, low = (x - knot + mask) % (2 * half), half - 1
        met = Counter(
            zip(public > low, mask > low, np.clip((public & low) - (mask & low), -2, 2).tolist(), strict=True)
        )
        assert {difference for _, _, difference in met} == {-2, -1, 0, 1, 2}
        assert {(top, p) for top, p, _ in met} == {(a, b) for a in (False, True) for b in (False, True)}
        # Bits of the mask above kappa do not count.
        mask = mask + (np.random.default_rng(32).integers(0, 1 << 30, mask.size) << kappa)
        for step, padded in (
            (signs((knot,), (1,)), False),
            (signs((knot,), (-3,), slope=2, constant=7), True),
            (signs((knot,), (1 << 14,), bits=True), False),
        ):
            check_signs(precision, step, x, mask, 3, padded)


def test_what_server1_has_ready_does_not_keep_the_dealers_message() -> None:
    # Most of a frame is what is dealt for each knot, unpacked; the declared memory of a row does not count it twice.
    mask, streams = np.zeros((2, 9), np.uint64), [KeyStream(fresh_key()) for _ in range(5)]
    _, message = deal(mask, 8, True, Precision(), *streams[:3], padded=False)
    ready = prepare((2, 8, 9), True, Precision(), *streams[3:], message, padded=False)
    kept = [part for part in vars(ready).values() if part is not None]
    assert not any(np.shares_memory(part, array) for part in kept for array in message)
    assert sum(part.nbytes for part in kept) == 2 * row_bytes(9, 8, True, Precision())


def test_a_curve_at_full_size() -> None:
    precision = Precision()
    one = 1 << 14
    knots = (-4 * one, -one, 0, one + 1, 5 * one)
    step = signs(knots, (5_000, -9_001, 4_001, 77, -16_384), slope=300, constant=one * one // 7, scale_bits=14)
    rng = np.random.default_rng(33)
    x = rng.integers(-8 * one, 8 * one, 5_000)
    x[: 3 * len(knots)] = np.add.outer(knots, (-1, 0, 1)).reshape(-1)
    check_signs(precision, step, x, rng.integers(0, 1 << 62, x.size))


# ---- ranks ----


def expected_ranks(x: Integers) -> Integers:
    """How many others each number of a row beats; of equals the first."""
    order = np.argsort(-x, axis=1, kind="stable")
    found = np.empty_like(x)
    np.put_along_axis(found, order, np.broadcast_to(np.arange(x.shape[1])[::-1], x.shape), axis=1)
    return found


def check_ranks(precision: Precision, x: Integers, mask: Integers) -> None:
    """Run a batch, a row for each."""
    step = ranks(x.shape[1])
    draws = masked_by(precision, step, mask, 4, padded=False)
    found = opened(run(precision, step, [x.astype(np.uint64)], draws), draws)
    assert np.array_equal(found, expected_ranks(x) << precision.fraction_bits)


@pytest.mark.parametrize("precision", SMALL[1:], ids=str)
def test_ranks_of_two_numbers_exhaustively(precision: Precision) -> None:
    half = 1 << (precision.truncated_bits - 1)
    at = every(x=half, y=half, mask=2 * half)
    x = np.stack([at["x"], at["y"]], 1) - half // 2
    for other in (0, half - 1, 2 * half - 1):
        check_ranks(precision, x, np.stack([at["mask"], np.full_like(at["mask"], other)], 1))


def test_ranks_of_three_numbers_exhaustively() -> None:
    precision = Precision(1, 4, 2)
    at = every(x=4, y=4, z=4, one=8, two=8, three=8)
    check_ranks(
        precision,
        np.stack([at["x"], at["y"], at["z"]], 1) - 2,
        np.stack([at["one"], at["two"], at["three"]], 1),
    )


def test_ranks_at_full_size_with_ties_and_the_largest_differences() -> None:
    precision = Precision()
    largest = (1 << (precision.truncated_bits - 2)) - 1
    rng = np.random.default_rng(34)
    x = rng.choice([0, 1, -1, largest, -largest, 14_000], (500, 9))
    x[:200] = rng.integers(-largest, largest, (200, 9))
    x[200] = 5
    check_ranks(precision, x, rng.integers(0, 1 << 62, x.shape))


# ---- products and sums ----


def check_truncated(
    precision: Precision, step: Product | Combine, read: list[Integers], z: Integers, seed: int
) -> None:
    """Run a batch and compare with floor or ceil of z / 2^s, each as often as its share says."""
    draws = random_draws(draws_of(precision, step, WORD, WORD, WORD), z.shape[0], seed)
    draws |= {name: draws[name] % np.uint64(1 << precision.truncated_bits) for name in ("R0", "R1")}
    found = opened(run(precision, step, [value.astype(np.uint64) for value in read], draws), draws)
    bits = step.scale_bits + (precision.fraction_bits if isinstance(step, Product) else 0)
    z = z.reshape(found.shape)
    floor = z >> bits
    assert ((found == floor) | (found == floor + (z != floor << bits))).all()


@pytest.mark.parametrize("precision", [Precision(1, 5, 3), Precision(2, 6, 1), Precision(1, 6, 2)], ids=str)
def test_products_and_sums_exhaustively_at_small_formats(precision: Precision) -> None:
    at = every(x=8, y=8, seed=20)
    x, y = (at[name][:, None] - 4 for name in "xy")
    quarter = 1 << (precision.value_bits - 2)
    legal = ((x * y >= -quarter) & (x * y < quarter))[:, 0]
    for seed in range(5):
        check_truncated(precision, product(), [x[legal], y[legal]], (x * y)[legal], seed)
        z = 2 * x - y + 3
        room = 1 << (precision.truncated_bits + 1 - 2)
        fits = ((z >= -room) & (z < room))[:, 0]
        check_truncated(precision, combine((2, -1), 3), [x[fits], y[fits]], z[fits], seed)


@pytest.mark.parametrize("precision", FULL, ids=str)
def test_products_and_sums_at_full_size_with_the_largest_values(precision: Precision) -> None:
    f, quarter = precision.fraction_bits, 1 << (precision.value_bits - 2)
    rng = np.random.default_rng(35)
    x = rng.integers(-(1 << 14), 1 << 14, 2_000)
    y = rng.integers(-(1 << 12), 1 << 12, 2_000)
    root = int(np.sqrt(float(quarter))) - 1
    edge = [
        (0, 5),
        (1, 1),
        (-1, 1),
        (1, -1),
        (root, root),
        (root, -root),
        (-root, -root),
        (quarter - 1, 1),
        (-quarter, 1),
    ]
    x[: len(edge)], y[: len(edge)] = np.array(edge).T
    check_truncated(precision, product(), [x[:, None], y[:, None]], x * y, 5)
    spare = product(scale_bits=precision.spare_bits)
    larger = y << precision.spare_bits
    check_truncated(precision, spare, [x[:, None], larger[:, None]], x * larger, 9)
    most = (1 << (precision.truncated_bits - 2)) - 1
    x[:3], y[:3] = (most, -most, 0), (0, 0, most)
    x, y = np.clip(x, -most, most), np.clip(y, -most, most)
    check_truncated(precision, combine((1 << f, 0), 1, f), [x[:, None], y[:, None]], (x << f) + 1, 6)
    third = round(2**f / 3)
    check_truncated(precision, combine((third, -third), -4, f), [x[:, None], y[:, None]], third * (x - y) - 4, 7)


def test_matrix_products_at_full_size() -> None:
    rng = np.random.default_rng(36)
    left, right = rng.integers(-(1 << 17), 1 << 17, (2, 3, 40, 2, 2))
    step = Product("matrices", 0, 0, (40, 2, 2), "truncate", matrices=True)
    check_truncated(Precision(), step, [left, right], np.matmul(left, right), 8)


def test_the_expected_ranks_are_those_of_the_definition() -> None:
    x = np.random.default_rng(37).integers(0, 3, (50, 4))
    for row, found in zip(x, expected_ranks(x), strict=True):
        for i, value in enumerate(row):
            beaten = sum(value > other or (value == other and i < j) for j, other in enumerate(row) if i != j)
            assert found[i] == beaten
