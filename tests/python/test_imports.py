"""The arrows of the architecture point one way, and what runs in a worker or a client never loads Keras."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BASE = {"errors", "directories"}
MAY_IMPORT = {
    "errors": set[str](),
    "directories": {"errors"},
    "ring": BASE,
    "steps": {"errors"},
    "step_messages": {"errors", "steps"},
    "program": {"errors", "ring", "steps", "step_messages"},
    "protocol": {"errors", "ring", "steps", "program"},
    "trust": BASE | {"hosts"},
    "tls": set[str](),
    "link": {"errors", "tls", "trust"},
    "party": BASE | {"ring", "steps", "step_messages", "program", "protocol", "link", "trust", "version"},
    "importing": {"errors", "ring", "steps", "program"},
}
"""What each lower floor may import of syfr; a floor may always import itself."""

KERAS = {"importing.keras_import", "importing.keras_layers", "face.hook"}
"""The owner's side: the only modules that may name Keras or TensorFlow."""

HEAVY = ("keras", "tf_keras", "tensorflow")


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Every module of the package by its dotted name without "syfr."."""
    package = root / "inst" / "python" / "syfr"
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def imported(path: Path, name: str) -> Iterator[str]:
    """Full names of what a module imports anywhere, also inside functions, but not for type checkers alone."""
    package = ["syfr", *name.split(".")] if path.stem == "__init__" and name else ["syfr", *name.split(".")[:-1]]
    for node in walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, except those under ``if TYPE_CHECKING``."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not typing_only:
            yield from walk(child)


def floor(dotted: str) -> str:
    """The first part of a name below syfr."""
    return dotted.split(".")[1] if "." in dotted else ""


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_floor_imports_only_what_is_below_it(name: str, root: Path) -> None:
    found = [(module, path) for module, path in modules(root) if module.split(".")[0] == name]
    assert found, f"there is no syfr.{name}"
    for module, path in found:
        for target in imported(path, module):
            if target.split(".")[0] == "syfr":
                assert floor(target) in MAY_IMPORT[name] | {name}, f"syfr.{module} imports {target}"


def test_only_the_import_of_models_names_keras(root: Path) -> None:
    for module, path in modules(root):
        heavy = {target.split(".")[0] for target in imported(path, module)} & set(HEAVY)
        assert not heavy or module in KERAS, f"syfr.{module} imports {heavy}"


def test_nothing_below_the_face_imports_it(root: Path) -> None:
    lower = set(MAY_IMPORT) | {"version"}
    face = {module.split(".")[0] for module, _ in modules(root)} - lower - {""}
    for module, path in modules(root):
        if module.split(".")[0] in lower:
            assert not {floor(target) for target in imported(path, module) if target.startswith("syfr.")} & face


def loaded_by(code: str, env: dict[str, str]) -> set[str]:
    """Top-level modules that are loaded after a piece of code has run in a process of its own."""
    script = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_importing_syfr_loads_nothing_heavy(child_env: dict[str, str]) -> None:
    assert not loaded_by("import syfr", child_env) & {*HEAVY, "numpy", "numba"}


def test_a_worker_and_a_client_load_neither_keras_nor_tensorflow(child_env: dict[str, str], root: Path) -> None:
    parts = [module for module, _ in modules(root) if module.split(".")[0] in {"party", "protocol", "ring", "player"}]
    assert "party.executor" in parts
    code = "\n".join(f"import syfr.{module}" for module in [*parts, "face.client", "face.cluster", "program", "link"])
    loaded = loaded_by(code, child_env)
    assert "syfr" in loaded
    assert not loaded & set(HEAVY)


def test_the_reader_of_imports_sees_them(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nfrom . import channel\nfrom ..ring import streams\n"
        "from syfr.party.memory import Sent\n"
        "def f():\n    import keras.layers\nif TYPE_CHECKING:\n    from syfr.face.hook import KerasHook\n",
        "utf-8",
    )
    assert list(imported(path, "protocol.some")) == [
        "typing.TYPE_CHECKING",
        "syfr.protocol.channel",
        "syfr.ring.streams",
        "syfr.party.memory.Sent",
        "keras.layers",
    ]
