"""Fixtures for tests with clusters: a private data directory, credentials, real workers that end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import syfr as sy
from syfr.credentials import Credentials, create_credentials

HOSTS = {"server0": "localhost:4000", "server1": "localhost:4001", "server2": "localhost:4002"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of the test's own; compiled kernels are still taken from the user's cache."""
    return _private_home(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """Credentials of some cluster; the addresses in them do not matter."""
    return create_credentials(tmp_path_factory.mktemp("cluster") / "credentials", HOSTS)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sy.TFECluster]:
    """Three real workers for all tests of a module, on free ports."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _private_home(tmp_path_factory.mktemp("home"), monkeypatch)
        started = sy.local_cluster()
        started.starting(timeout=100).wait()
        yield started
        started.stop()


def _private_home(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SYFR_HOME", raising=False)
    monkeypatch.setenv("R_USER_DATA_DIR", str(path))
    return path
