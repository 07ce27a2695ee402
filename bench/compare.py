"""Ratios between two runs, after to before: `python -m bench.compare BEFORE.json AFTER.json`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.stats import Figure, Figures


def main() -> None:
    """Print a line for each figure that both runs have."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--all", action="store_true", help="also those whose spreads overlap")
    options = parser.parse_args()
    (machine, before), (other, after) = (_read(path) for path in (options.before, options.after))
    for name in ("processor", "cores", "python", "openssl"):
        if machine.get(name) != other.get(name):
            print(f"another {name}: {machine.get(name)} and {other.get(name)}")
    print(f"{machine['commit']} (load {machine['load_before']}) -> {other['commit']} (load {other['load_before']})")
    common = [name for name in before.all if name in after.all]
    left_out = 0
    for name in common:
        first, second = before.all[name], after.all[name]
        if options.all or apart(first, second):
            print(f"{ratio(first, second):8.3f}  {name}  {first.median:.6g} -> {second.median:.6g} {first.unit}")
        else:
            left_out += 1
    missing = sorted(set(before.all) ^ set(after.all))
    print(f"{len(common)} in both, {left_out} not shown since their spreads overlap; {len(missing)} in one alone")


def _read(path: Path) -> tuple[dict[str, Any], Figures]:
    fields = json.loads(path.read_text())
    return fields["machine"], Figures.from_fields(fields["figures"])


def ratio(first: Figure, second: Figure) -> float:
    """After to before."""
    if first.median == 0:
        return 1.0 if second.median == 0 else float("inf")
    return second.median / first.median


def apart(first: Figure, second: Figure) -> bool:
    """Whether the two ranges from p10 to p90 do not meet."""
    return first.p90 < second.p10 or second.p90 < first.p10


if __name__ == "__main__":
    main()
