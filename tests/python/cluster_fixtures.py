"""Fixtures for tests with clusters: a private data directory, credentials, real workers that end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import syfr as sy
from fake_client import Calls, Workers, calls, client_of
from fake_worker import FakeWorker, Respond, by_call, fake_workers
from fault_cluster import Seen
from syfr.face.client import Client
from syfr.trust.credentials import Credentials, create_credentials
from syfr.trust.identity import SERVERS

HOSTS = {"server0": "localhost:4000", "server1": "localhost:4001", "server2": "localhost:4002"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of the test's own; compiled kernels are still taken from the user's cache."""
    return _private_home(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """Credentials of some cluster; the addresses in them do not matter."""
    return create_credentials(tmp_path_factory.mktemp("cluster") / "credentials", HOSTS)


@pytest.fixture
def fakes(credentials: Credentials) -> Iterator[Workers]:
    """Makes a client of three fake workers; ``server1={"describe": ...}`` changes what one answers."""
    with ExitStack() as stack:

        def make(**changes: Calls) -> tuple[Client, dict[str, FakeWorker]]:
            responds: dict[str, Respond] = {role: by_call(calls(**changes.get(role, {}))) for role in SERVERS}
            workers = stack.enter_context(fake_workers(credentials, responds))
            client = client_of(workers, credentials)
            stack.callback(client.disconnect)
            return client, workers

        yield make


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


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Iterator[Seen]:
    """The record of a test of a fault, which is marked with the fault's name."""
    mark = request.node.get_closest_marker("fault")
    found = Seen(str(mark.args[0]))
    yield found
    found.write(request.node.name)
