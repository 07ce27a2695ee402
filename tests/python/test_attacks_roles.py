"""Who may not come in, and who may not ask for what: each attempt on live workers, and on workers without the check."""

from __future__ import annotations

import secrets
import select
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from handshakes import attacker, issue, shift_clock
from syfr.errors import CredentialsError, RefusedError, SyfrError
from syfr.link import PREFIX, Frame
from syfr.protocol import sharing
from syfr.trust.credentials import Identity, add_client, create_credentials, revoke
from workers import (
    DEADLINE,
    SERVERS,
    Cluster,
    Wire,
    check_serving,
    cluster_of,
    dense,
    perceptron,
    share_messages,
)

NO_ROLES = """
from syfr.party import service
every = {name: call for calls in service.CALLS.values() for name, call in calls.items()}
service.CALLS = {role: every for role in ("owner", "client")}
"""
NO_REVOCATION = """
from syfr.trust.identity import Bundle
Bundle.is_revoked = lambda self, serial: False
"""
NO_TIME = """
import ssl
from syfr.trust.identity import Bundle
checked = Bundle._context
def context(self, protocol):
    made = checked(self, protocol)
    made.verify_flags |= ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
    return made
Bundle._context = context
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers with all their checks."""
    with cluster_of(tmp_path_factory.mktemp("cluster")) as made:
        yield made


# ---- who comes in ----


def knock(cluster: Cluster, context: ssl.SSLContext | None, server: str = "server0") -> bytes:
    """Say hello as an attacker would, who asks nothing of the worker's certificate; what came back."""
    host, port = cluster.hosts[server].split(":")
    hello = Frame("request", {"id": 1, "call": "hello"}).encode()
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as plain:
        try:
            if context is None:
                plain.sendall(hello)
                return plain.recv(1 << 16)
            with context.wrap_socket(plain) as tls:
                tls.sendall(hello)
                return tls.recv(1 << 16)
        except OSError:
            return b""


def test_the_attackers_client_would_be_heard(cluster: Cluster) -> None:
    """With good credentials the same client gets its reply: it is the credentials that the tests below are about."""
    assert b"server0" in knock(cluster, attacker(cluster.bundle("client").directory))


def test_nobody_without_a_certificate(cluster: Cluster) -> None:
    assert knock(cluster, attacker(None)) == b""
    check_serving(cluster)


def test_nobody_without_tls(cluster: Cluster) -> None:
    assert b"server0" not in knock(cluster, None)
    check_serving(cluster)


def test_nobody_of_another_cluster(cluster: Cluster, tmp_path: Path) -> None:
    other = create_credentials(tmp_path / "other", cluster.hosts)
    for party in ("owner", "client", "server1"):
        assert knock(cluster, attacker(other.bundle(party).directory)) == b""
    with pytest.raises(CredentialsError):
        Wire(cluster.hosts["server0"], other.bundle("client"))
    check_serving(cluster)


def test_nobody_with_a_certificate_of_their_own_making(cluster: Cluster, tmp_path: Path) -> None:
    """The name of this cluster and of its owner, under an authority of the attacker's."""
    forged = create_credentials(tmp_path / "forged", cluster.hosts)
    party = Identity("owner", "owner")
    made = issue(forged.directory, party, tmp_path / "made")
    assert knock(cluster, attacker(made)) == b""
    check_serving(cluster)


def test_nobody_over_an_older_tls(cluster: Cluster) -> None:
    context = attacker(cluster.bundle("client").directory)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert knock(cluster, context) == b""
    check_serving(cluster)


def test_nobody_who_speaks_another_protocol(cluster: Cluster) -> None:
    context = attacker(cluster.bundle("client").directory)
    context.set_alpn_protocols(["http/1.1"])
    assert knock(cluster, context) == b""
    check_serving(cluster)


