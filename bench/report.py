"""A run on the screen: the tables that README.md explains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bench import marks
from bench.stats import Figure, Figures

MODELS = ("conv", "dense784x500")


def text(machine: dict[str, Any], figures: Figures) -> str:
    """All tables of which there are figures."""
    parts = [_machine(machine)]
    for title, rows in (
        ("The marks", marks.rows(figures)),
        ("One query at a time, in ms: median (p10 - p90)", _latency(figures)),
        ("Images a second: median (p10 - p90)", _throughput(figures)),
        ("Bytes between workers for one query", _traffic(figures)),
        ("Processor time for an image, in ms", _processor(figures)),
        ("Start and memory", _start(figures)),
        ("Computing of one query by step, in us, the slower party of each stretch", _steps(figures)),
        ("Preprocessing of a row, in us", _preprocessing(figures)),
        ("The budget", _budget(figures)),
        ("Far apart: 20 ms one way", _wide(figures)),
    ):
        table = list(rows)
        if table:
            parts.append(_table(title, table))
    return "\n\n".join(parts)


def _machine(machine: dict[str, Any]) -> str:
    changed = " (changed)" if machine.get("changed") else ""
    return (
        f"{machine['date']}, commit {machine['commit']}{changed}\n{machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}, {machine['openssl']}\n"
        f"load before {machine.get('load_before')}, after {machine.get('load_after')}, "
        f"scheduling {machine.get('scheduling')}"
    )


def _table(title: str, rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([title, "-" * len(title), *lines])


def _with_spread(scale: float, digits: int) -> Callable[[Figure | None], str]:
    def shown(figure: Figure | None) -> str:
        if figure is None:
            return ""
        values = (figure.median * scale, figure.p10 * scale, figure.p90 * scale)
        return "{:.{n}f} ({:.{n}f} - {:.{n}f})".format(*values, n=digits)

    return shown


def _latency(figures: Figures) -> Iterable[list[str]]:
    shown, ratio = _with_spread(1e3, 2), _with_spread(1, 2)
    kinds = list(figures.below(f"latency/{MODELS[0]}/"))
    if kinds:
        yield ["", *(heading for model in MODELS for heading in (model, "private / this"))]
    for kind in kinds:
        cells = [
            cell
            for model in MODELS
            for cell in (
                shown(figures.all.get(f"latency/{model}/{kind}")),
                ratio(figures.all.get(f"ratio/{model}/{kind}")),
            )
        ]
        yield [kind, *cells]


def _throughput(figures: Figures) -> Iterable[list[str]]:
    shown = _with_spread(1, 0)
    batches = [key.split("/")[0] for key in figures.below(f"throughput/{MODELS[0]}/") if key.endswith("ahead")]
    if batches:
        yield ["batch", *(f"{model}, {how}" for model in MODELS for how in ("ahead", "inside"))]
    for rows in batches:
        kinds = [f"throughput/{model}/{rows}/{how}" for model in MODELS for how in ("ahead", "inside")]
        yield [rows, *(shown(figures.all.get(kind)) for kind in kinds)]
    many = [figures.all.get(f"clients/{model}/throughput") for model in MODELS]
    if any(many):
        yield ["16 clients with 1 each", *(cell for figure in many for cell in ("", shown(figure)))]


def _traffic(figures: Figures) -> Iterable[list[str]]:
    names = ("preprocessing", "preprocessing declared", "online", "online declared", "client sends", "client receives")
    found = [(model, rows) for model in MODELS for rows in (1, 32) if f"bytes/{model}/{rows}/online" in figures.all]
    if not found:
        return
    yield ["", *(f"{model} x {rows}" for model, rows in found)]
    for name in names:
        yield [name, *(f"{figures.median(f'bytes/{model}/{rows}/{name}'):,.0f}" for model, rows in found)]
    yield ["delays", *(f"{figures.median(f'delays declared/{model}'):.0f}" for model, _ in found)]


def _processor(figures: Figures) -> Iterable[list[str]]:
    shown = _with_spread(1e3, 2)
    found = figures.below("processor/")
    queries = list(dict.fromkeys(name.rsplit("/", 1)[0] for name in found))
    if queries:
        yield ["model/batch/preprocessing", "server0", "server1", "server2", "client"]
    for query in queries:
        yield [query, *(shown(found.get(f"{query}/{role}")) for role in ("server0", "server1", "server2", "client"))]


def _start(figures: Figures) -> Iterable[list[str]]:
    for name, figure in figures.below("start/").items():
        yield [f"ready, {name}", _with_spread(1, 2)(figure) + " s"]
    for name, figure in figures.below("memory/").items():
        if name.endswith("/most"):
            yield [f"memory {name.removesuffix('/most').replace('/', ', ')}, most", f"{figure.median / 1e6:.0f} MB"]


def _steps(figures: Figures) -> Iterable[list[str]]:
    for model in MODELS:
        for step, works in by_step(figures, model).items():
            for work, seconds in works.items():
                yield [f"{model}: {step}", work, f"{seconds * 1e6:.0f}"]
        total = sum(sum(works.values()) for works in by_step(figures, model).values())
        if total:
            yield [f"{model}: sum, the critical path of computing", "", f"{total * 1e6:.0f}"]


def by_step(figures: Figures, model: str) -> dict[str, dict[str, float]]:
    """Seconds of each stretch at the slower of its parties, by step and work."""
    found: dict[str, dict[str, float]] = {}
    for name, figure in figures.below(f"steps/{model}/").items():
        step, work, _ = name.split("/")
        works = found.setdefault(step, {})
        works[work] = max(works.get(work, 0.0), figure.median)
    return found


def _preprocessing(figures: Figures) -> Iterable[list[str]]:
    for name, figure in figures.below("preprocessing/").items():
        yield [name.replace("/", ", "), _with_spread(1e6, 0)(figure)]


def _budget(figures: Figures) -> Iterable[list[str]]:
    for name, figure in figures.below("kernel/").items():
        yield [name, f"{figure.median * 1e9:,.2f} ns"]
    for name, figure in figures.below("floor/").items():
        yield [f"floor: {name}", f"{figure.median * 1e6:,.0f} us"]


def _wide(figures: Figures) -> Iterable[list[str]]:
    for name, figure in figures.below("wide/").items():
        shown = _with_spread(1e3, 1)(figure) + " ms" if figure.unit == "s" else f"{figure.median:.0f}"
        yield [name, shown]
