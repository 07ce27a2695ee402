"""The whole workflow with workers, owner and client on hosts of their own, in as far as one kernel can have them.

Each is in a network namespace with an address of its own; a bridge joins them, with a limited bandwidth. What they have
of each other is what is brought to them: a folder with credentials and the addresses.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fault_cluster import Seen
from syfr.face import provision
from workers import DEADLINE, SERVERS

pytest_plugins = ("cluster_fixtures",)
pytestmark = pytest.mark.timeout(400)

PARTIES = (*SERVERS, "owner", "client")
RATE = "200mbit"

OWNER = """
    import sys, keras, numpy as np, syfr as sy
    from syfr.face.owner import sharing
    place, *hosts = sys.argv[1:]
    cluster = sy.TFECluster(*(sy.TFEWorker(host, auto_managed=False) for host in hosts), credentials=place)
    cluster.start(60)
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)]
    model = keras.Sequential([keras.layers.Input((5,)), *layers])
    shared = sharing(model, cluster).wait(60)
    shared.open_serving(20).wait(60)
    print(*model(np.full((1, 5), 0.5), training=False).numpy()[0])
"""

CLIENT = """
    import sys, time, numpy as np, syfr as sy
    from syfr.face.client import Client
    place, *hosts = sys.argv[1:]
    cluster = sy.TFECluster(*(sy.TFEWorker(host, auto_managed=False) for host in hosts))
    client = Client(cluster, place)
    client.connecting((1, 5), (1, 3)).wait(60)
    for line in sys.stdin:
        began = time.monotonic()
        try:
            print(*client.querying(np.full((1, 5), 0.5), timeout=float(line)).wait(90)[0], flush=True)
        except sy.SyfrError as error:
            print("error", error.code, error, flush=True)
    client.disconnect()
"""


def ip(*words: str) -> None:
    """One command of iproute2."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass
class Net:
    """Five namespaces, each with an address, and a bridge between them in the namespace of a switch."""

    tag: str = field(default_factory=lambda: f"syfr{os.getpid()}")
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.switch = self._namespace("switch")
        ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.switch, "link", "set", "bridge", "up")
        self.hosts = {name: self._host(name, place) for place, name in enumerate(PARTIES, 1)}

    def _namespace(self, name: str) -> str:
        full = f"{self.tag}-{name}"
        ip("netns", "add", full)
        self.names.append(full)
        ip("-n", full, "link", "set", "lo", "up")
        return full

    def _host(self, name: str, place: int) -> str:
        space = self._namespace(name)
        ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{place}", "netns", self.switch)
        ip("-n", space, "address", "add", f"10.83.0.{place}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", self.switch, "link", "set", f"port{place}", "master", "bridge", "up")
        return f"10.83.0.{place}"

    def limit(self, name: str) -> bool:
        """Limit what a host sends; False where the kernel cannot."""
        words = ["tc", "-n", self.space(name), "qdisc", "add", "dev", "eth0", "root", "tbf"]
        made = subprocess.run(
            [*words, "rate", RATE, "burst", "64kb", "latency", "50ms"], capture_output=True, check=False
        )
        return made.returncode == 0

    def plug(self, name: str, state: str) -> None:
        """Pull a host's cable, "down", or put it in again, "up"."""
        ip("-n", self.switch, "link", "set", f"port{PARTIES.index(name) + 1}", state)

    def space(self, name: str) -> str:
        """The namespace of a party."""
        return f"{self.tag}-{name}"

    def run(self, name: str, *words: str, **options: Any) -> subprocess.Popen[str]:
        """A process at a party's host."""
        return subprocess.Popen(["ip", "netns", "exec", self.space(name), *words], text=True, **options)

    def close(self) -> None:
        """Remove it all."""
        for name in self.names:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """The network; where it cannot be made, the tests are skipped and say why."""
    if shutil.which("ip") is None or sys.platform != "linux":
        pytest.skip("network namespaces need Linux and iproute2")
    made = None
    try:
        made = Net()
    except (subprocess.CalledProcessError, OSError) as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    try:
        yield made
    finally:
        made.close()


