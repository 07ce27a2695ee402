"""Writes the table of faults, inst/extdata/faults.csv, from what the tests of faults have recorded.

Usage: faults.py DIRECTORY, the one that SYFR_FAULTS named when the tests ran. `make faults` does both.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parents[1] / "inst" / "extdata" / "faults.csv"
COLUMNS = ("fault", "the user sees", "lost", "cases", "median seconds until it is over")
LONGEST = 160


def first_sentence(text: str) -> str:
    """Up to the first full stop, and not too long."""
    sentence = text.split(". ")[0].rstrip(".")
    return sentence if len(sentence) <= LONGEST else sentence[: LONGEST - 1] + "…"


def row(fault: str, records: list[dict[str, Any]]) -> list[str]:
    """One line: what was seen most often, all that was lost, the median of the times."""
    saw = [first_sentence(text) for record in records for text in record["saw"]]
    usual = max(sorted(set(saw)), key=saw.count) if saw else "nothing"
    lost = "; ".join(sorted({record["lost"] for record in records}))
    seconds = [record["seconds"] for record in records if record["seconds"] is not None]
    return [fault, usual, lost, str(len(records)), f"{statistics.median(seconds):.1f}" if seconds else ""]


def main(directory: Path) -> None:
    """Read the records and write the table."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(directory.glob("*.json")):
        record = json.loads(path.read_text("utf-8"))
        found[record["fault"]].append(record)
    with open(TABLE, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row(fault, found[fault]) for fault in sorted(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
