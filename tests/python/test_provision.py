"""Credentials for separate hosts: each party has its own folder and no other, and all find each other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import syfr as sy
from handshakes import shift_clock
from syfr.errors import CredentialsError, InputTypeError, SyfrError
from syfr.face import provision
from syfr.face.client import Client as FaceClient
from syfr.trust.identity import Bundle, now
from workers import DEADLINE, SERVERS, Client, Cluster, Owner, Wire, perceptron

ADDRESSES = ["alice.example:4000", "bob.example", "[2001:db8::1]"]
PLACES = {"server0": "owner", "owner": "owner", "server1": "client", "ann": "client", "server2": "dealer", "eve": "eve"}
"""The owner runs one worker, the client another, a third party the dealer; eve comes later."""


class Hosts(Cluster):
    """Three hosts on one machine: a directory each, which has only the folders that were handed to its user."""

    def __post_init__(self) -> None:
        self.hosts = self.reserve()
        self.made = self.directory / "made"
        provision.create(self.made, self.hosts, ["ann"])
        for name in (*SERVERS, "owner", "ann"):
            self.hand_out(name)

    def folder(self, name: str) -> Path:
        """A party's folder at its host."""
        return self.directory / PLACES[name] / name

    def bundle(self, name: str) -> Bundle:
        """A party's credentials at its host."""
        return Bundle.load(self.folder(name))

    def hand_out(self, name: str) -> None:
        """Bring a party's folder to its host, in the place of one that is there."""
        shutil.copytree(self.made / name, self.folder(name), dirs_exist_ok=True)
        shutil.rmtree(self.made / name)

    def hand_out_revocations(self) -> None:
        """Bring the list of what is revoked to every party."""
        for name in PLACES:
            if self.folder(name).exists():
                shutil.copy(self.made / "revoked.json", self.folder(name))

    def describe(self, place: str) -> sy.TFECluster:
        """The cluster as somebody at one of the hosts describes it."""
        workers = [sy.TFEWorker(address, auto_managed=False) for address in self.hosts.values()]
        return sy.TFECluster(*workers, credentials=self.directory / place)

    def _launch(self, name: str) -> subprocess.Popen[bytes]:
        note = (self.folder(name) / "README.txt").read_text()
        (command,) = [line.split() for line in note.splitlines() if "syfr.player" in line]
        source = str(Path(__file__).resolve().parents[2] / "inst" / "python")
        with open(self.directory / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, *command[1:]],
                cwd=self.folder(name),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONPATH": source, "R_USER_DATA_DIR": str(self.directory / PLACES[name] / "data")},
                start_new_session=True,
            )


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """The three hosts, their workers running."""
    made = Hosts(tmp_path_factory.mktemp("hosts"))
    try:
        made.start()
        made.wait_ready()
        yield made
    finally:
        made.stop()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A cluster's credentials."""
    provision.create(tmp_path / "made", ADDRESSES, ["ann", "ben"])
    return tmp_path / "made"


# ---- with processes ----


def test_owner_client_and_dealer_each_run_one_worker(hosts: Hosts) -> None:
    model = perceptron()
    owners = hosts.describe("owner")
    owners.start(timeout=DEADLINE)
    assert [row["running"] for row in owners.status()] == [True] * 3
    with Owner(hosts) as owner:
        owner.shared(model)
        client = FaceClient(hosts.describe("client"), credentials=hosts.folder("ann"))
        client.connecting((1, 12), (1, 4), timeout=DEADLINE).wait()
        x = model.input(2)
        np.testing.assert_allclose(client.querying(x, timeout=DEADLINE).wait(), model.plain(x), atol=0.01)
        client.disconnect()
    owners.stop()
    assert all(hosts.alive(name) for name in SERVERS)


