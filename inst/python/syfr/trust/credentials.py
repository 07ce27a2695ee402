"""The credentials of a cluster: its private authority, one bundle a party, new clients, revocations.

A cluster's directory looks like this, every directory 0700 and every file 0600::

    authority/    certificate.pem key.pem issued.json        stays where it was made
    server0/      certificate.pem key.pem authority.pem      each party receives its own, and no other
    server1/ server2/ owner/ client/ ...                     likewise
    revoked.json                                             here and in each bundle

Use: ``store = ensure_credentials(directory, hosts)``, then ``store.bundle("server0").server_context()``.
Rotation: ``renew`` makes a party a new key and certificate of the same authority.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from syfr.directories import (
    cache_directory,
    cluster_directory,
    data_directory,
    locked,
    replace_private,
    split_address,
    write_private,
)
from syfr.errors import CredentialsError
from syfr.trust.authority import AUTHORITY_DAYS, Authority
from syfr.trust.identity import (
    ALPN,
    ROLES,
    SERVERS,
    Bundle,
    Identity,
    expect,
    identity_of,
    read_certificate,
    read_revoked,
)

__all__ = [
    "ALPN", "ROLES", "SERVERS", "Bundle", "Credentials", "Identity", "add_client", "cache_directory",
    "cluster_directory", "create_credentials", "data_directory", "ensure_credentials", "expect",
    "identity_of", "issued_certificates", "renew", "revoke",
]  # fmt: skip

# Credentials that end this soon are made anew rather than used for another session.
SOON = timedelta(hours=12)


@dataclass(frozen=True)
class Credentials:
    """The directory of a cluster's credentials."""

    directory: Path

    def bundle(self, name: str) -> Bundle:
        """The checked bundle of "server0", "server1", "server2", "owner" or a client."""
        return Bundle.load(self.directory / _party(name).name)


def create_credentials(
    directory: Path, hosts: Mapping[str, str], clients: Sequence[str] = ("client",), days: int = 365
) -> Credentials:
    """Make an authority and a bundle for each worker, the owner and each client.

    ``hosts`` maps server0, server1 and server2 to their addresses; a certificate names its worker's host for
    other tools, syfr itself goes by the role. A directory that has bundles of all these parties already
    (another session was faster) is used as it is; one that holds anything else is refused.
    """
    directory = Path(directory).expanduser().resolve()
    parties = _parties(clients)
    _check_hosts(hosts)
    _check_days(days)
    with locked(directory):
        if directory.exists() and any(directory.iterdir()):
            _read_all(directory, parties)
        else:
            _build(directory, parties, hosts, days)
    return Credentials(directory)


def ensure_credentials(
    directory: Path, hosts: Mapping[str, str], clients: Sequence[str] = ("client",), days: int = 365
) -> Credentials:
    """The credentials in ``directory``; made if there are none, and anew if they end soon or have ended.

    For clusters whose workers this user starts on this machine: credentials that were handed to others would
    be replaced under them. Anything else that is wrong with the directory is an error, and it is left alone.
    """
    directory = Path(directory).expanduser().resolve()
    parties = _parties(clients)
    # Usually all is there and no lock is needed. What looks wrong may be a change under way: so look again
    # with the lock held.
    with contextlib.suppress(CredentialsError):
        if not _ends_soon(directory, parties):
            return Credentials(directory)
    _check_hosts(hosts)
    _check_days(days)
    with locked(directory):
        if not directory.exists() or not any(directory.iterdir()) or _ends_soon(directory, parties):
            _build(directory, parties, hosts, days)
    return Credentials(directory)


def add_client(directory: Path, name: str, days: int = 365) -> Path:
    """Make a bundle for one more client, and return its directory, which is all that the client receives.

    A client whose certificate was revoked or has expired gets a new one; one that is good must be revoked.
    """
    directory = _existing(directory)
    party = Identity("client", name)
    _check_days(days)
    with locked(directory):
        authority = Authority.read(directory / "authority")
        _check_free(directory, name)
        with _fresh_directory(directory / name) as fresh:
            _issue(directory, fresh, authority, party, [], days)
            if (directory / "revoked.json").exists():
                write_private(fresh / "revoked.json", (directory / "revoked.json").read_bytes())
    return directory / name


def renew(directory: Path, name: str, days: int = 365, revoke_old: bool = False) -> Path:
    """Make a party a new key and certificate of the same authority, and return the directory of its bundle.

    Those it had stay good until they end, so that nothing stops before the new ones are in their place;
    ``revoke_old`` is for a key that may have been seen by others.
    """
    directory = _existing(directory)
    _check_days(days)
    with locked(directory):
        authority = Authority.read(directory / "authority")
        older = list(_issued_to(directory, name))
        bundle = directory / name
        with _fresh_directory(bundle) as fresh:
            _issue(directory, fresh, authority, _party(name), _host_names(bundle), days)
            for path in [directory / "revoked.json", *bundle.glob("*")]:
                if path.is_file() and not (fresh / path.name).exists():
                    write_private(fresh / path.name, path.read_bytes())
        if revoke_old:
            _revoke(directory, name, older)
    return bundle


def revoke(directory: Path, name: str) -> None:
    """Revoke all certificates made for a party; connections that are open stay so until they end.

    Written to ``revoked.json`` in the directory and in each bundle there. A party on another host goes by the
    copy in its own bundle: copy the file there.
    """
    directory = _existing(directory)
    with locked(directory):
        _revoke(directory, name, _issued_to(directory, name))


def _revoke(directory: Path, name: str, serials: Iterable[str]) -> None:
    revoked = read_revoked(directory) | dict.fromkeys(serials, name)
    content = json.dumps(revoked, indent=1).encode()
    replace_private(directory / "revoked.json", content)
    for certificate in directory.glob("*/certificate.pem"):
        if certificate.parent.name != "authority":
            replace_private(certificate.with_name("revoked.json"), content)


