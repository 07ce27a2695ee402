"""Truncation and ReLU against Python's integers: exhaustively at small formats, and at full size with all edges."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from harness import Outcome, random_draws, run_relu, run_truncation, truncation_draws
from layouts import signed
from numpy.typing import NDArray
from syfr.ring.fixedpoint import Precision, Words
from views import every

Integers = NDArray[np.int64]

SMALL = [
    Precision(1, 3, 1),
    Precision(1, 4, 2),
    Precision(2, 5, 2),
    Precision(1, 5, 2),
    Precision(2, 6, 1),
    Precision(1, 6, 2),
    Precision(3, 6, 1),
]
FULL = [Precision(), Precision(14, 40), Precision(18, 46), Precision(1, 24)]


def wrapped(values: Integers, bits: int) -> Integers:
    """Integers modulo 2^bits, read signed."""
    return signed(values.astype(np.uint64), bits).view(np.int64)


def shares(z: Integers, z0: Integers, constant: int) -> tuple[Words, Words]:
    """Additive shares of z + constant."""
    return z0.astype(np.uint64), (z + constant - z0).astype(np.uint64)


def truncated(z: Integers, z0: Integers, precision: Precision, constant: int) -> Integers:
    """Z in plain: the sum of the two shifted shares modulo 2^kappa, read signed."""
    whole, f = (1 << precision.value_bits) - 1, precision.fraction_bits
    return wrapped(((z0 & whole) >> f) + (((z + constant - z0) & whole) >> f), precision.truncated_bits)


def opened_value(outcome: Outcome, mask0: Words, mask1: Words) -> Integers:
    """The result behind the masks, of 48 bits, read signed."""
    return wrapped((outcome.masked - mask0 - mask1).view(np.int64), 48)


def check_relu(precision: Precision, z: Integers, z0: Integers, r0: Integers, r1: Integers, seed: int) -> None:
    """Run one batch (rows, n) and compare with max(0, Z); Z is floor or ceil of z / 2^f. Odd seeds: the padded form."""
    constant = (1 << precision.fraction_bits) - 1
    draws = random_draws(precision, (z.shape[0], z.shape[1]), seed)
    draws["R0"], draws["R1"] = r0, r1
    outcome = run_relu(precision, *shares(z, z0, constant), draws, padded=bool(seed % 2))
    expected = truncated(z, z0, precision, constant)
    floor = z >> precision.fraction_bits
    assert ((expected == floor) | (expected == floor + (z != floor << precision.fraction_bits))).all()
    assert np.array_equal(opened_value(outcome, draws["mask0"], draws["mask1"]), np.maximum(expected, 0))


@pytest.mark.parametrize("precision", SMALL, ids=str)
def test_relu_exhaustively_at_small_formats(precision: Precision) -> None:
    k, f, kappa = precision.value_bits, precision.fraction_bits, precision.truncated_bits
    legal = (1 << k) - (1 << f) + 1
    at = every(z=legal, z0=1 << k, r=1 << kappa)
    z = (at["z"] - (1 << (k - 1)))[None]
    for seed in (1, 2):
        r0 = np.random.default_rng(seed).integers(0, 1 << kappa, z.shape)
        check_relu(precision, z, at["z0"][None], r0, (at["r"][None] - r0) % (1 << kappa), seed)


def edges(precision: Precision) -> tuple[Integers, Integers]:
    """Values Z and masks R that meet every branch of the compare, each with each: (n,), (n,)."""
    kappa = precision.truncated_bits
    half, whole = 1 << (kappa - 1), 1 << kappa
    rng = np.random.default_rng(6)
    z = [0, 1, -1, 2, -2, half - 1, half - 2, -half, -half + 1, *rng.integers(-half, half, 20)]
    r = [0, 1, 2, half - 2, half - 1, half, half + 1, whole - 2, whole - 1, *rng.integers(0, whole, 30)]
    pairs = [(value, mask) for value in z for mask in r]
    # C' or R' of ones only, with either top bit.
    pairs += [(value, (opened - value) % whole) for value in z for opened in (half - 1, whole - 1, 0, half)]
    found = np.array(pairs, np.int64)
    return found[:, 0], found[:, 1]


@pytest.mark.parametrize("precision", FULL, ids=str)
def test_relu_at_full_size_with_every_edge(precision: Precision) -> None:
    kappa, f, k = precision.truncated_bits, precision.fraction_bits, precision.value_bits
    z, r = edges(precision)
    opened = (z + r) % (1 << kappa)
    low = (1 << (kappa - 1)) - 1
    met = Counter(zip(opened > low, r > low, np.sign((opened & low) - (r & low)), strict=True))
    assert len(met) == 2 * 2 * 3, "every C_top and p with C' below, at and above R'"
    assert {-1, 0, 1} <= set(((opened & low) - (r & low)).tolist())
    assert ((opened & low) == low).any()
    assert ((r & low) == low).any()
    rng = np.random.default_rng(7)
    r0 = rng.integers(0, 1 << kappa, z.size)
    r1 = (r - r0) % (1 << kappa)
    # Whole units, where Z is z / 2^f exactly, then with fractions added below.
    for fraction in (np.zeros(z.size, np.int64), rng.integers(0, 1 << f, z.size)):
        fine = np.minimum((z << f) + fraction, (1 << (k - 1)) - (1 << f))
        z0 = rng.integers(0, 2**63, z.size)
        for seed in (8, 9):
            check_relu(precision, fine[None], z0[None], r0[None], r1[None], seed)


@pytest.mark.parametrize("precision", FULL, ids=str)
def test_relu_of_random_values_in_several_rows(precision: Precision) -> None:
    rng = np.random.default_rng(9)
    shape, kappa, k = (3, 20_000), precision.truncated_bits, precision.value_bits
    size = rng.integers(0, k, shape)
    z = np.minimum(rng.integers(-(2**62), 2**62, shape) >> (63 - size), (1 << (k - 1)) - (1 << precision.fraction_bits))
    r0, r1 = rng.integers(0, 1 << kappa, (2, *shape))
    for seed in (10, 11):
        check_relu(precision, z, rng.integers(-(2**62), 2**62, shape), r0, r1, seed)


def check_truncation(precision: Precision, z: Integers, z0: Integers, r0: Integers, r1: Integers) -> None:
    """Run one batch and compare with Z itself."""
    lift = 1 << (precision.value_bits - 2)
    constant = lift + (1 << precision.fraction_bits) - 1
    draws = truncation_draws(random_draws(precision, (z.shape[0], z.shape[1]), 11))
    draws["R0"], draws["R1"] = r0, r1
    outcome = run_truncation(precision, *shares(z, z0, constant), draws)
    found = opened_value(outcome, draws["mask0"], draws["mask1"])
    floor = z >> precision.fraction_bits
    assert ((found == floor) | (found == floor + (z != floor << precision.fraction_bits))).all()
    unit = 1 << (precision.truncated_bits - 2)
    # The lifted value lies in 0 .. 2^(kappa - 1), so it is told from its residue.
    lifted = truncated(z, z0, precision, constant) % (1 << precision.truncated_bits)
    assert np.array_equal(found + unit, lifted)


@pytest.mark.parametrize("precision", SMALL, ids=str)
def test_truncation_exhaustively_at_small_formats(precision: Precision) -> None:
    k, kappa = precision.value_bits, precision.truncated_bits
    at = every(z=1 << (k - 1), z0=1 << k, r=1 << kappa)
    z = (at["z"] - (1 << (k - 2)))[None]
    r0 = np.random.default_rng(12).integers(0, 1 << kappa, z.shape)
    check_truncation(precision, z, at["z0"][None], r0, (at["r"][None] - r0) % (1 << kappa))


@pytest.mark.parametrize("precision", FULL, ids=str)
def test_truncation_at_full_size_with_every_edge(precision: Precision) -> None:
    kappa, f, k = precision.truncated_bits, precision.fraction_bits, precision.value_bits
    z, r = edges(precision)
    rng = np.random.default_rng(13)
    r0 = rng.integers(0, 1 << kappa, z.size)
    r1 = (r - r0) % (1 << kappa)
    half = 1 << (k - 2)
    for fraction in (np.zeros(z.size, np.int64), rng.integers(0, 1 << f, z.size)):
        fine = np.clip((z << f) + fraction, -half, half - 1)
        check_truncation(precision, fine[None], rng.integers(-(2**62), 2**62, z.size)[None], r0[None], r1[None])


@pytest.mark.parametrize("fraction", [0, 1, 5, 8, 15])
def test_truncation_rounds_up_as_often_as_the_fraction_says(fraction: int) -> None:
    # Exactly: over all shares modulo 2^k, so the expected value of Z is z / 2^f.
    precision = Precision(4, 9, 4)
    at = every(z0=1 << 9)
    for whole in (-16, -3, -1, 0, 1, 14):
        z = np.full((1, 1 << 9), (whole << 4) + fraction)
        rounded = truncated(z, at["z0"][None], precision, 15)
        assert set(rounded.reshape(-1).tolist()) <= {whole, whole + 1}
        assert int((rounded == whole + 1).sum()) * 16 == fraction * (1 << 9)
