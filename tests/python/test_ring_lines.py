"""A server's share of a piecewise linear function: both shares together give the function, of Python's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from syfr.ring.fixedpoint import Words
from syfr.ring.lines import share_of_lines

RING = 2**64
KNOTS, FACTORS, SLOPE, CONSTANT = (-300, 0, 6 << 14), (5, -7, 3), 2, -11


def ring(values: Any) -> Words:
    """Whole numbers as ring elements."""
    return np.asarray(np.asarray(values, object) % RING, np.uint64)


def function(x: NDArray[Any], products: bool) -> NDArray[Any]:
    """In the clear."""
    pieces = [f * (x >= t) * (x - t if products else 1) for t, f in zip(KNOTS, FACTORS, strict=True)]
    return SLOPE * x + CONSTANT + sum(pieces)


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize("rows", [1, 3])
def test_both_shares_are_the_function(products: bool, rows: int) -> None:
    random, shape = np.random.default_rng(rows), (rows, 37)
    x = random.integers(-(1 << 20), 1 << 20, shape).astype(object)
    x[0, : len(KNOTS)] = KNOTS
    masks = [random.integers(0, RING, shape, np.uint64) for _ in range(2)]
    tau = random.integers(0, 2, (rows, len(KNOTS), shape[1]))
    above = np.stack([x >= knot for knot in KNOTS], 1).astype(np.uint8)
    whole = ring(np.stack([tau, tau * (masks[0] + masks[1]).astype(object)[:, None]], 1)[:, : 2 if products else 1])
    halves = [random.integers(0, RING, whole.shape, np.uint64)]
    halves.append(whole - halves[0])
    m = ring(x) + masks[0] + masks[1]
    shares = [
        share_of_lines(
            m,
            masks[role],
            above ^ tau.astype(np.uint8),
            halves[role],
            ring(KNOTS),
            ring(FACTORS),
            np.uint64(SLOPE),
            np.uint64(CONSTANT % RING),
            role == 0,
        )
        for role in range(2)
    ]
    assert np.array_equal(shares[0] + shares[1], ring(function(x, products)))
