"""A picture of each large network: time, bytes and memory of every step, from the first to the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench import plots
from bench.stats import Figures

PANELS = (
    ("time of a query at server0, ms", 1e3, (("time", "time"),)),
    ("bytes between workers, MB", 1e-6, (("preprocessing", "preprocessing"), ("online", "online"))),
    ("memory of what is prepared, MB", 1e-6, (("memory", "memory"),)),
)
NAMED = 4
"""Steps of each panel that are named: the largest."""

LEAST_APART = 0.14
"""Of the width, between two names."""


def draw(figures: Figures, machine: dict[str, Any], base: Path) -> list[Path]:
    """One PNG a network, whose name begins with ``base``."""
    names = sorted({name.split("/")[1] for name in figures.all if name.startswith("large/")})
    return [path for name in names if (path := _network(figures, machine, base, name)) is not None]


def _network(figures: Figures, machine: dict[str, Any], base: Path, name: str) -> Path | None:
    steps: dict[int, tuple[str, dict[str, float]]] = {}
    for key, figure in figures.below(f"large/{name}/step/").items():
        step, _, what = key.rpartition("/")
        number, _, layer = step.partition(" ")
        steps.setdefault(int(number), (layer, {}))[1][what] = figure.median
    if not steps:
        return None
    figure, axes = plt.subplots(len(PANELS), 1, figsize=(11, 8), sharex=True, layout="constrained")
    for place, (title, scale, parts) in enumerate(PANELS):
        _panel(axes[place], steps, title, scale, parts)
    axes[-1].set_xlabel("step")
    query = figures.median(f"large/{name}/query, preprocessing inside")
    figure.suptitle(f"{name}: {query:.1f} s a query, preprocessing inside\n{plots._caption(machine)}", fontsize=11)
    path = base.with_name(f"{base.name}-{name}.png")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path


def _panel(
    axes: Axes,
    steps: dict[int, tuple[str, dict[str, float]]],
    title: str,
    scale: float,
    parts: tuple[tuple[str, str], ...],
) -> None:
    total = dict.fromkeys(steps, 0.0)
    for place, (what, label) in enumerate(parts):
        height = {number: scale * found.get(what, 0.0) for number, (_, found) in steps.items()}
        axes.bar(
            list(height),
            list(height.values()),
            bottom=[total[number] for number in height],
            color=plots.COLOURS[place],
            hatch=plots.HATCHES[place],
            edgecolor="white",
            linewidth=0.3 if len(height) < 150 else 0,
            width=0.9,
            label=label,
        )
        for number, value in height.items():
            total[number] += value
    apart, named = LEAST_APART * (max(steps) + 1), list[int]()
    for number in sorted(total, key=lambda one: -total[one]):
        if len(named) < NAMED and total[number] and all(abs(number - other) >= apart for other in named):
            named.append(number)
            first, at = steps[number][0].split(" + ")[0], (number, total[number])
            axes.annotate(first, at, xytext=(2, 3), textcoords="offset points", fontsize=7)
    axes.set_ylabel(title, fontsize=8)
    axes.set_title(f"{sum(total.values()):,.0f} in all", fontsize=8, loc="right", color="0.35")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01, y=0.12)
    if len(parts) > 1:
        axes.legend(frameon=False, fontsize=8)
