"""Networks of real size on three worker processes: time, bytes and memory, by step. `python -m bench.large`"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import syfr as sy
from syfr.face.imports import imported
from syfr.face.owner import sharing
from syfr.importing.calibration import HEADROOM, calibrated
from syfr.importing.keras_import import Imported
from syfr.party.preprocessing import Plan, program_cost

from bench import accuracy, machine, networks, serving
from bench.networks import Images, Network
from bench.stats import Figures, seconds_of

RESULTS = Path(__file__).resolve().parent / "results"
TIMEOUT = 600.0
QUERIES = 4
MARKS = {"MobileNetV2": 3.0, "ResNet50": 10.0}
"""Seconds of a query with its preprocessing."""

MOST_BYTES = 4e9
"""Of memory, for any worker."""


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    names = [*(network.name for network in networks.NETWORKS), "accuracy"]
    parser.add_argument("--only", nargs="+", choices=names, help="some of them alone")
    parser.add_argument("--queries", type=int, default=QUERIES, help=f"of each network, {QUERIES} if nothing is said")
    parser.add_argument("--output", type=Path, help="the JSON file; by default one named by time and commit")
    return parser.parse_args()


def measure(figures: Figures, network: Network, queries: int) -> None:
    """One network in a cluster of its own."""
    seen, unseen = network.seen(), network.unseen()
    model = network.build(seen)
    options = dict(network.options)
    if network.calibrated:
        options["calibrate"] = seen
    found = imported(model, **options)
    if network.calibrated:
        _ranges(figures, network.name, found, {"seen": seen, "unseen": unseen})
    _declared(figures, network.name, found)
    plain = np.asarray(model(unseen[:queries]))
    del found
    with serving.running() as cluster:
        began = time.perf_counter()
        shared = sharing(model, cluster, name=network.name, timeout=TIMEOUT, **options).wait(TIMEOUT)
        figures.add(f"large/{network.name}/sharing", "s", time.perf_counter() - began)
        shared.open_serving().wait(TIMEOUT)
        _queries(figures, network.name, model, cluster, unseen[:queries], plain)
        _traced(figures, network.name, shared, model, cluster, unseen[:1])
        for role, process in serving.pids(cluster).items():
            figures.add(f"large/{network.name}/memory/{role}", "B", serving.memory(process)["most"])


def _ranges(figures: Figures, name: str, found: Imported, data: dict[str, Images]) -> None:
    """How much of the room that the number format has is used; fails where less than the headroom is left."""
    for which, x in data.items():
        bounds = calibrated(found.program, found.weights, x, found.known)
        used = max(bound.magnitude / HEADROOM / bound.largest for bound in bounds)
        figures.add(f"large/{name}/room used/{which}", "", used)


def _declared(figures: Figures, name: str, found: Imported) -> None:
    """By step: bytes between workers, and memory of what is prepared."""
    plan, cost = Plan(found.program), program_cost(found.program)
    figures.add(f"large/{name}/delays", "", cost.delays)
    figures.add(f"large/{name}/bytes/preprocessing", "B", cost.preprocessing_bytes)
    figures.add(f"large/{name}/bytes/online", "B", cost.online_bytes)
    figures.add(f"large/{name}/pieces", "", len(plan.pieces))
    for number, operation in enumerate(plan.operations):
        own, step = operation.cost(), f"large/{name}/step/{number} {operation.step.layer}"
        figures.add(f"{step}/preprocessing", "B", own.preprocessing_bytes)
        figures.add(f"{step}/online", "B", own.online_bytes)
        figures.add(f"{step}/memory", "B", operation.row_bytes())


def _queries(
    figures: Figures, name: str, model: Any, cluster: sy.TFECluster, x: Images, plain: networks.Images
) -> None:
    """Each in a session of its own, from before it is opened: all of the preprocessing is inside the time."""
    workers = serving.Processors(list(serving.pids(cluster).values()))
    seconds, processor, answers = [], [], []
    for row in x:
        workers.rest(TIMEOUT)
        before = sum(workers.used().values())

        def query() -> None:
            with serving.connected(model, cluster) as client:
                answers.append(client.querying(row[None], TIMEOUT).wait())  # noqa: B023

        seconds.append(seconds_of(query))
        processor.append(sum(workers.used().values()) - before)
    figures.add(f"large/{name}/query, preprocessing inside", "s", seconds)
    figures.add(f"large/{name}/processor", "s", processor)
    logits = np.concatenate(answers)
    figures.add(f"large/{name}/error", "", float(np.abs(logits - plain).max()))
    figures.add(f"large/{name}/same class", "", float((logits.argmax(1) == plain.argmax(1)).mean()))


def _traced(figures: Figures, name: str, shared: Any, model: Any, cluster: sy.TFECluster, x: Images) -> None:
    """One more query, as far ahead as the workers prepare; when its steps begin at server0 says how long they take."""
    workers = serving.Processors(list(serving.pids(cluster).values()))
    with serving.connected(model, cluster) as client:
        shared.tracing().wait(TIMEOUT)
        workers.rest(TIMEOUT)
        took = seconds_of(lambda: client.querying(x, TIMEOUT).wait())
    figures.add(f"large/{name}/query, as far ahead as may be", "s", took)
    steps = [step for step in shared.tracing().wait(TIMEOUT) if step["worker"] == "server0"]
    ends = [*(step["began_ms"] for step in steps[1:]), steps[-1]["began_ms"] + steps[-1]["ms"]]
    for step, end in zip(steps, ends, strict=True):
        figures.add(f"large/{name}/step/{step['step']} {step['layer']}/time", "s", (end - step["began_ms"]) / 1e3)


def text(figures: Figures) -> str:
    """A table of the networks."""
    heads = ("query", "ahead", "cpu", "prep.", "online", "memory", "error")
    lines = [f"{'network':<14}" + "".join(f"{head:>9}" for head in heads) + "  marks"]
    for name in sorted({name.split("/")[0] for name in figures.below("large/")}):
        own = figures.below(f"large/{name}/")
        query, memory = own["query, preprocessing inside"], max(own[f"memory/{role}"].median for role in _ROLES)
        marks = [f"{MARKS[name]:.0f} s: {_kept(query.median < MARKS[name])}"] if name in MARKS else []
        marks.append(f"4 GB: {_kept(memory < MOST_BYTES)}")
        seconds = (query, own["query, as far ahead as may be"], own["processor"])
        sizes = (own["bytes/preprocessing"].median, own["bytes/online"].median, memory)
        cells = [*(f"{one.median:.2f} s" for one in seconds), *(f"{size / 1e6:.0f} MB" for size in sizes)]
        cells.append(f"{own['error'].median:.4f}")
        lines.append(f"{name:<14}" + "".join(f"{cell:>9}" for cell in cells) + f"  {', '.join(marks)}")
    small = figures.below("accuracy/")
    lines += [f"{name}: {figure.median:.4f}" for name, figure in small.items()]
    return "\n".join(lines)


_ROLES = ("server0", "server1", "server2")


def _kept(reached: bool) -> str:
    return "reached" if reached else "missed"


def main() -> None:
    """Measure, print, write, draw."""
    options = parse()
    described, figures = machine.describe(), Figures()
    for network in networks.NETWORKS:
        if options.only is None or network.name in options.only:
            measure(figures, network, options.queries)
            print(f"  {network.name} is measured", flush=True)
    if options.only is None or "accuracy" in options.only:
        accuracy.measure(figures)
    described["load_after"] = machine.load()
    print(text(figures))
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    output = options.output or RESULTS / f"large-{stamp}-{described['commit']}.json"
    output.write_text(json.dumps({"machine": described, "figures": figures.to_fields()}, indent=1) + "\n")
    print(f"\nwritten: {output}")
    from bench import large_plots

    for path in large_plots.draw(figures, described, output.with_suffix("")):
        print(f"drawn:   {path}")


if __name__ == "__main__":
    main()
