"""Plots of a run: latency against batch size, time by step, bytes by step, growth with the multiply-adds.

As a program: draws those of a JSON file anew. `python -m bench.plots RESULT.json`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from bench import report
from bench.stats import Figure, Figures

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's, which colour-blind people tell apart; every series has a marker or hatching of its own besides."""

MARKERS = ("o", "s", "^", "D")
HATCHES = ("", "//", "..", "xx", "\\\\")

mpl.use("Agg")


def draw(figures: Figures, machine: dict[str, Any], base: Path) -> list[Path]:
    """The plots for which there are figures, as PNG files whose names begin with ``base``."""
    drawn = []
    for name, plot in (("latency", _latency), ("steps", _steps), ("bytes", _bytes), ("growth", _growth)):
        figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
        if plot(axes, figures):
            figure.suptitle(axes.get_title(), fontsize=12)
            axes.set_title(_caption(machine), fontsize=8, color="0.35")
            axes.spines[["top", "right"]].set_visible(False)
            path = base.with_name(f"{base.name}-{name}.png")
            figure.savefig(path, dpi=110, metadata={"Software": None})
            drawn.append(path)
        plt.close(figure)
    return drawn


def _caption(machine: dict[str, Any]) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['date'][:10]}, commit {machine['commit']}"


def _line(axes: Axes, points: dict[float, Figure], label: str, place: int, style: str = "-") -> None:
    x = sorted(points)
    colour = COLOURS[place]
    values = [points[at].median * 1e3 for at in x]
    axes.plot(x, values, color=colour, linestyle=style, marker=MARKERS[place], label=label)
    low, high = ([getattr(points[at], which) * 1e3 for at in x] for which in ("p10", "p90"))
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _proportional(axes: Axes, points: dict[float, Figure]) -> None:
    """A grey line of growth in proportion through the last point: the cost grows no faster while it is not steeper."""
    x = sorted(points)
    last = points[x[-1]].median * 1e3
    shown = [at for at in x if last * at / x[-1] > 0.2 * min(point.median * 1e3 for point in points.values())]
    axes.plot(shown, [last * at / x[-1] for at in shown], color="0.6", linestyle=":", zorder=0)


def _log(axes: Axes, ticks: list[float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(True, color="0.92")
    axes.set_axisbelow(True)


def _latency(axes: Axes, figures: Figures) -> bool:
    ticks: list[float] = []
    for place, model in enumerate(report.MODELS):
        ahead = {float(rows): figure for rows, figure in figures.below(f"growth/batch/{model}/").items()}
        inside = {
            (rows := float(name.removesuffix("/inside"))): _seconds(rows, figure)
            for name, figure in figures.below(f"throughput/{model}/").items()
            if name.endswith("/inside")
        }
        for points, how, style in ((ahead, "prepared ahead", "-"), (inside, "prepared inside the time", "--")):
            if points:
                _line(axes, points, f"{model}, {how}", place, style)
                _proportional(axes, points)
                ticks = sorted({*ticks, *points})
    if ticks:
        _log(axes, ticks)
        axes.set(title="One query", xlabel="images in the query", ylabel="ms")
        axes.legend(title="median, 10 - 90 %; dotted: in proportion", frameon=False)
    return bool(ticks)


def _seconds(rows: float, rate: Figure) -> Figure:
    """How long a query takes on the average: some of them find rows prepared, and others wait for the next block."""
    return Figure(rate.name, "s", rows / rate.median, rows / rate.p90, rows / rate.p10, rate.runs)


def _growth(axes: Axes, figures: Figures) -> bool:
    points = {float(count): figure for count, figure in figures.below("growth/multiply-adds/").items()}
    if points:
        _line(axes, points, "784 - width - 10, one image", 0)
        _proportional(axes, points)
        _log(axes, sorted(points))
        axes.tick_params(axis="x", labelrotation=30)
        axes.set(title="Growth with the size of a dense model", xlabel="multiply-adds of one image", ylabel="ms")
        axes.legend(title="median, 10 - 90 %; dotted: in proportion", frameon=False)
    return bool(points)


def _stacked(axes: Axes, rows: dict[str, dict[str, float]], kinds: list[str]) -> None:
    """Horizontal bars, one a row, in parts, one a kind."""
    names = list(rows)[::-1]
    left = [0.0] * len(names)
    for place, kind in enumerate(kinds):
        widths = [rows[name].get(kind, 0.0) for name in names]
        axes.barh(
            names, widths, left=left, color=COLOURS[place], hatch=HATCHES[place], edgecolor="white", label=kind
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for name, total in zip(names, left, strict=True):
        axes.annotate(f" {total:,.0f}", (total, name), va="center", fontsize=9)
    axes.grid(True, axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=len(kinds), fontsize=9)


def _steps(axes: Axes, figures: Figures) -> bool:
    rows = {
        f"{model}:\n{_short(step)}": {work: seconds * 1e6 for work, seconds in works.items()}
        for model in report.MODELS
        for step, works in report.by_step(figures, model).items()
    }
    if rows:
        _stacked(axes, rows, ["product and truncation", "compare", "dealer's look", "selection"])
        axes.set(title="Computing of one query, the slower party of each stretch", xlabel="us")
    return bool(rows)


def _bytes(axes: Axes, figures: Figures) -> bool:
    rows: dict[str, dict[str, float]] = {}
    for model in report.MODELS:
        for name, figure in figures.below(f"step bytes/{model}/").items():
            step, message = name.split("/")
            rows.setdefault(f"{model}:\n{_short(step)}", {})[message] = figure.median / 1e3
    if rows:
        _stacked(axes, rows, ["dealt ahead", "opened", "compare", "answer", "masked"])
        axes.set(title="Bytes between workers for one query", xlabel="kB")
    return bool(rows)


def _short(step: str) -> str:
    """The number and the first layer of a step."""
    return step.split(" + ")[0]


def main() -> None:
    """Draw the plots of a result."""
    parser = argparse.ArgumentParser(prog="python -m bench.plots", description=__doc__)
    parser.add_argument("result", type=Path)
    path = parser.parse_args().result
    fields = json.loads(path.read_text())
    for drawn in draw(Figures.from_fields(fields["figures"]), fields["machine"], path.with_suffix("")):
        print(drawn)


if __name__ == "__main__":
    main()
