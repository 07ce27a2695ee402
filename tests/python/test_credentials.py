"""Credentials: what is on disk, who gets in, and who does not. The attacks are real handshakes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import stat
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from syfr import authority as authority_module
from syfr import directories
from syfr.authority import Authority
from syfr.credentials import (
    ROLES,
    SERVERS,
    Bundle,
    Credentials,
    Identity,
    add_client,
    cache_directory,
    cluster_directory,
    create_credentials,
    data_directory,
    ensure_credentials,
    expect,
    identity_of,
    revoke,
)
from syfr.errors import CredentialsError, DeadlineError, InputTypeError
from syfr.identity import certificate_identity, now, parse_uri

HOSTS = {"server0": "localhost:4000", "server1": "127.0.0.1:4001", "server2": "[::1]:4002"}
PARTIES = (*SERVERS, "owner", "client")
CLUSTER_ID = "0123456789abcdef" * 2
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")

Outcome = Identity | BaseException
Who = Callable[[ssl.SSLSocket], Identity]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster's credentials; tests that change them take a copy."""
    return create_credentials(tmp_path_factory.mktemp("made") / "cluster", HOSTS).directory


@pytest.fixture
def cluster(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "cluster"))


def shift_clock(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Make certificates as of ``days`` from now."""

    def shifted() -> datetime:
        return now() + timedelta(days=days)

    monkeypatch.setattr(authority_module, "now", shifted)


def careless(connection: ssl.SSLSocket) -> Identity:
    """What an attacker asks of the other end: nothing."""
    return Identity("client", "anyone")


def meet(
    server: ssl.SSLContext, client: ssl.SSLContext, at_client: Who | None = None
) -> tuple[Outcome, Outcome]:
    """What the server and the client make of each other: an identity, or the error that ended it."""
    ends = socket.socketpair()
    outcomes: list[Outcome | None] = [None, None]

    def run(side: int, context: ssl.SSLContext, who: Who | None) -> None:
        who = who or (careless if type(context) is ssl.SSLContext else identity_of)
        try:
            ends[side].settimeout(10)
            with context.wrap_socket(ends[side], server_side=side == 0) as connection:
                outcome = who(connection)
                connection.sendall(b"!")
                # A client's TLS 1.3 handshake ends before the server has judged its certificate.
                if connection.recv(1) != b"!":
                    raise ConnectionError("the other end hung up")
                outcomes[side] = outcome
        except Exception as error:
            outcomes[side] = error
        finally:
            ends[side].close()

    sides = [
        threading.Thread(target=run, args=(0, server, None), daemon=True),
        threading.Thread(target=run, args=(1, client, at_client), daemon=True),
    ]
    for side in sides:
        side.start()
    for side in sides:
        side.join(20)
    assert outcomes[0] is not None
    assert outcomes[1] is not None
    return outcomes[0], outcomes[1]


def attacker(bundle: Path | None, protocol: int = ssl.PROTOCOL_TLS_CLIENT) -> ssl.SSLContext:
    """A context with none of our checks: it shows the bundle's certificate and accepts anyone's."""
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["syfr/1"])
    if bundle is not None:
        context.load_cert_chain(bundle / "certificate.pem", bundle / "key.pem")
    return context


def issue(cluster: Path, party: Identity, directory: Path) -> Path:
    """A certificate that the real authority signed, for whatever identity."""
    directory.mkdir(mode=0o700)
    Authority.read(cluster / "authority").issue(party, [], 30).write(directory)
    return directory


class Forged(Identity):
    """An identity that states any URI."""

    def __init__(self, role: str, stated: str) -> None:
        super().__init__(role, role)
        object.__setattr__(self, "stated", stated)

    def uri(self, cluster: str) -> str:
        return str(getattr(self, "stated")).format(cluster=cluster)  # noqa: B009


# Handshakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", PARTIES)
def test_the_parties_of_a_cluster_know_each_other(made: Path, server: str, client: str) -> None:
    store = Credentials(made)
    listening, calling = store.bundle(server), store.bundle(client)
    seen = meet(listening.server_context(), calling.client_context(), lambda c: expect(c, server))
    assert seen == (Identity(client, client), Identity(server, server))


def test_a_connection_is_tls_13_with_our_protocol_and_no_tickets(made: Path) -> None:
    store = Credentials(made)
    server = store.bundle("server0").server_context()
    facts: list[object] = []

    def look(connection: ssl.SSLSocket) -> Identity:
        facts.extend([connection.version(), connection.selected_alpn_protocol()])
        return identity_of(connection)

    meet(server, store.bundle("client").client_context(), look)
    assert facts == ["TLSv1.3", "syfr/1"]
    assert server.num_tickets == 0
    for context in (server, store.bundle("client").client_context()):
        assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_3
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.verify_flags & ssl.VERIFY_X509_STRICT


def test_a_client_playing_owner_is_seen_as_client(made: Path) -> None:
    server = Credentials(made).bundle("server0").server_context()
    seen, _ = meet(server, attacker(made / "client"))
    assert seen == Identity("client", "client")


@pytest.mark.parametrize("player", ["client", "owner"])
def test_a_client_or_owner_playing_worker_is_refused(made: Path, player: str) -> None:
    client = Credentials(made).bundle("client").client_context()
    _, seen = meet(attacker(made / player, ssl.PROTOCOL_TLS_SERVER), client)
    assert isinstance(seen, ssl.SSLCertVerificationError)


def test_a_worker_in_the_place_of_another_is_refused(made: Path) -> None:
    store = Credentials(made)
    _, seen = meet(
        store.bundle("server1").server_context(),
        store.bundle("client").client_context(),
        lambda connection: expect(connection, "server0"),
    )
    assert isinstance(seen, CredentialsError)
    assert "server1, not server0" in str(seen)


def test_no_certificate_is_refused(made: Path) -> None:
    server = Credentials(made).bundle("server0").server_context()
    seen, client = meet(server, attacker(None))
    assert isinstance(seen, ssl.SSLError)
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in str(seen)
    assert not isinstance(client, Identity)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2])
def test_older_tls_is_refused(made: Path, version: ssl.TLSVersion) -> None:
    store = Credentials(made)
    old = attacker(made / "client")
    old.maximum_version = version
    seen, _ = meet(store.bundle("server0").server_context(), old)
    assert isinstance(seen, ssl.SSLError)
    assert "UNSUPPORTED_PROTOCOL" in str(seen)

    old = attacker(made / "server0", ssl.PROTOCOL_TLS_SERVER)
    old.maximum_version = version
    _, seen = meet(old, store.bundle("client").client_context())
    assert isinstance(seen, ssl.SSLError)
    assert "PROTOCOL_VERSION" in str(seen)


@pytest.mark.parametrize("same_id", [False, True])
def test_another_clusters_certificate_is_refused(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_id: bool
) -> None:
    store = Credentials(made)
    if same_id:
        cluster_id = store.bundle("owner").cluster
        monkeypatch.setattr("syfr.authority.secrets.token_hex", lambda size: cluster_id)
    other = create_credentials(tmp_path / "other", HOSTS).directory
    assert same_id == (Bundle.load(other / "owner").cluster == store.bundle("owner").cluster)

    seen, _ = meet(store.bundle("server0").server_context(), attacker(other / "owner"))
    assert isinstance(seen, ssl.SSLCertVerificationError)
    fake = attacker(other / "server0", ssl.PROTOCOL_TLS_SERVER)
    _, seen = meet(fake, store.bundle("client").client_context())
    assert isinstance(seen, ssl.SSLCertVerificationError)


def test_an_expired_certificate_is_refused(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Credentials(made)
    shift_clock(monkeypatch, -40)
    client = issue(made, Identity("client", "late"), tmp_path / "late")
    server = issue(made, Identity("server0", "server0"), tmp_path / "server")

    seen, _ = meet(store.bundle("server0").server_context(), attacker(client))
    assert isinstance(seen, ssl.SSLCertVerificationError)
    assert "expired" in str(seen)
    _, seen = meet(attacker(server, ssl.PROTOCOL_TLS_SERVER), store.bundle("client").client_context())
    assert isinstance(seen, ssl.SSLCertVerificationError)
    assert "expired" in str(seen)


def test_a_revoked_client_is_refused_at_once_and_others_are_not(cluster: Path) -> None:
    alice, bob = add_client(cluster, "alice"), add_client(cluster, "bob")
    server = Credentials(cluster).bundle("server0").server_context()
    assert meet(server, Bundle.load(alice).client_context())[0] == Identity("client", "alice")
    thief = attacker(alice)
    revoke(cluster, "alice")

    seen, client = meet(server, thief)
    assert isinstance(seen, CredentialsError)
    assert "alice is revoked" in str(seen)
    assert not isinstance(client, Identity)
    assert meet(server, Bundle.load(bob).client_context())[0] == Identity("client", "bob")


def test_a_revoked_worker_is_refused_by_clients_and_peers(cluster: Path) -> None:
    store = Credentials(cluster)
    calling = [store.bundle(name).client_context() for name in ("client", "owner", "server1")]
    server = attacker(cluster / "server0", ssl.PROTOCOL_TLS_SERVER)
    revoke(cluster, "server0")
    for context in calling:
        _, seen = meet(server, context)
        assert isinstance(seen, CredentialsError)
        assert "server0 is revoked" in str(seen)


@pytest.mark.parametrize(
    "uri",
    [
        f"syfr://{CLUSTER_ID}/owner/owner",
        "syfr://{cluster}/owner/alice",
        "syfr://{cluster}/root/root",
        "syfr://{cluster}/client/..",
        "syfr://{cluster}/client/owner",
        "syfr://{cluster}/client/alice/owner",
        "https://example.org/",
    ],
)
def test_a_signed_certificate_with_another_identity_is_refused(made: Path, tmp_path: Path, uri: str) -> None:
    bundle = issue(made, Forged("owner", uri), tmp_path / "forged")
    seen, _ = meet(Credentials(made).bundle("server0").server_context(), attacker(bundle))
    assert isinstance(seen, CredentialsError)


def test_another_application_protocol_is_refused(made: Path) -> None:
    server = Credentials(made).bundle("server0").server_context()
    for protocols in (["http/1.1"], []):
        other = attacker(made / "client")
        other.set_alpn_protocols(protocols)
        seen, _ = meet(server, other)
        assert isinstance(seen, CredentialsError)
        assert "does not speak syfr/1" in str(seen)


def test_a_connection_that_syfr_did_not_open_has_no_identity(made: Path) -> None:
    server = attacker(made / "server0", ssl.PROTOCOL_TLS_SERVER)
    _, seen = meet(server, attacker(made / "client"), identity_of)
    assert isinstance(seen, CredentialsError)
    assert "was not opened by syfr" in str(seen)


def test_before_the_handshake_there_is_no_identity(made: Path) -> None:
    ends = socket.socketpair()
    context = Credentials(made).bundle("client").client_context()
    connection = context.wrap_socket(ends[0], do_handshake_on_connect=False)
    with ends[1], connection, pytest.raises(CredentialsError, match="no certificate"):
        identity_of(connection)


# On disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@posix_only
def test_files_are_private_from_their_first_moment(
    tmp_path: Path, open_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    fdopen = os.fdopen

    def spy(descriptor: int, mode: str) -> IO[bytes]:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        opened: IO[bytes] = fdopen(descriptor, mode)
        return opened

    monkeypatch.setattr("syfr.directories.os.fdopen", spy)
    cluster = tmp_path / "cluster"
    create_credentials(cluster, HOSTS, ["alice"])
    add_client(cluster, "bob")
    revoke(cluster, "bob")

    assert len(modes) > 20
    assert set(modes) == {0o600}
    paths = [cluster, *cluster.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}


def test_each_bundle_has_its_own_key_and_never_the_authoritys(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == sorted([*PARTIES, "authority"])
    for name in PARTIES:
        assert sorted(path.name for path in (made / name).iterdir()) == [
            "authority.pem",
            "certificate.pem",
            "key.pem",
        ]
        assert b"PRIVATE" not in (made / name / "authority.pem").read_bytes()
    keys = {(made / name / "key.pem").read_bytes() for name in (*PARTIES, "authority")}
    assert len(keys) == len(PARTIES) + 1


def test_certificates_are_backdated_limited_and_say_what_they_are_for(made: Path) -> None:
    server = x509.load_pem_x509_certificate((made / "server2" / "certificate.pem").read_bytes())
    client = x509.load_pem_x509_certificate((made / "client" / "certificate.pem").read_bytes())
    assert server.not_valid_before_utc <= now() - timedelta(hours=23)
    assert timedelta(days=364) < server.not_valid_after_utc - now() <= timedelta(days=365)
    assert isinstance(server.public_key(), ec.EllipticCurvePublicKey)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["::1"]
    for certificate, uses in ((server, 2), (client, 1)):
        extensions = certificate.extensions
        assert len(list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)) == uses
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert certificate.serial_number.bit_length() > 100


@posix_only
@pytest.mark.parametrize(("path", "mode"), [("key.pem", 0o604), ("key.pem", 0o640), (".", 0o777)])
def test_a_bundle_open_to_others_is_refused_with_the_remedy(cluster: Path, path: str, mode: int) -> None:
    bundle = cluster / "client"
    (bundle / path).chmod(mode)
    with pytest.raises(CredentialsError, match=r"chmod [67]00"):
        Bundle.load(bundle)
    (bundle / path).chmod(mode & 0o700)
    assert Bundle.load(bundle).identity == Identity("client", "client")


@pytest.mark.parametrize(
    ("file", "source", "reason"),
    [
        ("key.pem", "owner/key.pem", "not the one of the certificate"),
        ("authority.pem", "owner/certificate.pem", "not of the authority"),
        ("certificate.pem", "owner/key.pem", r"certificate\.pem cannot be used"),
        ("key.pem", "owner/certificate.pem", "no plain private key"),
        ("key.pem", None, r"key\.pem cannot be used: No such file"),
        ("certificate.pem", None, r"certificate\.pem cannot be used: No such file"),
    ],
)
def test_a_bundle_that_does_not_fit_together_is_refused(
    cluster: Path, file: str, source: str | None, reason: str
) -> None:
    target = cluster / "client" / file
    content = (cluster / source).read_bytes() if source else None
    target.unlink()
    if content is not None:
        target.touch(mode=0o600)
        target.write_bytes(content)
    with pytest.raises(CredentialsError, match=reason):
        Bundle.load(cluster / "client")


def test_an_authority_of_the_same_name_does_not_pass_for_the_bundles(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_id = Bundle.load(cluster / "client").cluster
    monkeypatch.setattr("syfr.authority.secrets.token_hex", lambda size: cluster_id)
    (cluster / "other").mkdir()
    Authority.make().write(cluster / "other")
    shutil.copy(cluster / "other" / "certificate.pem", cluster / "client" / "authority.pem")
    with pytest.raises(CredentialsError, match="not of the authority"):
        Bundle.load(cluster / "client")


def test_no_secret_shows_in_a_repr_or_an_error(cluster: Path) -> None:
    secret = (cluster / "client" / "key.pem").read_text().splitlines()[1]
    shown = [repr(Bundle.load(cluster / "client")), repr(Authority.read(cluster / "authority"))]
    assert all("<REDACTED>" in text for text in shown)
    (cluster / "client" / "key.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n")
    with pytest.raises(CredentialsError) as caught:
        Bundle.load(cluster / "client")
    assert not any(secret[:12] in text for text in [*shown, str(caught.value), repr(caught.value.__cause__)])


# Making, reusing, adding, revoking -----------------------------------------------------------------------


def test_ensure_makes_once_and_then_reuses(tmp_path: Path) -> None:
    first = ensure_credentials(tmp_path / "a" / "b", HOSTS)
    serial = first.bundle("owner").serial
    assert ensure_credentials(tmp_path / "a" / "b", HOSTS).bundle("owner").serial == serial
    assert create_credentials(tmp_path / "a" / "b", HOSTS).bundle("owner").serial == serial
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".b.lock", "b"]


@pytest.mark.parametrize("age", [364.9, 400])
def test_ensure_replaces_what_has_ended_or_soon_will(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    with monkeypatch.context() as patch:
        shift_clock(patch, -age)
        old = create_credentials(tmp_path / "c", HOSTS)
        cluster = Bundle.read(tmp_path / "c" / "owner").cluster
    if age > 365:
        with pytest.raises(CredentialsError, match="expired on"):
            old.bundle("owner")
    assert ensure_credentials(tmp_path / "c", HOSTS).bundle("owner").cluster != cluster
    assert sorted(path.name for path in tmp_path.iterdir()) == [".c.lock", "c"]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("work of years")
    for make in (create_credentials, ensure_credentials):
        with pytest.raises(CredentialsError, match="cannot be used"):
            make(tmp_path / "c", HOSTS)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["thesis.txt"]


def test_bundles_of_two_clusters_in_one_directory_are_refused(cluster: Path, tmp_path: Path) -> None:
    other = create_credentials(tmp_path / "other", HOSTS).directory
    shutil.rmtree(cluster / "owner")
    shutil.copytree(other / "owner", cluster / "owner")
    with pytest.raises(CredentialsError, match="not of one cluster"):
        ensure_credentials(cluster, HOSTS)


def test_nothing_stays_behind_when_making_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("syfr.credentials.write_private", full)
    with pytest.raises(CredentialsError, match="No space left"):
        create_credentials(tmp_path / "c", HOSTS)
    assert [path.name for path in tmp_path.iterdir()] == [".c.lock"]


RACER = """
import sys
from pathlib import Path
from typing import IO
from syfr.credentials import ensure_credentials
hosts = dict(zip(("server0", "server1", "server2"), ("localhost:1", "localhost:2", "localhost:3")))
print("ready", flush=True)
sys.stdin.readline()
for number in range(8):
    store = ensure_credentials(Path(sys.argv[1]) / str(number), hosts)
    print([store.bundle(name).serial for name in ("server0", "server1", "server2", "owner", "client")])
"""


def test_processes_that_start_at_once_use_the_same_credentials(tmp_path: Path) -> None:
    path = str(Path(directories.__file__).parent.parent)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        for _ in range(3)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = [racer.communicate(timeout=60)[0] for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert len(said[0].splitlines()) == 8
    assert said[0] == said[1] == said[2]


def test_a_lock_that_is_not_given_back_ends_in_an_error(tmp_path: Path) -> None:
    held, wanted = directories.locked(tmp_path / "c"), directories.locked(tmp_path / "c", timeout=0.1)
    with held, pytest.raises(DeadlineError, match="Another session"), wanted:
        pass
    with directories.locked(tmp_path / "c", timeout=0.1):
        pass


def test_a_client_is_added_once_and_renewed_after_its_revocation(cluster: Path) -> None:
    first = Bundle.load(add_client(cluster, "alice", days=30))
    assert first.identity == Identity("client", "alice")
    assert now() + timedelta(days=29) < first.not_after < now() + timedelta(days=31)
    for name in ("alice", "Alice"):
        with pytest.raises(CredentialsError):
            add_client(cluster, name)

    revoke(cluster, "alice")
    with pytest.raises(CredentialsError, match="has been revoked"):
        Bundle.load(cluster / "alice")
    second = Bundle.load(add_client(cluster, "alice"))
    assert not second.is_revoked(second.serial)
    assert second.is_revoked(first.serial)

    shutil.rmtree(cluster / "alice")
    revoke(cluster, "alice")
    assert Bundle.load(cluster / "server1").is_revoked(second.serial)


def test_unknown_names_days_hosts_and_directories_are_refused(cluster: Path, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="There are client, owner, server0"):
        revoke(cluster, "mallory")
    for days in (0, -1, 100_000):
        with pytest.raises(CredentialsError, match="days"):
            add_client(cluster, "alice", days)
    for change in (
        lambda: add_client(tmp_path / "none", "alice"),
        lambda: revoke(tmp_path / "none", "alice"),
    ):
        with pytest.raises(CredentialsError, match="no authority"):
            change()
    with pytest.raises(CredentialsError, match="Give one for each"):
        create_credentials(tmp_path / "c", {"server0": "localhost:1"})
    with pytest.raises(InputTypeError):
        create_credentials(tmp_path / "c", {**HOSTS, "server1": "no host"})
    with pytest.raises(CredentialsError, match="same name"):
        create_credentials(tmp_path / "c", HOSTS, ["alice", "Alice"])
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_broken_list_of_revocations_lets_nobody_in(cluster: Path, content: str) -> None:
    store = Credentials(cluster)
    server, client = store.bundle("server0").server_context(), store.bundle("client").client_context()
    (cluster / "server0" / "revoked.json").write_text(content)
    seen, _ = meet(server, client)
    assert isinstance(seen, CredentialsError)
    assert "revoked.json" in str(seen)


def test_a_copied_list_of_revocations_is_enough_on_another_host(cluster: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(cluster / "server0", tmp_path / "elsewhere"))
    server = Bundle.load(elsewhere)
    serial = Bundle.load(cluster / "client").serial
    revoke(cluster, "client")
    assert not server.is_revoked(serial)
    shutil.copy(cluster / "revoked.json", elsewhere)
    assert server.is_revoked(serial)
    assert list(json.loads((elsewhere / "revoked.json").read_text()).values()) == ["client"]


# Identities ----------------------------------------------------------------------------------------------

hostile = st.one_of(
    st.text(max_size=70),
    st.text(alphabet=string.ascii_letters + string.digits + "_.-/\\:%\n\0 ", max_size=66),
    st.sampled_from(
        ["", ".", "..", "owner", "OWNER", "server0", "authority", "a\n", "a" * 65, "a/../b", "-x", "x."]
    ),
)


@given(hostile)
def test_a_client_name_is_harmless_or_refused(name: str) -> None:
    try:
        identity = Identity("client", name)
    except CredentialsError:
        return
    assert 1 <= len(name) <= 64
    assert set(name) <= set(string.ascii_letters + string.digits + "_.-")
    assert name[0] not in ".-"
    assert name[-1] != "."
    assert name.lower() not in {*SERVERS, "owner", "authority"}
    assert parse_uri(identity.uri(CLUSTER_ID)) == (CLUSTER_ID, identity)


@given(st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_-])?", fullmatch=True))
def test_an_ordinary_client_name_is_accepted(name: str) -> None:
    assert str(Identity("client", f"x{name[1:]}")).startswith("client/") or name[1:] == ""


@given(st.sampled_from([*ROLES, "root", "", "Owner"]), hostile)
def test_only_clients_choose_their_name(role: str, name: str) -> None:
    if role == "client" or (role in ROLES and name == role):
        return
    with pytest.raises(CredentialsError):
        Identity(role, name)


@given(
    st.one_of(
        st.text(), st.builds("syfr://{}/{}/{}".format, st.sampled_from([CLUSTER_ID, "x"]), hostile, hostile)
    )
)
def test_what_a_uri_says_is_one_identity_or_an_error(uri: str) -> None:
    try:
        cluster, identity = parse_uri(uri)
    except CredentialsError:
        return
    assert identity.uri(cluster) == uri


KEY = ec.generate_private_key(ec.SECP256R1())
ascii_text = st.text(alphabet=[chr(code) for code in range(128)], max_size=80)


@given(st.lists(ascii_text, max_size=3), st.lists(st.sampled_from(["localhost", "example.org"]), max_size=1))
def test_a_certificate_states_one_identity_or_is_refused(uris: list[str], names: list[str]) -> None:
    good = f"syfr://{CLUSTER_ID}/owner/owner"
    subject = x509.Name([])
    for stated in (uris, [*uris, good]):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(KEY.public_key())
            .serial_number(1)
            .not_valid_before(datetime(2024, 1, 1))
            .not_valid_after(datetime(2025, 1, 1))
        )
        held = [x509.UniformResourceIdentifier(uri) for uri in stated] + [
            x509.DNSName(name) for name in names
        ]
        if held:
            builder = builder.add_extension(x509.SubjectAlternativeName(held), critical=False)
        certificate = builder.sign(KEY, hashes.SHA256())
        if stated == [good]:
            assert certificate_identity(certificate) == (CLUSTER_ID, Identity("owner", "owner"))
        else:
            with pytest.raises(CredentialsError):
                certificate_identity(certificate)


# Directories ---------------------------------------------------------------------------------------------

VARIABLES = ("SYFR_HOME", "R_USER_DATA_DIR", "R_USER_CACHE_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME")
SETTINGS: list[dict[str, str]] = [
    {},
    {"XDG_DATA_HOME": "/x/data", "XDG_CACHE_HOME": "/x/cache"},
    {"R_USER_DATA_DIR": "/r/data", "R_USER_CACHE_DIR": "/r/cache", "XDG_DATA_HOME": "/x/data"},
    {"R_USER_DATA_DIR": "", "XDG_DATA_HOME": "/x/data"},
]


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
@pytest.mark.parametrize("setting", SETTINGS)
def test_directories_are_where_r_has_them(setting: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in setting.items():
        monkeypatch.setenv(variable, value)
    script = 'cat(tools::R_user_dir("syfr", "data"), tools::R_user_dir("syfr", "cache"), sep = "\\n")'
    said = subprocess.run(
        ["Rscript", "--vanilla", "-e", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert [str(data_directory()), str(cache_directory())] == said.stdout.splitlines()


@pytest.mark.parametrize(
    ("platform", "data", "cache"),
    [
        ("linux", "/home/u/.local/share/R/syfr", "/home/u/.cache/R/syfr"),
        (
            "darwin",
            "/home/u/Library/Application Support/org.R-project.R/R/syfr",
            "/home/u/Library/Caches/org.R-project.R/R/syfr",
        ),
        ("win32", "/roaming/R/data/R/syfr", "/local/R/cache/R/syfr"),
    ],
)
def test_each_system_has_its_custom(
    platform: str, data: str, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in {"HOME": "/home/u", "APPDATA": "/roaming", "LOCALAPPDATA": "/local"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("syfr.directories.sys.platform", platform)
    assert (data_directory().as_posix(), cache_directory().as_posix()) == (data, cache)


def test_syfr_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R_USER_DATA_DIR", "/r/data")
    monkeypatch.setenv("SYFR_HOME", str(tmp_path))
    assert data_directory() == tmp_path
    assert cache_directory() == tmp_path / "cache"
    directory = cluster_directory(["localhost:1", "localhost:2", "localhost:3"])
    assert directory.parent == tmp_path / "clusters"


def test_a_cluster_has_one_directory_however_its_addresses_are_written() -> None:
    plain = cluster_directory(["localhost:4000", "localhost:4001", "localhost:4002"])
    assert cluster_directory(("127.0.0.1:4000", "[::1]:4001", " LocalHost:4002 ")) == plain
    assert cluster_directory(["localhost:4001", "localhost:4000", "localhost:4002"]) != plain
    # Too long to be written out in full, and equal in what is.
    long = [f"{'a' * 60}.example.org:{port}" for port in (1, 2, 3)]
    other = [*long[:2], long[2].replace(":3", ":4")]
    assert cluster_directory(long) != cluster_directory(other)
    assert set(cluster_directory(long).name) <= set(string.ascii_lowercase + string.digits + ".-")
    assert len(cluster_directory(long).name) <= 97


@pytest.mark.parametrize(
    "address",
    ["localhost", "", ":4000", "localhost:0", "localhost:65536", "a:b", "../x:1", "a b:1", "a:1:2", "[::1"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputTypeError):
        cluster_directory(["localhost:1", "localhost:2", address])
