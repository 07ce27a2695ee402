"""Credentials on disk: private, whole, made once, renewed and revoked."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from handshakes import HOSTS, PARTIES, shift_clock
from syfr.errors import CredentialsError, InputTypeError
from syfr.trust.authority import Authority
from syfr.trust.credentials import (
    Bundle,
    Identity,
    add_client,
    create_credentials,
    ensure_credentials,
    revoke,
)
from syfr.trust.identity import now

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster's credentials; tests that change them take a copy."""
    return create_credentials(tmp_path_factory.mktemp("made") / "cluster", HOSTS).directory


@pytest.fixture
def cluster(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "cluster"))


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
    monkeypatch.setattr("syfr.trust.authority.secrets.token_hex", lambda size: cluster_id)
    (cluster / "other").mkdir()
    Authority.make().write(cluster / "other")
    shutil.copy(cluster / "other" / "certificate.pem", cluster / "client" / "authority.pem")
    with pytest.raises(CredentialsError, match="not of the authority"):
        Bundle.load(cluster / "client")


def test_a_folder_without_a_key_is_not_blamed_for_others(cluster: Path) -> None:
    with pytest.raises(CredentialsError, match=r"of several parties: client, owner, .*Name one of them.*client'"):
        Bundle.load(cluster)
    (cluster / "empty").mkdir()
    (cluster / "empty").chmod(0o777)
    with pytest.raises(CredentialsError, match=r"key\.pem cannot be used: No such file"):
        Bundle.load(cluster / "empty")


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

    monkeypatch.setattr("syfr.trust.credentials.write_private", full)
    with pytest.raises(CredentialsError, match="No space left"):
        create_credentials(tmp_path / "c", HOSTS)
    assert [path.name for path in tmp_path.iterdir()] == [".c.lock"]


RACER = """
import sys
from pathlib import Path
from typing import IO
from syfr.trust.credentials import ensure_credentials
hosts = dict(zip(("server0", "server1", "server2"), ("localhost:1", "localhost:2", "localhost:3")))
print("ready", flush=True)
sys.stdin.readline()
for number in range(8):
    store = ensure_credentials(Path(sys.argv[1]) / str(number), hosts)
    print([store.bundle(name).serial for name in ("server0", "server1", "server2", "owner", "client")])
"""


def test_processes_that_start_at_once_use_the_same_credentials(
    tmp_path: Path, child_env: dict[str, str]
) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_env,
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


def test_a_copied_list_of_revocations_is_enough_on_another_host(cluster: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(cluster / "server0", tmp_path / "elsewhere"))
    server = Bundle.load(elsewhere)
    serial = Bundle.load(cluster / "client").serial
    revoke(cluster, "client")
    assert not server.is_revoked(serial)
    shutil.copy(cluster / "revoked.json", elsewhere)
    assert server.is_revoked(serial)
    assert list(json.loads((elsewhere / "revoked.json").read_text()).values()) == ["client"]
