"""The distribution syfr-mpc: every file asks for the same packages, and an install brings ours and little else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from syfr.version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REQUIREMENT_FILES = {
    "dependencies": "inst/python/requirements.txt",
    "keras": "inst/python/requirements-keras.txt",
    "test": "tools/requirements-test.txt",
    "browser": "tools/requirements-browser.txt",
    "dev": "tools/requirements-dev.txt",
}

# Prints where syfr comes from and which of the libraries that it must not load are loaded.
PROBE = """
import sys, syfr
print(syfr.__file__)
print(sorted({"tensorflow", "keras", "tf_keras"} & sys.modules.keys()))
"""


def run(*command: str | Path, **options: Any) -> str:
    """Run a command to its end and give back what it printed; a failure shows everything it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=400, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.mark.parametrize("group", REQUIREMENT_FILES)
def test_requirement_files_ask_for_what_pyproject_asks_for(root: Path, group: str) -> None:
    project = tomllib.loads((root / "inst/python/pyproject.toml").read_text())["project"]
    declared = project["dependencies"] if group == "dependencies" else project["optional-dependencies"][group]
    assert (root / REQUIREMENT_FILES[group]).read_text().splitlines() == declared


def test_licence_is_the_same_for_both_halves(root: Path) -> None:
    assert (root / "LICENSE").read_bytes() == (root / "inst/python/LICENSE").read_bytes()


def test_both_halves_have_one_version(root: Path) -> None:
    assert f"\nVersion: {__version__}\n" in (root / "DESCRIPTION").read_text()


def test_import_is_ours_and_loads_no_tensorflow(root: Path, child_env: dict[str, str]) -> None:
    source, heavy = run(sys.executable, "-c", PROBE, env=child_env).splitlines()
    assert Path(source) == root / "inst/python/syfr/__init__.py"
    assert heavy == "[]"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_install_into_an_empty_environment(root: Path, tmp_path: Path) -> None:
    """`pip install ./inst/python` brings syfr and its player command, and nothing of TensorFlow."""
    build = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    run(*build, "-w", tmp_path, root / "inst/python")
    (wheel,) = tmp_path.glob("syfr_mpc-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.split("/")[0] for name in archive.namelist()}
    assert packed == {"syfr", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel)

    source, heavy = run(python, "-c", PROBE, cwd=tmp_path).splitlines()
    assert Path(source).is_relative_to(tmp_path / "venv")
    assert heavy == "[]"
    names = run(python, "-m", "pip", "freeze").lower()
    assert "tensorflow" not in names
    assert "keras" not in names
    assert (tmp_path / "venv/bin/syfr-player").exists()
    owner = "import importlib.metadata as m; print(m.packages_distributions()['syfr'])"
    assert run(python, "-c", owner, cwd=tmp_path).strip() == "['syfr-mpc']"
