"""Figures of a benchmark: repeated measurements with their median and spread, in one flat form for JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Figure:
    """One measured quantity.

    Attributes:
        name: a path such as "latency/conv/private".
        unit: "s", "images/s", "B", ...
        median, p10, p90: of ``runs`` measurements.
    """

    name: str
    unit: str
    median: float
    p10: float
    p90: float
    runs: int

    def to_fields(self) -> dict[str, Any]:
        """For JSON, without the name."""
        return {"unit": self.unit, "median": self.median, "p10": self.p10, "p90": self.p90, "runs": self.runs}


class Figures:
    """The figures of one run, by name."""

    def __init__(self) -> None:
        self.all: dict[str, Figure] = {}

    def add(self, name: str, unit: str, values: Sequence[float] | float) -> Figure:
        """Add a quantity that was measured once or several times."""
        measured = np.atleast_1d(np.asarray(values, np.float64))
        p10, median, p90 = (float(value) for value in np.percentile(measured, (10, 50, 90)))
        figure = self.all[name] = Figure(name, unit, median, p10, p90, len(measured))
        return figure

    def median(self, name: str) -> float:
        """The median of a quantity."""
        return self.all[name].median

    def below(self, prefix: str) -> dict[str, Figure]:
        """The figures whose names begin so, by the rest of their names."""
        return {name[len(prefix) :]: figure for name, figure in self.all.items() if name.startswith(prefix)}

    def to_fields(self) -> dict[str, Any]:
        """For JSON."""
        return {name: figure.to_fields() for name, figure in self.all.items()}

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Figures:
        """From JSON."""
        figures = cls()
        for name, values in fields.items():
            figures.all[name] = Figure(name, **values)
        return figures


def seconds_of(work: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def repeated(work: Callable[[], object], runs: int, warm: int = 2) -> list[float]:
    """The seconds of several calls, after some that do not count."""
    for _ in range(warm):
        work()
    return [seconds_of(work) for _ in range(runs)]
