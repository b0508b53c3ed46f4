"""A private certificate authority: the one whose signature lets an edge in, and tells an edge its cloud.

Certificates say what their holder is for (extended key usage), so that no edge can pose as the cloud.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import ConfigurationError
from common.tls.certificates import AUTHORITY, CERTIFICATE, KEY, CertificateFacts, facts_of

AUTHORITY_KEY = "ca.key"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names of machines: they go into logs, allow-lists and file names. X.509 allows 64 characters."""
HOST = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
)
EARLIER = datetime.timedelta(days=1)
"""Certificates begin so long ago: clocks of small devices are wrong."""

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def facts(self) -> CertificateFacts:
        return facts_of(self.certificate)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True, slots=True)
class Authority:
    """The private authority: its own certificate, and the key that signs."""

    own: Issued

    @classmethod
    def make(cls, name: str, days: float, now: datetime.datetime) -> Authority:
        """Make a new authority, valid for `days` from `now` (with a time zone)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name)
        certificate = (
            _builder(subject, subject, key, days, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(Issued(certificate, key))

    def issue(
        self,
        name: str,
        days: float,
        now: datetime.datetime,
        *,
        hosts: Sequence[str] = (),
        cloud: bool = False,
    ) -> Issued:
        """Issue a certificate to the edge or cloud called `name`; a cloud's tells the `hosts` it is reached by.

        Raises `ConfigurationError` for a name or host that cannot be in one, and for days beyond the authority's.
        """
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} cannot be a name: letters, digits, '.', '_' and '-', 63 at most, a letter or digit first"
            )
        if cloud and not hosts:
            raise ConfigurationError(
                "a cloud's certificate needs the name or address its edges connect to: --host"
            )
        if hosts and not cloud:
            raise ConfigurationError(
                "--host is for a cloud's certificate (--cloud): nobody connects to an edge"
            )
        ends = self.own.certificate.not_valid_after_utc
        if now + datetime.timedelta(days=days) > ends:
            raise ConfigurationError(
                f"{days:g} days are more than the authority itself has left: it ends on {ends:%Y-%m-%d}"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if cloud else ExtendedKeyUsageOID.CLIENT_AUTH
        signer = self.own.key.public_key()
        certificate = (
            _builder(_subject(name), self.own.certificate.subject, key, days, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_host(h) for h in hosts or (name,)]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
            .sign(self.own.key, hashes.SHA256())
        )
        return Issued(certificate, key)

    # --- files ------------------------------------------------------------------------------------------
    def save(self, directory: Path) -> None:
        """Write `ca.pem` and `ca.key`. Raises `ConfigurationError` when there is an authority already."""
        _make(directory)
        _refuse_existing([directory / AUTHORITY_KEY, directory / AUTHORITY])
        write_private(directory / AUTHORITY_KEY, self.own.key_pem)
        write_public(directory / AUTHORITY, self.own.certificate_pem)

    @classmethod
    def load(cls, directory: Path) -> Authority:
        """Read an authority. Raises `ConfigurationError` when there is none, or only half of one."""
        try:
            certificate = x509.load_pem_x509_certificate((directory / AUTHORITY).read_bytes())
            key = serialization.load_pem_private_key((directory / AUTHORITY_KEY).read_bytes(), password=None)
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"{error.filename}: no such file; `cleave-cloud pki init` makes the authority, --dir says where it is"
            ) from error
        except OSError as error:
            raise ConfigurationError(f"{error.filename}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"{directory}: {AUTHORITY} or {AUTHORITY_KEY} is damaged ({error})"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ConfigurationError(f"{directory}: {AUTHORITY_KEY} is not the key of {AUTHORITY}")
        return cls(Issued(certificate, key))

    def hand_out(self, issued: Issued, directory: Path, *, replace: bool = False) -> None:
        """Write what a machine needs: `cert.pem`, `key.pem`, `ca.pem`.

        Raises `ConfigurationError` when one of them is there already, unless `replace`.
        """
        _make(directory)
        files = [directory / name for name in (KEY, CERTIFICATE, AUTHORITY)]
        if not replace:
            _refuse_existing(files)
        write_private(files[0], issued.key_pem, replace=replace)
        write_public(files[1], issued.certificate_pem, replace=replace)
        write_public(files[2], self.own.certificate_pem, replace=replace)


def write_private(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write a file that only its owner may read, from its first moment. Raises `ConfigurationError`."""
    _write(path, content, 0o600, replace)


def write_public(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write a file that anybody may read. Raises `ConfigurationError`."""
    _write(path, content, 0o644, replace)


def _write(path: Path, content: bytes, mode: int, replace: bool) -> None:
    target = path.with_name(f".{path.name}.new") if replace else path
    try:
        if replace:
            target.unlink(missing_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(target, path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{directory}: {error.strerror}") from error


def _refuse_existing(files: Sequence[Path]) -> None:
    for path in files:
        if path.exists():
            raise ConfigurationError(f"{path} is there already, and is not overwritten")


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        if not HOST.fullmatch(host):
            raise ConfigurationError(
                f"{host!r} is neither a host's name nor an address (without port)"
            ) from None
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, days: float, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
