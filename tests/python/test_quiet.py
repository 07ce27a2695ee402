"""TensorFlow says nothing when it is loaded after syfr, unless it fails or the user wants to see everything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOADED = """
import sys
import syfr
import tensorflow
sys.stderr.write("after\\n")
print(tensorflow.__spec__.loader.__class__.__name__, tensorflow.__loader__ is tensorflow.__spec__.loader)
"""

NOISY = """
import os, sys
os.write(2, b"a greeting\\n")
"""


def run(code: str, child_env: dict[str, str], before: Path | None = None, **variables: str) -> tuple[str, str, int]:
    """What a Python of its own says, to both outputs, and its exit status; ``before`` is searched first."""
    env = {name: value for name, value in child_env.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    if before is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(before), env["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**env, **variables}, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout.strip(), done.stderr, done.returncode


def other_tensorflow(folder: Path, code: str) -> Path:
    """A folder with a package by the name of TensorFlow."""
    package = folder / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(code, "utf-8")
    return folder


def test_tensorflow_itself_is_silent(child_env: dict[str, str]) -> None:
    assert run(LOADED, child_env) == ("SourceFileLoader True", "after\n", 0)


def test_whoever_wants_to_see_everything_does(child_env: dict[str, str], tmp_path: Path) -> None:
    before = other_tensorflow(tmp_path, NOISY)
    assert run(LOADED, child_env, before)[1] == "after\n"
    assert run(LOADED, child_env, before, TF_CPP_MIN_LOG_LEVEL="0")[1] == "a greeting\nafter\n"


def test_what_fails_is_told_with_all_that_was_said(child_env: dict[str, str], tmp_path: Path) -> None:
    _, said, status = run(LOADED, child_env, other_tensorflow(tmp_path, NOISY + "raise ImportError('no AVX')\n"))
    assert status == 1
    assert said.startswith("a greeting\n")
    assert "ImportError: no AVX" in said


def test_without_standard_error_tensorflow_is_loaded_too(child_env: dict[str, str], tmp_path: Path) -> None:
    code = "import os\nos.close(2)\nimport syfr\nimport tensorflow\nprint('loaded')"
    assert run(code, child_env, other_tensorflow(tmp_path, ""))[0] == "loaded"


def test_the_users_own_level_stays(child_env: dict[str, str], tmp_path: Path) -> None:
    code = "import syfr, os\nprint(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    assert run(code, child_env)[0] == "3"
    assert run(code, child_env, TF_CPP_MIN_LOG_LEVEL="1")[0] == "1"
