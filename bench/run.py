"""Everything, in a few minutes: tables on the screen, a JSON file and plots in bench/results. `python -m bench.run`"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import syfr as sy

from bench import (
    clients,
    floor,
    growth,
    kernels,
    latency,
    machine,
    models,
    report,
    serving,
    startup,
    steps,
    throughput,
    traffic,
    wide,
)
from bench.stats import Figures

RESULTS = Path(__file__).resolve().parent / "results"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions: to see that it runs, not to measure")
    parser.add_argument("--output", type=Path, help="the JSON file; by default one named by time and commit")
    parser.add_argument("--only", nargs="+", choices=[name for name, _ in PARTS], help="some parts alone")
    parser.add_argument("--no-plots", action="store_true", help="do not draw; then matplotlib is not needed")
    return parser.parse_args()


def _startup(figures: Figures, quick: bool) -> None:
    startup.measure(figures, 2 if quick else startup.STARTS, first_ever=not quick)


def _served(figures: Figures, quick: bool) -> None:
    with serving.running() as cluster:
        for model in (models.conv(), models.dense()):
            traffic.measure(figures, model, cluster)
            latency.measure(figures, model, cluster, 3 if quick else latency.ROUNDS)
        startup.memory(figures, cluster, "after single queries")
        for model in (models.conv(), models.dense()):
            throughput.measure(figures, model, cluster, (1, 32) if quick else throughput.BATCHES)
        startup.memory(figures, cluster, "after batches")


def _clients(figures: Figures, quick: bool) -> None:
    with serving.running() as cluster:
        for model in (models.conv(), models.dense()):
            clients.measure(figures, model, cluster)
        startup.memory(figures, cluster, "after many clients")


def _growth(figures: Figures, quick: bool) -> None:
    with serving.running() as cluster:
        growth.measure(figures, cluster, (1, 8) if quick else growth.BATCHES)


def _computing(figures: Figures, quick: bool) -> None:
    from syfr.importing.keras_import import import_model

    for model in (models.conv(), models.dense()):
        imported = import_model(model)
        steps.measure(figures, imported, model.name)
        if model.name == "conv":
            kernels.measure(figures, imported.program)
            floor.add(figures, imported.program)


def _wide(figures: Figures, quick: bool) -> None:
    wide.measure(figures, models.conv(), 3 if quick else wide.RUNS)


PARTS: list[tuple[str, Callable[[Figures, bool], None]]] = [
    ("startup", _startup),
    ("computing", _computing),
    ("served", _served),
    ("clients", _clients),
    ("growth", _growth),
    ("wide", _wide),
]


def main() -> None:
    """Run the parts, print, write, draw."""
    options = parse()
    described, figures = machine.describe(), Figures()
    print(f"syfr {sy.__version__}, load {described['load_before']}", flush=True)
    for name, part in PARTS:
        if options.only is None or name in options.only:
            began = time.monotonic()
            part(figures, options.quick)
            print(f"  {name}: {time.monotonic() - began:.0f} s", flush=True)
    described["load_after"] = machine.load()
    print("\n" + report.text(described, figures))
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    output = options.output or RESULTS / f"{stamp}-{described['commit']}.json"
    output.write_text(json.dumps({"machine": described, "figures": figures.to_fields()}, indent=1) + "\n")
    print(f"\nwritten: {output}")
    if not options.no_plots:
        from bench import plots

        for path in plots.draw(figures, described, output.with_suffix("")):
            print(f"drawn:   {path}")


if __name__ == "__main__":
    main()