def test_no_host_has_what_belongs_to_another(hosts: Hosts) -> None:
    for place in ("owner", "client", "dealer"):
        found = {path.parent.name for path in (hosts.directory / place).rglob("key.pem")}
        assert found == {name for name, where in PLACES.items() if where == place}
    with pytest.raises(CredentialsError, match=r"no owner's credentials .* only its owner may ask .*`credentials`"):
        hosts.describe("client").owner_bundle()


def test_a_revoked_client_is_out_once_the_workers_have_the_list(hosts: Hosts) -> None:
    assert provision.add_client(hosts.made, "eve")["folder"] == str(hosts.made / "eve")
    hosts.hand_out("eve")
    with Client(hosts, "eve") as client:
        assert client.wires["server0"].call("hello")["role"] == "server0"
    row = provision.revoke(hosts.made, "eve")
    assert row["state"] == "revoked"
    evil = hosts.bundle("eve")
    hosts.hand_out_revocations()
    for name in SERVERS:
        with Wire(hosts.hosts[name], evil) as wire:
            assert wire.ended()
    with Client(hosts, "ann") as client:
        assert client.wires["server0"].call("hello")["ready"]


def test_a_workers_certificate_is_renewed_while_it_runs(hosts: Hosts) -> None:
    before = hosts.bundle("server1")
    shutil.copytree(hosts.folder("server1"), hosts.directory / "stolen")
    provision.renew(hosts.made, "server1", revoke_old=True)
    hosts.hand_out("server1")
    hosts.hand_out_revocations()
    after = hosts.bundle("server1")
    assert (before.identity, before.cluster) == (after.identity, after.cluster)
    assert after.is_revoked(before.serial)
    with hosts.dial("server1", "ann") as wire:
        assert wire.call("hello")["role"] == "server1"
    hosts.signal("server2", signal.SIGKILL)  # its new link meets the new certificate
    hosts.start("server2")
    hosts.wait_ready()
    shutil.copy(hosts.made / "revoked.json", hosts.directory / "stolen")
    with pytest.raises(CredentialsError, match="revoked"):
        Bundle.load(hosts.directory / "stolen")


def test_a_bundle_that_is_half_replaced_refuses_connections_and_ends_nothing(hosts: Hosts) -> None:
    certificate = hosts.folder("server0") / "certificate.pem"
    kept = certificate.read_bytes()
    certificate.unlink()
    try:
        with pytest.raises((SyfrError, OSError)):
            hosts.dial("server0", "ann")
    finally:
        certificate.write_bytes(kept)
        certificate.chmod(0o600)
    assert hosts.alive("server0")
    stop = time.monotonic() + DEADLINE
    while "sets up no connection now" not in hosts.log("server0"):
        assert time.monotonic() < stop
        time.sleep(0.02)
    with hosts.dial("server0", "ann") as wire:
        assert wire.call("hello")["role"] == "server0"


# ---- the functions ----


def test_every_folder_is_complete_and_has_no_key_but_its_own(made: Path) -> None:
    names = {*SERVERS, "owner", "ann", "ben"}
    assert {path.name for path in made.iterdir()} == {*names, "authority", "cluster.json"}
    keys = {path: path.read_bytes() for path in made.rglob("key.pem")}
    assert len(set(keys.values())) == 7
    for name in names:
        files = {path.name for path in (made / name).iterdir()}
        assert files == {"certificate.pem", "key.pem", "authority.pem", "cluster.json", "README.txt"}
        assert name in (made / name / "README.txt").read_text()
        assert "PRIVATE" not in (made / name / "authority.pem").read_text()


@pytest.mark.parametrize(
    "hosts", [ADDRESSES, tuple(ADDRESSES), dict(zip(("server2", "server1", "server0"), ADDRESSES[::-1], strict=True))]
)
def test_hosts_are_given_in_order_or_by_role(tmp_path: Path, hosts: object) -> None:
    provision.create(tmp_path / "made", hosts)
    config = (tmp_path / "made" / "server1" / "cluster.json").read_text()
    addresses = ("alice.example:4000", "bob.example:4001", "[2001:db8::1]:4002")
    assert all(address in config for address in addresses)


