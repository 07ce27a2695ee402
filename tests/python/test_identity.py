"""Who gets in and who does not, each attack a real handshake; and what a name may be."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import string
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from handshakes import HOSTS, PARTIES, Forged, attacker, issue, meet, shift_clock
from hypothesis import assume, given
from hypothesis import strategies as st
from syfr.errors import CredentialsError
from syfr.trust.credentials import (
    ROLES,
    SERVERS,
    Bundle,
    Credentials,
    Identity,
    add_client,
    create_credentials,
    expect,
    identity_of,
    revoke,
)
from syfr.trust.identity import certificate_identity, parse_uri

CLUSTER_ID = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster's credentials; tests that change them take a copy."""
    return create_credentials(tmp_path_factory.mktemp("made") / "cluster", HOSTS).directory


@pytest.fixture
def cluster(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "cluster"))


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
        monkeypatch.setattr("syfr.trust.authority.secrets.token_hex", lambda size: cluster_id)
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


def test_a_connection_in_memory_has_an_identity_too(made: Path) -> None:
    """As asyncio makes them: without a socket."""
    store = Credentials(made)
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = store.bundle("server0").server_context().wrap_bio(here, there, server_side=True)
    client = store.bundle("owner").client_context().wrap_bio(there, here)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert expect(server, "owner") == Identity("owner", "owner")
    assert expect(client, "server0") == Identity("server0", "server0")


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


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_broken_list_of_revocations_lets_nobody_in(cluster: Path, content: str) -> None:
    store = Credentials(cluster)
    server, client = store.bundle("server0").server_context(), store.bundle("client").client_context()
    (cluster / "server0" / "revoked.json").write_text(content)
    seen, _ = meet(server, client)
    assert isinstance(seen, CredentialsError)
    assert "revoked.json" in str(seen)


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
    assume(name.lower() not in {*ROLES, "authority", "revoked.json"} or name.lower() == "client")
    assert Identity("client", name).name == name


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
    for stated in (uris, [good, *uris]):
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
