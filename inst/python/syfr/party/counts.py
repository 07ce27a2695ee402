"""What a worker has counted since it started: queries by what came of them, and how long the answered ones took."""

from __future__ import annotations

import bisect
from collections import Counter
from typing import Any

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds up to which the answers of one bucket took."""


class Counts:
    """Counters and one histogram."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._failed: Counter[str] = Counter()
        self.together = 0

    def answered(self, seconds: float) -> None:
        """A query was answered here."""
        self._buckets[bisect.bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def failed(self, code: str) -> None:
        """A query was refused or has failed, for the reason of that code."""
        self._failed[code] += 1

    def fields(self) -> dict[str, Any]:
        """As plain values: "buckets" count what is not in those before, "together" what ran in a pass with others."""
        return {
            "buckets": list(self._buckets),
            "seconds": self._seconds,
            "failed": dict(self._failed),
            "together": self.together,
        }