@dataclass
class Five:
    """Five hosts, and what runs at each."""

    net: Net
    directory: Path
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.addresses = {name: f"{self.net.hosts[name]}:4000" for name in SERVERS}
        made = self.directory / "made"
        provision.create(made, self.addresses, ["client"])
        for name in PARTIES:
            (self.directory / name).mkdir()
            shutil.move(made / name, self.directory / name / name)
        source = str(Path(__file__).resolve().parents[2] / "inst" / "python")
        self.environment = {**os.environ, "PYTHONPATH": source}

    def player(self, name: str) -> None:
        """Start a worker at its host."""
        place = self.directory / name
        words = [sys.executable, "-m", "syfr.player", "--config", f"{name}/cluster.json", "--credentials", name]
        with open(place / "log", "ab") as log:
            self.processes[name] = self.net.run(
                name,
                *words,
                "--state-dir",
                str(place / "state"),
                name,
                cwd=place,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        out = self.processes[name].stdout
        assert out is not None
        assert json.loads(out.readline())["ready"]

    def script(self, name: str, code: str, place: Path) -> subprocess.Popen[str]:
        """The owner's or the client's script at its host."""
        words = [sys.executable, "-c", textwrap.dedent(code), str(place), *self.addresses.values()]
        data = {**self.environment, "R_USER_DATA_DIR": str(self.directory / name / "data")}
        return self.net.run(name, *words, env=data, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self) -> None:
        """End it all."""
        for process in self.processes.values():
            process.kill()
            process.wait(DEADLINE)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@pytest.fixture(scope="module")
def five(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Five]:
    """Five hosts with running workers; the bandwidth is limited where it can be."""
    made = Five(net, tmp_path_factory.mktemp("five"))
    try:
        for name in PARTIES:
            net.limit(name)
        for name in SERVERS:
            made.player(name)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def expected(five: Five) -> list[float]:
    """What the model itself says; its owner has shared it, opened it, and gone."""
    owner = five.script("owner", OWNER, five.directory / "owner")
    said, _ = owner.communicate(timeout=120)
    assert owner.returncode == 0
    return [float(word) for word in said.splitlines()[-1].split()]


@pytest.fixture
def ask(five: Five, expected: list[float]) -> Iterator[Any]:
    """A client at its host, asking once each time it is called; what it prints."""
    client = five.script("client", CLIENT, five.directory / "client" / "client")
    assert client.stdin is not None
    assert client.stdout is not None

    def once(timeout: float = 60.0) -> str:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(f"{timeout}\n")
        client.stdin.flush()
        return client.stdout.readline().strip()

    yield once
    client.stdin.close()
    client.wait(DEADLINE)
    client.stdout.close()


def right(said: str, expected: list[float]) -> bool:
    """Whether this is the answer."""
    return "error" not in said and [float(word) for word in said.split()] == pytest.approx(expected, abs=0.01)


def test_the_whole_workflow_on_five_hosts(ask: Any, expected: list[float]) -> None:
    assert right(ask(), expected)
    assert right(ask(), expected)


@pytest.mark.fault("a host is restarted: its worker is killed and comes back, the owner is away")
def test_a_host_that_is_restarted(five: Five, ask: Any, expected: list[float], seen: Seen) -> None:
    assert right(ask(), expected)
    process = five.processes["server1"]
    process.send_signal(signal.SIGKILL)
    subprocess.run(["ip", "netns", "pids", five.net.space("server1")], check=True, capture_output=True)
    process.wait(DEADLINE)
    assert process.stdout is not None
    process.stdout.close()
    seen.happens()
    five.player("server1")
    assert right(ask(), expected)
    seen.over()
    seen.tells("the answer, late")


@pytest.mark.slow
@pytest.mark.fault("a host's cable is pulled, and put in again")
@pytest.mark.parametrize("name", SERVERS)
def test_a_cable_that_is_pulled(five: Five, ask: Any, expected: list[float], seen: Seen, name: str) -> None:
    assert right(ask(), expected)
    five.net.plug(name, "down")
    began = time.monotonic()
    said = ask(4.0)
    if not right(said, expected):
        code, _, text = said.removeprefix("error ").partition(" ")
        assert name in text
        seen.tells(f"{code}: {text.replace(five.addresses[name], 'HOST:PORT')}")
    assert time.monotonic() - began < DEADLINE
    five.net.plug(name, "up")
    seen.happens()
    assert right(ask(60.0), expected)
    seen.over()