@pytest.mark.parametrize("hosts", [3, None, "alice", [], ADDRESSES[:2], [*ADDRESSES, "d"], {"server0": "a"}, [1, 2, 3]])
def test_hosts_that_are_not_three_addresses_are_refused(tmp_path: Path, hosts: object) -> None:
    with pytest.raises(InputTypeError):
        provision.create(tmp_path / "made", hosts)
    assert not (tmp_path / "made").exists()


def test_what_is_there_is_not_touched(made: Path) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    with pytest.raises(CredentialsError, match="is not empty"):
        provision.create(made, ADDRESSES)
    for change in (provision.renew, provision.revoke):
        with pytest.raises(CredentialsError, match="There are ann, ben, owner"):
            change(made, "mallory")
    with pytest.raises(CredentialsError, match="good certificate"):
        provision.add_client(made, "ann")
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_the_list_tells_who_has_what_until_when(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(made / "ben")  # handed out
    provision.revoke(made, "ann")
    shift_clock(monkeypatch, -10)
    provision.add_client(made, "old", 5)
    rows = {row["name"]: row for row in provision.listing(made)}
    assert list(rows) == [*SERVERS, "owner", "ann", "ben", "old"]
    assert {name: row["state"] for name, row in rows.items() if row["state"] != "good"} == {
        "ann": "revoked",
        "old": "expired",
    }
    assert (rows["ben"]["folder"], rows["ann"]["folder"]) == (None, str(made / "ann"))
    assert [row["role"] for row in rows.values()] == [*SERVERS, "owner", "client", "client", "client"]
    year = timedelta(days=365)
    assert abs(rows["server0"]["expires"] - (now() + year).timestamp()) < 3600


def test_a_party_sees_its_own(made: Path, tmp_path: Path) -> None:
    (row,) = provision.listing(made / "ann")
    assert (row["name"], row["role"], row["state"]) == ("ann", "client", "good")
    for name in ("owner", "server0"):
        shutil.copytree(made / name, tmp_path / "host" / name)
    assert [row["name"] for row in provision.listing(tmp_path / "host")] == ["owner", "server0"]
    with pytest.raises(CredentialsError, match="no credentials in"):
        provision.listing(tmp_path)


@pytest.mark.parametrize("name", ["server1", "owner", "ann"])
def test_renewing_makes_a_new_key_under_the_same_authority(made: Path, name: str) -> None:
    before = Bundle.load(made / name)
    key = (made / name / "key.pem").read_bytes()
    row = provision.renew(made, name, 30)
    after = Bundle.load(made / name)
    assert (after.identity, after.cluster) == (before.identity, before.cluster)
    assert after.serial != before.serial
    assert (made / name / "key.pem").read_bytes() != key
    assert not after.is_revoked(before.serial)
    assert row["expires"] == after.not_after.timestamp() < before.not_after.timestamp()
    assert {path.name for path in (made / name).iterdir()} >= {"cluster.json", "README.txt"}


def test_renewing_keeps_a_workers_host_and_what_was_handed_out_can_be_renewed(made: Path) -> None:
    def names(bundle: Path) -> str:
        return str(provision.credentials._host_names(bundle))

    host = names(made / "server0")
    assert "alice.example" in host
    provision.renew(made, "server0")
    assert names(made / "server0") == host
    shutil.rmtree(made / "server1")
    provision.renew(made, "server1")
    assert Bundle.load(made / "server1").identity.role == "server1"


def test_renewing_can_revoke_what_was_before_and_nothing_else(made: Path) -> None:
    before = Bundle.load(made / "server1")
    row = provision.renew(made, "server1", revoke_old=True)
    assert row["state"] == "good"
    for name in (*SERVERS, "owner", "ann", "ben"):
        assert Bundle.load(made / name).is_revoked(before.serial)
    provision.revoke(made, "server1")
    assert provision.renew(made, "server1")["state"] == "good"