def issued_certificates(directory: Path) -> dict[str, dict[str, datetime]]:
    """For every party, the serial numbers of its certificates and when they end, in the order they were made."""
    issued = _read_issued(_existing(directory))
    return {
        name: {serial: datetime.fromisoformat(ends) for serial, ends in serials.items()}
        for name, serials in issued.items()
    }


def _existing(directory: Path) -> Path:
    directory = Path(directory).expanduser().resolve()
    if not (directory / "authority").is_dir():
        raise CredentialsError(
            f"There is no authority in {directory}. Name the directory in which the credentials were made."
        )
    return directory


def _check_free(directory: Path, name: str) -> None:
    for other in _read_issued(directory):
        if other != name and other.lower() == name.lower():
            raise CredentialsError(f"There is a client {other!r}. Choose a name that differs more.")
    if (directory / name).exists():
        bundle = Bundle.read(directory / name)
        if not bundle.expires_within(SOON) and not bundle.is_revoked(bundle.serial):
            raise CredentialsError(
                f"There is a good certificate in {directory / name}. Use it, or revoke it and add a new one."
            )


def _party(name: str) -> Identity:
    return Identity(name if name in ROLES else "client", name)


def _parties(clients: Sequence[str]) -> list[Identity]:
    if isinstance(clients, str):
        clients = [clients]
    if len({name.lower() for name in clients}) != len(clients):
        raise CredentialsError("Two clients have the same name, but for case. Give each a name of its own.")
    return [_party(role) for role in (*SERVERS, "owner")] + [Identity("client", name) for name in clients]


def _check_hosts(hosts: Mapping[str, str]) -> None:
    if set(hosts) != set(SERVERS):
        given = ", ".join(hosts) or "none of them"
        raise CredentialsError(f"Hosts were given for {given}. Give one for each of {', '.join(SERVERS)}.")
    for address in hosts.values():
        split_address(address)


def _check_days(days: int) -> None:
    if not 1 <= days <= AUTHORITY_DAYS:
        raise CredentialsError(f"Credentials cannot last {days} days. Choose 1 to {AUTHORITY_DAYS} days.")


def _read_all(directory: Path, parties: Sequence[Identity]) -> list[Bundle]:
    bundles = [Bundle.read(directory / party.name) for party in parties]
    found = [bundle.identity for bundle in bundles]
    if found != list(parties) or len({bundle.cluster for bundle in bundles}) > 1:
        raise CredentialsError(
            f"The bundles in {directory} are not of one cluster, or not in their places. "
            "Restore the directory, or choose another one."
        )
    return bundles


def _ends_soon(directory: Path, parties: Sequence[Identity]) -> bool:
    return any(bundle.expires_within(SOON) for bundle in _read_all(directory, parties))


def _build(directory: Path, parties: Sequence[Identity], hosts: Mapping[str, str], days: int) -> None:
    """Make everything beside ``directory`` and put it in its place. Called with the lock held."""
    with _fresh_directory(directory) as fresh:
        authority = Authority.make()
        os.mkdir(fresh / "authority", 0o700)
        authority.write(fresh / "authority")
        write_private(fresh / "authority" / "issued.json", b"{}")
        for party in parties:
            os.mkdir(fresh / party.name, 0o700)
            names = [_host_name(hosts[party.role])] if party.role in SERVERS else []
            _issue(fresh, fresh / party.name, authority, party, names, days)


@contextlib.contextmanager
def _fresh_directory(directory: Path) -> Iterator[Path]:
    """An empty private directory that takes the place of ``directory`` when the block ends well."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        yield fresh
        if directory.exists():
            with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as old:
                os.rename(directory, Path(old) / "old")
                os.rename(fresh, directory)
        else:
            os.rename(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _host_name(address: str) -> x509.GeneralName:
    host, _ = split_address(address)
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _host_names(bundle: Path) -> list[x509.GeneralName]:
    """The hosts that the certificate in a bundle names, if it is still there."""
    if not (bundle / "certificate.pem").exists():
        return []
    extensions = read_certificate(bundle / "certificate.pem").extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [name for name in names if not isinstance(name, x509.UniformResourceIdentifier)]


def _issue(
    directory: Path,
    bundle: Path,
    authority: Authority,
    party: Identity,
    hosts: Sequence[x509.GeneralName],
    days: int,
) -> None:
    """Fill the directory of a bundle, its certificate entered in the list that ``directory`` keeps."""
    pair = authority.issue(party, hosts, days)
    # Listed before it is written, so that nothing is ever handed out that could not be revoked.
    issued = _read_issued(directory)
    ends = pair.certificate.not_valid_after_utc.isoformat()
    issued.setdefault(party.name, {})[f"{pair.certificate.serial_number:x}"] = ends
    replace_private(directory / "authority" / "issued.json", json.dumps(issued, indent=1).encode())
    pair.write(bundle)
    write_private(bundle / "authority.pem", authority.certificate.public_bytes(serialization.Encoding.PEM))


def _issued_to(directory: Path, name: str) -> dict[str, str]:
    issued = _read_issued(directory)
    if name not in issued:
        raise CredentialsError(
            f"There is no certificate for {name!r} in {directory}. There are {', '.join(sorted(issued))}."
        )
    return issued[name]


def _read_issued(directory: Path) -> dict[str, dict[str, str]]:
    """For every party, the serial numbers of its certificates with when they end."""
    path = directory / "authority" / "issued.json"
    try:
        issued: dict[str, dict[str, str]] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CredentialsError(
            f"The list of certificates {path} cannot be read. Name the directory in which they were made."
        ) from error
    return issued
