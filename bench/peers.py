"""SecretFlow SPU beside syfr: the same fused models, three processes on loopback. `python -m bench.peers`

SPU goes into a virtual environment of its own, build/peers; where it does not install, the reason is printed and that
is all. Its parties speak without TLS and do everything inside the query; syfr's speak TLS, and preprocess inside the
time.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine, models, report, run, serving, throughput
from bench.stats import Figures

REQUIREMENT = "spu==0.9.5"
ENVIRONMENT = machine.ROOT / "build" / "peers"
BATCHES = (1, 32, 128)
RUNS = {1: 40, 32: 12, 128: 6}
LINK = re.compile(r"Link details: total send bytes (\d+), recv bytes (\d+), send actions (\d+)")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="a Python 3.10 or 3.11, for which SPU has a package")
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--output", type=Path, help="the JSON file; by default one named by time and commit")
    return parser.parse_args()


def installed(python: str) -> Path | None:
    """The Python that has SPU; None, with the reason on the screen, when it cannot be installed."""
    found = ENVIRONMENT / "bin" / "python"
    if not found.exists():
        subprocess.run([python, "-m", "venv", str(ENVIRONMENT)], check=True)  # noqa: S603
    install = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT]
    done = subprocess.run(install, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode == 0:
        return found
    print(f"SPU does not install for {python}; no peer is measured. pip says:\n{done.stderr.strip()[-2000:]}")
    return None


def write_models(path: Path) -> None:
    """The fused weights of the models, images, and what the models say of these."""
    from syfr.importing.keras_import import import_model

    arrays: dict[str, Any] = {}
    for model in (models.conv(), models.dense()):
        imported = import_model(model)
        steps = imported.program.linear_steps()
        for place, (number, _) in enumerate(steps):
            arrays[f"{model.name}/kernel{place}"] = imported.weights[number].kernel
            arrays[f"{model.name}/bias{place}"] = imported.weights[number].bias
        arrays[f"{model.name}/convolutions"] = sum(step.geometry is not None for _, step in steps)
        arrays[f"{model.name}/x"] = x = models.images(model, max(BATCHES))
        arrays[f"{model.name}/expected"] = np.asarray(model(x))
    np.savez(path, **arrays)


def spu(figures: Figures, python: Path, weights: Path, quick: bool) -> None:
    """Time SPU on each model and batch."""
    for model in report.MODELS:
        for rows in BATCHES:
            runs = 3 if quick else RUNS[rows]
            words = [str(python), str(Path(__file__).with_name("spu_parties.py")), str(weights), model, str(rows)]
            done = subprocess.run([*words, str(runs)], capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                print(f"SPU failed on {model} with {rows}: {done.stderr.strip()[-2000:]}")
                continue
            said = json.loads(done.stdout.strip().splitlines()[-1])
            name = f"peer/SPU/{model}/{rows}"
            figures.add(f"{name}/query", "s", said["seconds"])
            figures.add(f"{name}/throughput", "images/s", [rows / seconds for seconds in said["seconds"]])
            figures.add(f"{name}/error", "", said["error"])
            if link := LINK.search(done.stdout + done.stderr):
                figures.add(f"{name}/party 0 sends", "B", float(link[1]))
                figures.add(f"{name}/party 0 send actions", "", float(link[3]))


def ours(figures: Figures, quick: bool) -> None:
    """syfr in the same run."""
    with serving.running() as cluster:
        for model in (models.conv(), models.dense()):
            throughput.measure(figures, model, cluster, (1, 32) if quick else BATCHES)


def table(figures: Figures) -> str:
    """Side by side."""
    lines = [f"{'model x batch':20s}{'SPU, ms':>10s}{'syfr, ms':>10s}{'ratio':>8s}{'SPU: sends of party 0':>24s}"]
    for model in report.MODELS:
        for rows in BATCHES:
            theirs = figures.all.get(f"peer/SPU/{model}/{rows}/query")
            mine = figures.all.get(f"batch seconds/{model}/{rows}/inside")
            if theirs is None or mine is None:
                continue
            sends = figures.all.get(f"peer/SPU/{model}/{rows}/party 0 sends")
            actions = figures.all.get(f"peer/SPU/{model}/{rows}/party 0 send actions")
            sent = f"{sends.median / 1e3:,.0f} kB, {actions.median:.0f} times" if sends and actions else ""
            cells = f"{theirs.median * 1e3:10.1f}{mine.median * 1e3:10.1f}{theirs.median / mine.median:8.1f}{sent:>24s}"
            lines.append(f"{model + ' x ' + str(rows):20s}{cells}")
    return "\n".join(lines)


def main() -> None:
    """Install, measure, print, write."""
    options = parse()
    described, figures = machine.describe(), Figures()
    python = installed(options.python)
    if python is None:
        return
    with tempfile.TemporaryDirectory() as directory:
        weights = Path(directory) / "models.npz"
        write_models(weights)
        spu(figures, python, weights, options.quick)
    ours(figures, options.quick)
    described["load_after"] = machine.load()
    print(f"\n{REQUIREMENT}, ABY3 on 64 bits, no TLS; syfr with TLS and preprocessing inside the time\n")
    print(table(figures))
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    output = options.output or run.RESULTS / f"peers-{stamp}-{described['commit']}.json"
    output.write_text(json.dumps({"machine": described, "figures": figures.to_fields()}, indent=1) + "\n")
    print(f"\nwritten: {output}")


if __name__ == "__main__":
    main()
