"""A cluster's private authority: the X.509 certificates that it makes for itself and for the parties.

ECDSA on P-256. The extensions are those that strict verification (RFC 5280) asks for.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from syfr.directories import write_private
from syfr.trust.identity import SERVERS, Identity, check_private, now, read_certificate, read_key

AUTHORITY_DAYS = 3650
# Clocks differ: what is made now is valid from yesterday on.
BACKDATED = timedelta(days=1)
_SUBJECT = "syfr cluster "


@dataclass(frozen=True, repr=False)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.certificate.subject.rfc4514_string()}, key=<REDACTED>)"

    def write(self, directory: Path) -> None:
        pem = serialization.Encoding.PEM
        plain = self.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        write_private(directory / "key.pem", plain)
        write_private(directory / "certificate.pem", self.certificate.public_bytes(pem))


class Authority(Pair):
    """The pair that signs the certificates of one cluster."""

    @property
    def cluster(self) -> str:
        """The cluster's id, 32 hexadecimal digits."""
        names = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value).removeprefix(_SUBJECT)

    @classmethod
    def make(cls) -> Authority:
        """A new cluster's authority, which outlives the parties' certificates so that it can make more."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(_SUBJECT + secrets.token_hex(16))
        certificate = (
            _builder(name, name, key.public_key(), key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def read(cls, directory: Path) -> Authority:
        check_private(directory / "key.pem")
        return cls(read_certificate(directory / "certificate.pem"), read_key(directory / "key.pem"))

    def issue(self, party: Identity, hosts: Sequence[x509.GeneralName], days: int) -> Pair:
        """A new key and certificate for a party."""
        # Workers connect to each other and so play both sides of TLS; nobody else can pass for a worker.
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if party.role in SERVERS:
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
        uri = x509.UniformResourceIdentifier(party.uri(self.cluster))
        key = ec.generate_private_key(ec.SECP256R1())
        # A common name has at most 64 characters; it is for people, the identity is the URI.
        subject = _name(str(party)[:64])
        certificate = (
            _builder(subject, self.certificate.subject, key.public_key(), self.key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName([uri, *hosts]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Pair(certificate, key)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    days: int,
) -> x509.CertificateBuilder:
    start = now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - BACKDATED)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
