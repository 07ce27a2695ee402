"""Workers as they run on hosts of their own, and what can happen to them; with the record that the fault table is of.

A test of a fault is marked with its name in the table, ``@pytest.mark.fault("killed while idle")``, and tells by the
fixture ``seen`` what a user saw, what was lost and how long it took until the workers served again.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import syfr as sy
from relay import Relay
from syfr.errors import SyfrError
from syfr.face.client import Client as FaceClient
from workers import DEADLINE, SERVERS, Cluster, Model

PORT = re.compile(r"\b127\.0\.0\.1:\d+|\blocalhost:\d+")
PAIRS = (("server1", "server0"), ("server2", "server0"), ("server2", "server1"))
"""Which worker dials which."""

SOON = "from syfr.party import peers\npeers.BEAT_SECONDS = 0.25\n"
"""A heart that beats faster, so that tests need not wait."""


@dataclass
class Hosts(Cluster):
    """Workers that keep their shares, each with a cluster file, a state directory and options of its own.

    Attributes:
        relays: between workers, by who dials whom.
        options: more words for the command line of each worker.
    """

    relayed: bool = False
    relays: dict[tuple[str, str], Relay] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.relayed:
            self.relays = {pair: Relay(self.hosts[pair[1]]) for pair in PAIRS}
        self.write_config()

    def write_config(self) -> None:
        """Write each worker's cluster file."""
        for name in SERVERS:
            known = dict(self.hosts)
            known.update({to: relay.address for (one, to), relay in self.relays.items() if one == name})
            self._config(name).write_text(json.dumps(known))

    def _config(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def state(self, name: str) -> Path:
        """A worker's state directory."""
        return self.directory / "state" / name

    def _launch(self, name: str) -> subprocess.Popen[bytes]:
        words = ["--config", str(self._config(name)), "--credentials", str(self.credentials.directory / name)]
        words += ["--state-dir", str(self.state(name)), *self.options.get(name, []), name]
        patch = self.patches.get(name, "") + self.patches.get("all", "")
        command = f"import sys\nfrom syfr import player\n{patch}\nsys.exit(player.main(sys.argv[1:]))"
        source = str(Path(__file__).resolve().parents[2] / "inst" / "python")
        with open(self.directory / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", command, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": source},
                start_new_session=True,
            )

    def stop(self) -> None:
        """Kill all workers, end the relays."""
        super().stop()
        for relay in self.relays.values():
            relay.close()

    def restart(self, *names: str) -> None:
        """Start workers again that have ended or are killed now."""
        for name in names:
            if name in self.processes:
                self.signal(name, signal.SIGKILL)
        self.start(*names)

    def ended(self, name: str) -> int:
        """Wait for the end of a worker; its exit status."""
        status = self.processes[name].wait(DEADLINE)
        self._reap(name)
        return status

    def described(self) -> sy.TFECluster:
        """The cluster as owners and clients describe it."""
        workers = [sy.TFEWorker(address, auto_managed=False) for address in self.hosts.values()]
        return sy.TFECluster(*workers, credentials=self.credentials.directory)

    def face(self, model: Model, name: str = "client") -> FaceClient:
        """A client as users have it, connected."""
        client = FaceClient(self.described(), self.credentials.directory / name)
        shape = (1, *model.program.input_shape), (1, *model.program.output_shape)
        client.connecting(*shape).wait(DEADLINE)
        return client


@contextmanager
def hosts_of(directory: Path, relayed: bool = False, **patches: str) -> Iterator[Hosts]:
    """Workers that are ready, and gone afterwards."""
    made = Hosts(directory, patches, relayed=relayed)
    try:
        made.start()
        made.wait_ready()
        yield made
    finally:
        made.stop()


def answered(client: FaceClient, model: Model, rows: int = 1, timeout: float = DEADLINE) -> bool:
    """A right answer, or an error: never a wrong one."""
    x = model.input(rows)
    answer = client.querying(x, timeout=timeout).wait(2 * DEADLINE)
    return bool(abs(answer - model.plain(x)).max() < 0.01)


@dataclass
class Seen:
    """What one test has seen of its fault."""

    fault: str
    began: float = field(default_factory=time.monotonic)
    saw: list[str] = field(default_factory=list)
    lost: str = "nothing"
    seconds: float | None = None

    def happens(self) -> None:
        """The fault happens now."""
        self.began = time.monotonic()

    def error(self, what: Callable[[], object], *kinds: type[SyfrError], match: str | None = None) -> SyfrError:
        """What is called fails with one of these errors; the user sees it."""
        with pytest.raises(kinds, match=match) as raised:
            what()
        self.tells(f"{raised.value.code}: {raised.value}")
        found: SyfrError = raised.value
        return found

    def tells(self, text: str) -> None:
        """The user sees this."""
        text = PORT.sub("HOST:PORT", text.splitlines()[0])
        if text not in self.saw:
            self.saw.append(text)

    def over(self) -> None:
        """The workers serve again."""
        self.seconds = time.monotonic() - self.began

    def write(self, name: str) -> None:
        """Keep the record of the test of that name where SYFR_FAULTS says, if anywhere."""
        directory = os.environ.get("SYFR_FAULTS")
        if directory:
            record = {"fault": self.fault, "saw": self.saw, "lost": self.lost, "seconds": self.seconds}
            (Path(directory) / f"{re.sub(r'[^a-zA-Z0-9_]+', '-', name)}.json").write_text(json.dumps(record))
