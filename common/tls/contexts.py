"""TLS as both sides speak it: 1.3 only, both with a certificate, of the private authority only."""

from __future__ import annotations

import ssl

from common.errors import ConfigurationError
from common.tls.certificates import TlsFiles


def cloud_context(files: TlsFiles) -> ssl.SSLContext:
    """Make the context the cloud listens with: no edge gets in without a certificate of the authority.

    Raises `ConfigurationError` for files that cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.num_tickets = 0  # each connection proves who it is, by the authority of now
    return context


def edge_context(files: TlsFiles) -> ssl.SSLContext:
    """Make the context an edge connects with: the cloud must be of the authority, and be the host that was asked for.

    Raises `ConfigurationError` for files that cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    context.check_hostname = True
    context.hostname_checks_common_name = False
    return context


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(files.authority)
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"{files.setting}={files.directory}: {error}") from error
    return context


def _no_password() -> str:
    raise ConfigurationError("the key is encrypted: a daemon cannot ask for its password")
