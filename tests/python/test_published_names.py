"""The names that published scripts use, from sharing to stopping, with the client in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import syfr as sy
from client_process import in_another_process
from cluster_processes import described, exists, pids
from keras_models import GENERATIONS
from small_model import TOLERANCE, WAIT, plain, small
from syfr.errors import NotSharedError

PROBE = """
import sys, syfr
print(*(name for name in ("numba", "numpy", "cryptography", "keras", "tensorflow") if name in sys.modules))
print(*(name for name in syfr.__all__ if getattr(syfr, name) is None))
print(*(name for name in ("keras", "tf_keras", "tensorflow") if name in sys.modules))
print(sorted(syfr.__all__) == dir(syfr))
"""

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(150)


@pytest.mark.parametrize("generation", sorted(GENERATIONS))
def test_the_names_that_published_scripts_use(home: Path, generation: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Three workers instead of a cluster, in both places; serving in this session, the client in another process."""
    keras = GENERATIONS[generation]
    sy.KerasHook(keras)
    cluster = described()
    alice, bob, carol = cluster.workers
    model = small(keras, rows=1)
    model.share(alice, bob, carol)
    try:
        with in_another_process(home, cluster) as asking:
            assert model.serve(num_requests=3) == 3
            answers, _ = asking.communicate(timeout=WAIT)
        assert asking.returncode == 0, answers
        found = np.array([[float(word) for word in line.split()] for line in answers.splitlines()])
        np.testing.assert_allclose(found, plain(model, np.full((3, 8, 8, 1), 0.5)), atol=TOLERANCE)
        assert "Served 3 of 3 requests." in capsys.readouterr().out
        model.stop()
        with pytest.raises(NotSharedError):
            model.serve()
        model.share(cluster)
        processes = pids(cluster)
        assert [item["stopped"] for item in model.shutdown_workers()] == [True] * 3
        assert not any(map(exists, processes))
    finally:
        cluster.end()


def test_public_names_are_imported_when_they_are_asked_for(child_env: dict[str, str]) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROBE], env=child_env, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout == "\n\n\nTrue\n"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'TFEworker'"):
        sy.TFEworker  # noqa: B018
