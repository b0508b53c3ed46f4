"""Who this edge is to the cloud: under TLS its certificate says, otherwise itself."""

from __future__ import annotations

import socket

from common.errors import ConfigurationError
from common.tls.certificates import CertificateFacts, TlsFiles
from common.tls.contexts import edge_context
from common.tls.identity import Identity
from edge_daemon.config import EdgeSettings


def identity_of(settings: EdgeSettings) -> Identity | None:
    """Read the edge's certificate; none without TLS.

    Raises `ConfigurationError` for files that cannot be used, and for a name that is another one's. A certificate
    that has ended is none of these: the edge goes on alone, and the log and the status say why.
    """
    if settings.tls is None:
        return None
    return Identity(
        TlsFiles(settings.tls, "CLEAVE_EDGE_TLS"), edge_context, lambda facts: check_identity(facts, settings)
    )


def check_identity(facts: CertificateFacts, settings: EdgeSettings) -> None:
    """Raise `ConfigurationError` when a certificate is none of an edge, or of another edge than the settings name."""
    if not facts.for_edge:
        raise ConfigurationError(
            f"CLEAVE_EDGE_TLS={settings.tls}: this is the certificate of the cloud {facts.name}; an edge's is "
            "issued without --cloud"
        )
    if settings.name and settings.name != facts.name:
        raise ConfigurationError(
            f"CLEAVE_EDGE_NAME={settings.name}: the certificate in CLEAVE_EDGE_TLS is {facts.name}'s; leave the "
            "name out, or have a certificate issued to it"
        )


def own_name(settings: EdgeSettings, identity: Identity | None) -> str:
    """Return the name that the edge greets with."""
    return identity.facts.name if identity is not None else settings.name or socket.gethostname()
