"""Who is at the other end: a party's bundle of key and certificates, its TLS contexts, its peer's identity.

A certificate names its holder in one URI, ``syfr://<cluster id>/<role>/<name>``. Connections are mutual
TLS 1.3 between holders of certificates of one cluster's private authority, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from syfr.errors import CredentialsError

SERVERS = ("server0", "server1", "server2")
ROLES = (*SERVERS, "owner", "client")
ALPN = "syfr/1"

# A client's name is also that of its bundle's directory: no leading or trailing dot, and none of the others.
_NAME = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?")
_RESERVED = frozenset({*SERVERS, "owner", "authority", "revoked.json"})
_URI = re.compile(r"syfr://([0-9a-f]{32})/([a-z0-9]+)/([A-Za-z0-9_.-]{1,64})")


def now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Identity:
    """A role in the cluster and the name of its holder: a client's own; for any other role, the role's."""

    role: str
    name: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise CredentialsError(f"There is no role {self.role!r}. The roles are {', '.join(ROLES)}.")
        if self.role != "client" and self.name != self.role:
            raise CredentialsError(f"The {self.role} is not called {self.name!r}. Only a client has a name.")
        if self.role == "client" and (not _NAME.fullmatch(self.name) or self.name.lower() in _RESERVED):
            raise CredentialsError(
                f"A client cannot be called {self.name[:80]!r}. Use 1 to 64 letters, digits, '_', '-', '.', "
                "neither beginning with '-' or '.' nor ending with '.', and not "
                f"{', '.join(sorted(_RESERVED))}."
            )

    def __str__(self) -> str:
        return self.role if self.name == self.role else f"{self.role}/{self.name}"

    def uri(self, cluster: str) -> str:
        return f"syfr://{cluster}/{self.role}/{self.name}"


def parse_uri(uri: str) -> tuple[str, Identity]:
    """The cluster's id and the identity that a certificate's URI states."""
    found = _URI.fullmatch(uri)
    if found is None:
        raise CredentialsError(
            f"A certificate names {uri[:200]!r}, which is no syfr identity. Use a certificate made by syfr."
        )
    return found[1], Identity(found[2], found[3])


def certificate_identity(certificate: x509.Certificate) -> tuple[str, Identity]:
    """The cluster's id and the identity in a certificate, which must state exactly one."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        uris = []
    if len(uris) != 1:
        raise CredentialsError("A certificate does not state one identity. Use a certificate made by syfr.")
    return parse_uri(uris[0])


@dataclass(frozen=True)
class Bundle:
    """A party's own credentials, checked. The key stays in its file; this object never holds it."""

    directory: Path
    identity: Identity
    cluster: str
    serial: int
    not_after: datetime

    def __repr__(self) -> str:
        where = f"cluster={self.cluster[:8]}, directory={str(self.directory)!r}"
        return f"Bundle({self.identity}, {where}, key=<REDACTED>)"

    @classmethod
    def load(cls, directory: Path) -> Bundle:
        """Read and check a bundle; CredentialsError when it is incomplete, unsafe, expired or revoked."""
        bundle = cls.read(directory)
        if bundle.expires_within(timedelta(0)):
            raise CredentialsError(
                f"The certificate in {bundle.directory} expired on {bundle.not_after:%Y-%m-%d}. "
                "Ask who made it for a new one."
            )
        if bundle.is_revoked(bundle.serial):
            raise CredentialsError(
                f"The certificate in {bundle.directory} has been revoked. Ask who made it for a new one."
            )
        return bundle

    @classmethod
    def read(cls, directory: Path) -> Bundle:
        """As ``load``, but an expired or revoked bundle is read as well."""
        directory = Path(directory)
        _check_whose(directory)
        check_private(directory / "key.pem")
        certificate = read_certificate(directory / "certificate.pem")
        authority = read_certificate(directory / "authority.pem")
        key = read_key(directory / "key.pem")
        if key.public_key() != certificate.public_key():
            raise CredentialsError(
                f"The key {directory / 'key.pem'} is not the one of the certificate beside it. "
                "Copy the bundle again, all of its files."
            )
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            raise CredentialsError(
                f"The certificate {directory / 'certificate.pem'} is not of the authority beside it. "
                "Copy the bundle again, all of its files."
            ) from None
        cluster, identity = certificate_identity(certificate)
        ends = min(certificate.not_valid_after_utc, authority.not_valid_after_utc)
        return cls(directory, identity, cluster, certificate.serial_number, ends)

    def expires_within(self, span: timedelta) -> bool:
        return now() + span >= self.not_after

    def is_revoked(self, serial: int) -> bool:
        """Whether ``revoked.json`` lists the serial number; read each time, so no worker need restart."""
        return f"{serial:x}" in read_revoked(self.directory)

    def server_context(self) -> ssl.SSLContext:
        """For the side that accepts; a peer that it refuses learns so at its first read."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        # Sessions are not resumed: tickets would cost a write a connection and outlive a revocation.
        context.num_tickets = 0
        return context

    def client_context(self) -> ssl.SSLContext:
        """For the side that connects; it must then call ``expect`` with the role that it means to talk to."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        # Not ssl.create_default_context(): it trusts public authorities and writes session keys to
        # SSLKEYLOGFILE. The suite stays OpenSSL's first, AES-256-GCM: Python cannot choose one before 3.15.
        context = _BundleContext(protocol)
        context.bundle = self
        # A worker is known by the role in its certificate, wherever it runs, and one authority serves one
        # cluster: a host name would add nothing. `expect` takes the place of the check of the name.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        try:
            context.load_verify_locations(self.directory / "authority.pem")
            context.load_cert_chain(self.directory / "certificate.pem", self.directory / "key.pem")
        except OSError as error:
            raise CredentialsError(
                f"The bundle in {self.directory} can no longer be read: {error.strerror or error}. "
                "Copy or make it again."
            ) from error
        return context


