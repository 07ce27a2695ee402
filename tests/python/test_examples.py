"""The three Python scripts, as a user runs them: train, serve in one process, query in another."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from syfr import hosts

WAIT = 240


@pytest.fixture
def scripts(root: Path, tmp_path: Path) -> Path:
    """The scripts in a folder laid out as the package's, with ports that are free."""
    shutil.copytree(root / "inst" / "examples" / "python", tmp_path / "examples" / "python")
    shutil.copytree(root / "inst" / "extdata", tmp_path / "extdata")
    ports = hosts.free_ports(3)
    for name in ("serve.py", "client.py"):
        script = tmp_path / "examples" / "python" / name
        text = script.read_text()
        for place, port in enumerate(ports):
            assert f'"localhost:{4000 + place}"' in text
            text = text.replace(f"localhost:{4000 + place}", f"localhost:{port}")
        script.write_text(text)
    return tmp_path / "examples" / "python"


@pytest.mark.slow
@pytest.mark.timeout(2 * WAIT)
def test_train_serve_and_client(scripts: Path, tmp_path: Path, child_env: dict[str, str]) -> None:
    """Trained on the sample's own images, so that the answers are sure and no download is needed."""
    mnist = tmp_path / "mnist.npz"
    with np.load(tmp_path / "extdata" / "mnist-sample.npz") as sample:
        x, y = sample["x_test"], sample["y_test"]
    np.savez(mnist, x_train=np.tile(x, (8, 1, 1)), y_train=np.tile(y, 8), x_test=x, y_test=y)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONUNBUFFERED": "1"}
    env = {**child_env, **quiet, "R_USER_DATA_DIR": str(tmp_path / "home")}
    script_env = {**env, "SYFR_MNIST": str(mnist)}
    trained = subprocess.run(
        [sys.executable, "train.py"], cwd=scripts, env=script_env, capture_output=True, text=True, timeout=WAIT
    )
    assert trained.returncode == 0, trained.stderr
    assert (scripts / "short-conv-mnist.h5").exists()

    with subprocess.Popen(
        [sys.executable, "serve.py"], cwd=scripts, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as serving:
        try:
            assert serving.stdout is not None
            said = []
            for line in serving.stdout:
                said.append(line)
                if line.startswith("Serving three requests."):
                    break
            env.pop("SYFR_MNIST", None)
            asking = run_client(scripts, env)
            said += serving.stdout.readlines()
            assert serving.wait(WAIT) == 0, said
        finally:
            serving.kill()
    assert asking.stdout.splitlines() == [f"Actual: {digit}, predicted: {digit}" for digit in y[:3]]
    assert "Served 3 of 3 requests.\n" in said


@pytest.mark.slow
@pytest.mark.timeout(WAIT)
def test_a_text_classifier(scripts: Path, tmp_path: Path, child_env: dict[str, str]) -> None:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "R_USER_DATA_DIR": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "text.py"],
        cwd=scripts,
        env={**child_env, **quiet},
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.returncode == 0, done.stderr
    said = [line.rsplit(" (", 1)[0].split("  ", 1) for line in done.stdout.splitlines() if line.endswith(")")]
    assert [(text, kind.strip()) for text, kind in said] == [
        ("the film was good", "praises"),
        ("the film was not good", "complains"),
        ("a trip felt never really awful today", "praises"),
        ("the meal seemed very stale again", "complains"),
    ]
    assert "Served 4 of 4 requests." in done.stdout


def run_client(scripts: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The client, once more when it came a moment before the owner had opened serving."""
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "client.py"], cwd=scripts, env=env, capture_output=True, text=True, timeout=WAIT
        )
        if "NotServedError" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    return done