def expired(cluster: Cluster, directory: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a client hears whose certificate has ended."""
    shift_clock(monkeypatch, -40)
    made = issue(cluster.credentials.directory, Identity("client", "late"), directory)
    return knock(cluster, attacker(made))


def test_nobody_with_an_expired_certificate(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expired(cluster, tmp_path / "late", monkeypatch) == b""
    monkeypatch.undo()
    check_serving(cluster)


@pytest.mark.slow
def test_without_the_check_of_time_expired_certificates_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster_of(tmp_path, all=NO_TIME) as careless:
        assert b"server0" in expired(careless, tmp_path / "late", monkeypatch)


def revoked(cluster: Cluster, name: str) -> bytes:
    """What a client hears whose certificate was revoked while the workers ran."""
    bundle = add_client(cluster.credentials.directory, name)
    assert b"server0" in knock(cluster, attacker(bundle))
    revoke(cluster.credentials.directory, name)
    return knock(cluster, attacker(bundle))


def test_nobody_with_a_revoked_certificate(cluster: Cluster) -> None:
    assert revoked(cluster, "dismissed") == b""
    check_serving(cluster)


def test_without_revocations_the_revoked_come_in(tmp_path: Path) -> None:
    with cluster_of(tmp_path, all=NO_REVOCATION) as careless:
        assert b"server0" in revoked(careless, "dismissed")


# ---- who asks for what ----

OWNER_CALLS = ("share", "part", "serve", "pause", "drop", "status", "shutdown")
CLIENT_CALLS = ("describe", "open")
"""Owners and clients alike close sessions, each their own."""


@pytest.mark.parametrize("call", OWNER_CALLS)
def test_a_client_cannot_play_the_owner(cluster: Cluster, call: str) -> None:
    model = dense()
    with cluster.owner() as owner:
        number = owner.shared(model, 5)
        shares = sharing.share_weights(model.program, model.kernels, model.biases)
        fields, arrays = share_messages(model, shares, secrets.token_hex(16))
        with cluster.client("mallory") as mallory:
            for server in SERVERS:
                meta = fields[server] if call == "share" else {"model": number, "requests": 1000}
                with pytest.raises(RefusedError, match="may not ask"):
                    mallory.wires[server].call(call, arrays[server] if call == "share" else (), **meta)
        assert [counted["requests"] for counted in owner.counters(number)] == [5, 5, 5]
        with cluster.client() as client:
            client.open(number, model).check()
        owner.tell("drop", model=number)


@pytest.mark.parametrize("call", CLIENT_CALLS)
def test_the_owner_cannot_play_a_client(cluster: Cluster, call: str) -> None:
    with cluster.owner() as owner, pytest.raises(RefusedError, match="may not ask"):
        owner.tell(call, session=bytes(16), model="0" * 32, rows=1, seeds=[bytes(16)])


def test_the_owner_cannot_send_a_query(cluster: Cluster) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        owner.wires["server0"].send(session.frame(model.input(1), 0))
        assert owner.wires["server0"].ended()
        session.check()
    check_serving(cluster)


def test_without_the_table_of_roles_a_client_plays_the_owner(tmp_path: Path) -> None:
    model = dense()
    with cluster_of(tmp_path, all=NO_ROLES) as careless, careless.owner() as owner:
        number = owner.shared(model, 1)
        with careless.client("mallory") as mallory:
            mallory.tell("serve", model=number, requests=1000)
        assert [counted["requests"] for counted in owner.counters(number)] == [1000] * 3


@pytest.mark.parametrize("call", [None, 7, b"hello", ["hello"], {"call": "hello"}, "", "__init__", "run", "x" * 2000])
def test_calls_that_do_not_exist(cluster: Cluster, call: object) -> None:
    for party in ("owner", "client"):
        with cluster.dial("server0", party) as wire, pytest.raises(RefusedError):
            wire.call(call)


# ---- who plays a worker ----

WORKER_FRAMES: dict[str, object] = {
    "link": {"half": bytes(32)},
    "step": [bytes(16), 0, 1, 0, 0, 0, 0],
    "dealt": {"session": bytes(16), "start": 0, "rows": 1, "block": 0},
    "share": {"model": "0" * 32, "digests": {}},
    "opened": {"session": bytes(16)},
    "more": {"session": bytes(16), "until": 100},
    "failed": {"session": bytes(16), "start": 0, "rows": 1, "code": "protocol", "message": "no"},
    "began": {"session": bytes(16), "start": 0, "rows": 1},
    "ended": {"session": bytes(16)},
    "ping": {"id": 1},
    "answer": {"session": bytes(16), "start": 0, "rows": 1, "clock": 1},
    "reply": {"id": 1, "ok": True},
}


@pytest.mark.parametrize("kind", WORKER_FRAMES)
def test_clients_and_owners_cannot_play_a_worker(cluster: Cluster, kind: str) -> None:
    model = perceptron()
    with cluster.owner() as owner, cluster.client() as client:
        number = owner.shared(model)
        session = client.open(number, model)
        session.check()
        meta = WORKER_FRAMES[kind]
        if isinstance(meta, dict) and "session" in meta:
            meta = {**meta, "session": session.number}
        if isinstance(meta, list):
            meta = [session.number, *meta[1:]]
        for party in ("client", "owner"):
            for server in SERVERS:
                with cluster.dial(server, party) as wire:
                    wire.send(Frame(kind, meta))
                    assert wire.ended()
        session.check()
        owner.tell("drop", model=number)


def dial_as(cluster: Cluster, party: str, server: str, frames: list[Frame]) -> list[Frame]:
    """Connect with another worker's certificate and send frames; what came until the end, or for a while."""
    got: list[Frame] = []
    with cluster.dial(server, party) as wire:
        for frame in frames:
            try:
                wire.send(frame)
            except SyfrError:
                break
        wire.ended(0.3)
        got += wire.inbox
    return got


@pytest.mark.parametrize(("party", "server"), [("server1", "server0"), ("server2", "server0"), ("server2", "server1")])
def test_a_second_link_of_a_worker_replaces_the_first_which_comes_back(
    cluster: Cluster, party: str, server: str
) -> None:
    """Who has a worker's key can break its links, as the worker could."""
    for _ in range(2):
        got = dial_as(cluster, party, server, [Frame("link", {"half": bytes(32)})])
        assert {frame.kind for frame in got} <= {"link", "ping", "pong", "share"}
    check_serving(cluster)


@pytest.mark.parametrize(("party", "server"), [("server0", "server0"), ("server0", "server1"), ("server1", "server2")])
def test_workers_that_are_dialled_do_not_dial(cluster: Cluster, party: str, server: str) -> None:
    """Such a link would take the place of the true one, and nobody would dial again after its end."""
    with cluster.dial(server, party) as wire:
        assert wire.ended()
    with cluster.owner() as owner:
        assert owner.wires[server].call("hello")["ready"]
    check_serving(cluster)


@pytest.mark.parametrize(
    "first",
    [
        Frame("step", [bytes(16), 0, 1, 0, 0, 0, 0]),
        Frame("link", {"half": bytes(31)}),
        Frame("link", {"half": "x" * 32}),
        Frame("link", None),
        Frame("link", []),
        Frame("request", {"id": 1, "call": "status"}),
    ],
    ids=["step", "short", "text", "nothing", "list", "request"],
)
def test_a_link_begins_with_half_a_key(cluster: Cluster, first: Frame) -> None:
    with cluster.dial("server0", "server2") as wire:
        wire.send(first)
        assert wire.ended()
    check_serving(cluster)


# ---- connections that only cost ----


def test_connections_that_say_nothing_keep_nobody_out(cluster: Cluster) -> None:
    host, port = cluster.hosts["server0"].split(":")
    silent = [socket.create_connection((host, int(port)), timeout=DEADLINE) for _ in range(150)]
    try:
        check_serving(cluster)
    finally:
        for sock in silent:
            sock.close()


def test_a_handshake_that_does_not_end_is_ended(tmp_path: Path) -> None:
    patch = "from syfr.party import endpoint\nendpoint.HANDSHAKE_SECONDS = 0.3"
    with cluster_of(tmp_path, server0=patch) as cluster:
        host, port = cluster.hosts["server0"].split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE) as slow:
            slow.sendall(b"\x16\x03\x01")
            assert slow.recv(100) == b""
        check_serving(cluster)


