"""Views and their distributions: what a party sees, counted over all randomness or tested for uniformity.

Everything is vectorised: one array element stands for one combination of random values. A view is a list of columns,
one integer for each combination; two secrets are perfectly hidden from a party when its views of both hold the same
combinations of numbers equally often.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Array = NDArray[Any]

FEW = 1 << 22
"""Distributions over at most so many outcomes are counted; larger ones are sorted."""

SUSPICIOUS = 6.5
"""Standard deviations of a normal score that chance exceeds once in 10^10 tests."""


def every(**sizes: int) -> dict[str, Integers]:
    """All combinations of integers below the given sizes: one array a name, all of the same length."""
    total = math.prod(sizes.values())
    index = np.arange(total)
    found = {}
    for name, size in sizes.items():
        found[name] = index % size
        index = index // size
    return found


def digits_of(values: Integers, base: int, count: int) -> Integers:
    """The lowest ``count`` digits of each value, lowest first: (count, n)."""
    return np.stack([values // base**place % base for place in range(count)])


class View:
    """The joint view of one party, or of several who put together what they saw."""

    def __init__(self) -> None:
        self._key: NDArray[np.uint64] | None = None
        self._outcomes = 1

    def see(self, values: Array, outcomes: int) -> None:
        """Add columns of numbers below ``outcomes``: (n,), or (columns, n)."""
        for column in values.reshape(-1, values.shape[-1]):
            if int(column.max()) >= outcomes or int(column.min()) < 0:
                raise ValueError(f"A column declared to be below {outcomes} holds other numbers.")
            if self._outcomes * outcomes > 1 << 64:
                raise ValueError("The view has too many outcomes for a 64-bit key.")
            key = column.astype(np.uint64)
            self._key = key if self._key is None else self._key + key * np.uint64(self._outcomes)
            self._outcomes *= outcomes

    def distribution(self) -> Array:
        """Equal arrays for equal distributions."""
        if self._key is None:
            return np.empty(0, np.int64)
        if self._outcomes <= FEW:
            return np.bincount(self._key.astype(np.int64), minlength=self._outcomes)
        return np.sort(self._key)


def uniformity(values: Array, outcomes: int) -> float:
    """How far from uniform: the chi-square statistic as a standard normal score (Wilson and Hilferty, 1931)."""
    counts = np.bincount(values.reshape(-1).astype(np.int64), minlength=outcomes)
    expected = values.size / outcomes
    if expected < 5 or counts.size > outcomes:
        raise ValueError(f"{values.size} values below {counts.size} are no test of {outcomes} outcomes.")
    freedom = outcomes - 1
    statistic = float(((counts - expected) ** 2).sum()) / expected
    spread = 2.0 / (9.0 * freedom)
    return float(((statistic / freedom) ** (1.0 / 3.0) - (1.0 - spread)) / math.sqrt(spread))


def looks_uniform(values: Array, outcomes: int) -> bool:
    """Whether no fair test could call the values biased; one good source in 10^10 fails."""
    return uniformity(values, outcomes) < SUSPICIOUS
