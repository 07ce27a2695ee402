"""The table of faults in the documentation is that of the tests: each fault there is caused by a test, and recorded."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from pathlib import Path


def marked(root: Path) -> Iterator[str]:
    """The names of the faults that tests are marked with."""
    for path in sorted((root / "tests" / "python").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                        yield str(ast.literal_eval(mark.args[0]))


def test_the_table_has_the_faults_that_the_tests_cause(root: Path) -> None:
    with open(root / "inst" / "extdata" / "faults.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fault"] for row in rows] == sorted(set(marked(root))), "run `make faults`"
    for row in rows:
        assert row["the user sees"], row
        assert row["lost"] == "nothing", row
        assert int(row["cases"]) > 0