@pytest.mark.parametrize("party", ["owner", "client", "server1"])
@pytest.mark.parametrize(
    "raw",
    [
        PREFIX.pack(0, 0),
        PREFIX.pack(0xFFFFFFFF, 0),
        PREFIX.pack(10, 0xFFFFFFFF) + b"\xc1" * 10,
        PREFIX.pack(8, 0) + b"\xc1" * 8,
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(5000),
    ],
    ids=["empty", "long header", "long body", "garbage", "http", "zeros"],
)
def test_bytes_that_are_no_frame_end_the_connection(cluster: Cluster, party: str, raw: bytes) -> None:
    with cluster.dial("server0", party) as wire:
        wire.connection._unsent.append(memoryview(raw))
        wire.connection.flush()
        if raw[4:8] != b"\xff" * 4 or party == "client":  # the others may send as much, and then it is awaited
            assert wire.ended()
    check_serving(cluster)


def test_a_frame_that_never_ends_takes_its_memory_along(cluster: Cluster) -> None:
    """What is announced takes no memory before it is sent, and what was sent goes with its connection."""
    before = resident(cluster, "server0")
    wires = [cluster.dial("server0", party) for party in ("client", "owner") for _ in range(8)]
    for wire in wires:
        wire.connection._unsent.append(memoryview(PREFIX.pack(100, (1 << 28) - 200) + bytes(1 << 16)))
        wire.connection.flush()
    with cluster.owner() as owner:
        owner.wires["server0"].call("hello")
    assert resident(cluster, "server0") < before + (200 << 20)
    for wire in wires:
        wire.close()
    check_serving(cluster)


def resident(cluster: Cluster, server: str) -> int:
    """Bytes of memory that a worker has in use."""
    status = Path(f"/proc/{cluster.processes[server].pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) << 10


def test_nothing_is_said_before_it_is_asked(cluster: Cluster) -> None:
    """A worker speaks first to its peers only."""
    for party in ("client", "owner"):
        with cluster.dial("server2", party) as wire:
            assert select.select([wire.connection], [], [], 0.2)[0] == []