class _BundleContext(ssl.SSLContext):
    """A context that remembers its bundle, so that ``identity_of`` never leaves the revocations out."""

    bundle: Bundle


def identity_of(connection: ssl.SSLObject | ssl.SSLSocket) -> Identity:
    """Who is at the other end of a connection whose handshake is done, by the certificate it showed.

    The connection must have been opened with a bundle's context. CredentialsError for a peer of another
    cluster, one that was revoked, one whose certificate is not as syfr makes them, or one that speaks another
    protocol.
    """
    context = connection.context
    if not isinstance(context, _BundleContext):
        raise CredentialsError("The connection was not opened by syfr. Open it with a bundle's context.")
    try:
        shown = connection.getpeercert(binary_form=True)
    except ValueError:
        shown = None
    if shown is None:
        raise CredentialsError("The other end showed no certificate. Connect with a bundle of this cluster.")
    certificate = x509.load_der_x509_certificate(shown)
    cluster, identity = certificate_identity(certificate)
    if cluster != context.bundle.cluster:
        raise CredentialsError(f"The other end, {identity}, is of another cluster. Use this cluster's.")
    if context.bundle.is_revoked(certificate.serial_number):
        raise CredentialsError(f"The certificate of {identity} is revoked. Ask who made it for a new one.")
    if connection.selected_alpn_protocol() != ALPN:
        raise CredentialsError(f"The other end, {identity}, does not speak {ALPN}. Use one version of syfr.")
    return identity


def expect(connection: ssl.SSLObject | ssl.SSLSocket, role: str) -> Identity:
    """The peer's identity, when it has the role; else CredentialsError, and nothing may be sent to it."""
    identity = identity_of(connection)
    if identity.role != role:
        raise CredentialsError(
            f"The other end is {identity}, not {role}. Check the addresses, and which bundle runs where."
        )
    return identity


def _check_whose(directory: Path) -> None:
    """CredentialsError when a directory holds the folders of parties rather than what is in one of them."""
    if (directory / "key.pem").exists():
        return
    inside = sorted({path.parent.name for path in directory.glob("*/certificate.pem")} - {"authority"})
    if inside:
        raise CredentialsError(
            f"{directory} holds the folders of several parties: {', '.join(inside)}. "
            f"Name one of them, like '{directory / inside[0]}'."
        )


def check_private(key: Path) -> None:
    """CredentialsError when others may read the key or replace it. Windows has no such permissions."""
    if os.name == "nt":
        return
    for path, forbidden, harm, remedy in (
        (key, 0o077, "can be read or changed by others", "chmod 600"),  # first: there is nothing to mend without a key
        (key.parent, 0o022, "can be changed by others", "chmod 700"),
    ):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise _unreadable(path, error) from error
        if mode & forbidden:
            raise CredentialsError(
                f"{path} {harm}. Say `{remedy} '{path}'`, or make new credentials if others use this machine."
            )


def read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_key(path: Path) -> EllipticCurvePrivateKey:
    # The parser's own message is left out: nothing of a key's file may reach a log.
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unreadable(path, "it holds no plain private key") from None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise _unreadable(path, "it holds a key of another kind")
    return key


def read_revoked(directory: Path) -> dict[str, str]:
    """Serial numbers (hexadecimal) and names that are revoked. A broken list is an error, never empty."""
    path = directory / "revoked.json"
    try:
        revoked = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(revoked, dict):
        raise _unreadable(path, "it holds no serial numbers")
    return revoked


def _unreadable(path: Path, reason: object) -> CredentialsError:
    if isinstance(reason, OSError):
        reason = reason.strerror
    return CredentialsError(
        f"{path} cannot be used: {reason}. Copy it from who made the credentials, or make them again."
    )
