"""The marks that are aimed at, on two cores of the machine of the baseline, and whether a run reaches them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.stats import Figures

Find = Callable[[Figures], float]


class Mark(NamedTuple):
    """A bound for something that is worked out from the figures.

    Attributes:
        largest: whether the bound is the largest allowed, and not the smallest.
    """

    title: str
    unit: str
    bound: float
    largest: bool
    find: Find


def _median(name: str, scale: float = 1.0) -> Find:
    return lambda figures: figures.median(name) * scale


def _clients_share(figures: Figures) -> float:
    return 100 * figures.median("clients/conv/throughput") / figures.median("throughput/conv/128/inside")


def _most_memory(figures: Figures) -> float:
    return max(figure.median for name, figure in figures.below("memory/").items() if name.endswith("/most")) / 1e6


MARKS = (
    Mark("conv, one query", "ms", 1.2, True, _median("latency/conv/private", 1e3)),
    Mark("dense, one query", "ms", 1.0, True, _median("latency/dense784x500/private", 1e3)),
    Mark("conv, batch 128, preprocessing inside", "images/s", 1000, False, _median("throughput/conv/128/inside")),
    Mark("conv, batch 128, preprocessing ahead", "images/s", 2000, False, _median("throughput/conv/128/ahead")),
    Mark("dense, batch 128", "images/s", 4000, False, _median("throughput/dense784x500/128/inside")),
    Mark("conv, 16 clients, of the rate of batch 128", "%", 60, False, _clients_share),
    Mark("conv query, online, payload", "kB", 105, True, _median("bytes/conv/1/online declared", 1e-3)),
    Mark("conv query, preprocessing, payload", "kB", 240, True, _median("bytes/conv/1/preprocessing declared", 1e-3)),
    Mark("memory of a worker, most", "MB", 300, True, _most_memory),
    Mark("workers ready, kernels cached", "s", 1.5, True, _median("start/kernels cached")),
    Mark("conv, 20 ms one way", "ms", 264, True, _median("wide/conv/20 ms one way/query", 1e3)),
)


def rows(figures: Figures) -> Iterator[list[str]]:
    """A line for each mark of which there are figures."""
    for mark in MARKS:
        try:
            value = mark.find(figures)
        except (KeyError, ValueError):
            continue
        met = value <= mark.bound if mark.largest else value >= mark.bound
        limit = f"{'at most' if mark.largest else 'at least'} {mark.bound:g} {mark.unit}"
        yield [mark.title, f"{value:,.4g} {mark.unit}", limit, "reached" if met else "missed"]
