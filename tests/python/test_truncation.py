"""Truncation makes no large error, ever: millions of values through the whole protocol, with fresh shares and masks.

Where shares are shifted in the 64-bit ring, each on its own, a value z comes out wrong by 2^(64 - f) with a chance of
|z| / 2^64: the largest one once in eight million times. Here every result is floor or ceil of z / 2^f.
"""

from __future__ import annotations

import numpy as np
import pytest
from harness import random_draws, run_output, run_relu, run_truncation
from layouts import signed
from numpy.typing import NDArray
from syfr.program import Program
from syfr.protocol import output, truncation
from syfr.ring.fixedpoint import Precision, Words

Integers = NDArray[np.int64]

PRECISION = Precision()
F, K, KAPPA = PRECISION.fraction_bits, PRECISION.value_bits, PRECISION.truncated_bits
CEILING = (1 << F) - 1
"""What is added to z for the sum of the shifted shares to be floor or ceil."""


def values(rng: np.random.Generator, size: int, bits: int) -> Integers:
    """Signed numbers of at most so many bits: half of them at random sizes, the first ones at the ends of the range."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - (1 << F)
    spread = rng.integers(low, high, size, endpoint=True)
    spread[::2] >>= rng.integers(0, bits, spread[::2].size)
    spread[:8] = [low, low + 1, high, high - 1, -1, 0, 1, 1 << F]
    return spread


def shares(rng: np.random.Generator, z: Integers, constant: int) -> tuple[Words, Words]:
    """Additive shares of z + constant in the 64-bit ring."""
    first = rng.integers(0, 2**64, z.shape, np.uint64)
    return first, (z + constant).astype(np.uint64) - first


def through_truncation(rng: np.random.Generator, size: int) -> tuple[Integers, Integers]:
    """Values z and what the two-delay truncation makes of them."""
    z = values(rng, size, K - 1)[None]
    whole = {name: rng.integers(0, 2**64, z.shape, np.uint64) for name in ("mask0", "mask1")}
    small = {name: rng.integers(0, 1 << KAPPA, z.shape) for name in ("R0", "R1")}
    dealt = rng.integers(0, 2**64, (1, truncation.DEALT, size), np.uint64)
    outcome = run_truncation(PRECISION, *shares(rng, z, CEILING + (1 << (K - 2))), {**whole, **small, "dealt": dealt})
    return z, signed(outcome.masked - whole["mask0"] - whole["mask1"], 48).view(np.int64)


def through_relu(rng: np.random.Generator, size: int) -> tuple[Integers, Integers]:
    """Values z and what truncation and ReLU make of them."""
    z = values(rng, size, K)[None]
    draws = random_draws(PRECISION, (1, size), int(rng.integers(1 << 32)))
    outcome = run_relu(PRECISION, *shares(rng, z, CEILING), draws)
    return np.maximum(z, 0), signed(outcome.masked - draws["mask0"] - draws["mask1"], 48).view(np.int64)


def through_output(rng: np.random.Generator, size: int) -> tuple[Integers, Integers]:
    """Values z and what a client reads."""
    z = values(rng, size, K)[None]
    parts = run_output(PRECISION, *shares(rng, z, CEILING), rng.integers(0, 2**64, z.shape, np.uint64))
    return z, np.rint(output.combine(*parts, Program((size,), ())) * 2.0**F).astype(np.int64)


WAYS = {"truncation": through_truncation, "relu": through_relu, "output": through_output}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("way", "millions"),
    [("truncation", 10), ("output", 10), ("relu", 1), pytest.param("relu", 10, marks=pytest.mark.slow)],
)
def test_truncation_makes_no_large_error_ever(way: str, millions: int) -> None:
    rng = np.random.default_rng(14)
    for _ in range(10 * millions):
        z, found = WAYS[way](rng, 100_000)
        error = found - (z >> F)
        assert int(error.min()) == 0
        assert int(error.max()) == 1
        assert not error[z % (1 << F) == 0].any(), "what needs no rounding comes out exactly"
