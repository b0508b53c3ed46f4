"""A machine's certificate, its key and its authority: three files in one directory, and what they say."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from common.errors import ConfigurationError

CERTIFICATE, KEY, AUTHORITY = "cert.pem", "key.pem", "ca.pem"
"""The files of a directory that `cleave-cloud pki issue --out` makes, and that CLEAVE_…_TLS takes."""
WARN_DAYS = 30
"""A certificate that ends within so many days is warned of."""
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What a certificate says. Times are seconds since 1970.

    `name` is the subject's common name: under TLS it is who the machine is. `hosts` are the names and
    addresses it may be connected to by.
    """

    name: str
    hosts: tuple[str, ...]
    issuer: str
    not_before: float
    not_after: float
    for_cloud: bool
    for_edge: bool

    def days_left(self, now: float) -> float:
        """Return the days until it ends; negative when it has."""
        return (self.not_after - now) / DAY_S

    def state(self, now: float) -> str:
        """Say in one word where in its life it is: `early`, `valid`, `ending` (in 30 days at most), `expired`."""
        if now < self.not_before:
            return "early"
        if now >= self.not_after:
            return "expired"
        return "ending" if self.days_left(now) <= WARN_DAYS else "valid"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A directory with `cert.pem`, `key.pem` and `ca.pem`. `setting` is the variable that names it."""

    directory: Path
    setting: str

    @property
    def certificate(self) -> Path:
        return self.directory / CERTIFICATE

    @property
    def key(self) -> Path:
        return self.directory / KEY

    @property
    def authority(self) -> Path:
        return self.directory / AUTHORITY

    def check(self) -> CertificateFacts:
        """Read the files and return what the certificate says.

        Raises `ConfigurationError` for files that are missing or unreadable, a key that anybody may read,
        that is encrypted or belongs to another certificate, and a certificate of another authority.
        """
        certificate = self._certificate(self.certificate)
        authority = self._certificate(self.authority)
        self._check_key(certificate)
        try:
            certificate.verify_directly_issued_by(authority)
        except Exception as error:  # ValueError, TypeError, InvalidSignature: all say that it is not
            raise self._wrong(
                self.certificate, f"was not issued by {AUTHORITY} ({_common_name(authority.subject)})"
            ) from error
        return facts_of(certificate)

    def _certificate(self, path: Path) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self._read(path))
        except ValueError as error:
            raise self._wrong(path, "is no certificate in PEM form") from error

    def _check_key(self, certificate: x509.Certificate) -> None:
        mode = stat.S_IMODE(self._stat(self.key).st_mode)
        if mode & stat.S_IRWXO:
            raise self._wrong(self.key, f"may be read by anybody (mode {mode:04o}): chmod 600 {self.key}")
        try:
            key = load_pem_private_key(self._read(self.key), password=None)
        except TypeError as error:
            raise self._wrong(self.key, "is encrypted: a daemon cannot ask for its password") from error
        except ValueError as error:
            raise self._wrong(self.key, "is no private key in PEM form") from error
        if key.public_key() != certificate.public_key():
            raise self._wrong(self.key, f"is not the key of {CERTIFICATE}: take both from the same issue")

    def _stat(self, path: Path) -> os.stat_result:
        try:
            return path.stat()
        except OSError as error:
            raise self._wrong(path, _reason(error)) from error

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._wrong(path, _reason(error)) from error

    def _wrong(self, path: Path, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.setting}={self.directory}: {path.name} {what} "
            f"(the directory must hold {CERTIFICATE}, {KEY} and {AUTHORITY}, as `cleave-cloud pki issue` makes it)"
        )


def facts_of(certificate: x509.Certificate) -> CertificateFacts:
    """Return what a certificate says."""
    try:
        names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        assert isinstance(names, x509.SubjectAlternativeName)
        hosts = (
            *names.get_values_for_type(x509.DNSName),
            *map(str, names.get_values_for_type(x509.IPAddress)),
        )
    except x509.ExtensionNotFound:
        hosts = ()
    try:
        usage = certificate.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE).value
        assert isinstance(usage, x509.ExtendedKeyUsage)
        for_cloud, for_edge = (
            ExtendedKeyUsageOID.SERVER_AUTH in usage,
            ExtendedKeyUsageOID.CLIENT_AUTH in usage,
        )
    except x509.ExtensionNotFound:
        for_cloud = for_edge = True
    return CertificateFacts(
        name=_common_name(certificate.subject),
        hosts=hosts,
        issuer=_common_name(certificate.issuer),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        for_cloud=for_cloud,
        for_edge=for_edge,
    )


def name_in(told: Mapping[str, Any] | None) -> str | None:
    """Return the common name in a certificate as `ssl.SSLSocket.getpeercert` tells it; none if there is none."""
    for part in (told or {}).get("subject", ()):
        for field, value in part:
            if field == "commonName":
                return str(value)
    return None


def _common_name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if values else ""


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing"
    return f"cannot be read: {error.strerror}"
