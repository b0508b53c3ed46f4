"""Who may connect to this cloud: the holders of a certificate, all of them or those on a list."""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from cloud_daemon.config import CloudSettings
from common.config import Address, absolute, is_loopback
from common.errors import ConfigurationError
from common.tls.certificates import CertificateFacts, TlsFiles
from common.tls.contexts import cloud_context
from common.tls.identity import Identity, describe

log = structlog.get_logger()


class Access:
    """The cloud's own certificate (none: no TLS) and the names of the edges it lets in (none: all)."""

    def __init__(self, identity: Identity | None = None, allow: str = "") -> None:
        """Raises `ConfigurationError` for a list that cannot be read."""
        self.identity = identity
        self._allow = allow
        self.allowed = read_allow_list(allow)

    @classmethod
    def of(cls, settings: CloudSettings) -> Access:
        """Read what the settings name. Raises `ConfigurationError` for what cannot be used."""
        if settings.tls is None:
            check_unprotected(settings.listen, insecure=settings.insecure, allow=settings.allow)
            return cls()
        identity = Identity(TlsFiles(settings.tls, "CLEAVE_CLOUD_TLS"), cloud_context, check_role)
        facts, now = identity.facts, time.time()
        if facts.state(now) == "expired":
            raise ConfigurationError(
                f"CLEAVE_CLOUD_TLS={settings.tls}: the certificate ended {-facts.days_left(now):.0f} days ago, no "
                "edge would connect; issue a new one with `cleave-cloud pki issue … --replace`"
            )
        return cls(identity, settings.allow)

    def reload(self) -> None:
        """Read certificates and list again; what cannot be read stays as it was, and is logged."""
        if self.identity is not None:
            self.identity.reload()
        try:
            self.allowed = read_allow_list(self._allow)
        except ConfigurationError as error:
            log.error("list of edges not read again, the one from before stays in force", reason=str(error))

    @property
    def description(self) -> str:
        """How the channel is protected, in a few words."""
        if self.identity is None:
            return describe(None)
        who = (
            "any edge with our certificate" if self.allowed is None else f"{len(self.allowed)} edges by name"
        )
        return f"{describe(self.identity)}, for {who}"


def check_role(facts: CertificateFacts) -> None:
    """Raise `ConfigurationError` when a certificate is none of a cloud."""
    if not facts.for_cloud:
        raise ConfigurationError(
            f"CLEAVE_CLOUD_TLS: this is the certificate of the edge {facts.name}; a cloud's is issued with --cloud"
        )


def check_unprotected(listen: Address, *, insecure: bool, allow: str) -> None:
    """Raise `ConfigurationError` when a cloud without TLS would be open to others, or has a list it cannot check."""
    if allow:
        raise ConfigurationError(
            "CLEAVE_CLOUD_ALLOW needs CLEAVE_CLOUD_TLS: without certificates anybody can use any name"
        )
    if not insecure and not is_loopback(listen.host):
        raise ConfigurationError(
            f"CLEAVE_CLOUD_LISTEN={listen} without CLEAVE_CLOUD_TLS: everybody who can reach this address could use "
            "this cloud and read the frames. Either make certificates (`cleave-cloud pki init`, then `cleave-cloud "
            "pki issue NAME --cloud --host ADDRESS --out DIR`) and set CLEAVE_CLOUD_TLS=DIR, or listen on "
            "127.0.0.1, or, on a network that you trust as a whole, set CLEAVE_CLOUD_INSECURE=1"
        )


def read_allow_list(allow: str) -> frozenset[str] | None:
    """Read the names that are let in: separated by commas, or `@FILE` with one a line (`#` begins a comment).

    None without a list: all are. Raises `ConfigurationError` for a file that cannot be read.
    """
    if not allow.strip():
        return None
    names = allow.split(",")
    if allow.startswith("@"):
        try:
            lines = absolute(Path(allow[1:])).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"CLEAVE_CLOUD_ALLOW={allow}: it is no text") from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError(f"CLEAVE_CLOUD_ALLOW={allow}: {reason}") from error
        names = [line.partition("#")[0] for line in lines]
    return frozenset(filter(None, (name.strip() for name in names)))
