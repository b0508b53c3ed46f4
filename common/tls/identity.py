"""This machine's certificate in force: read at the start, again on a signal, and watched for its end."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

import structlog

from common.errors import ConfigurationError
from common.tls.certificates import DAY_S, CertificateFacts, TlsFiles

log = structlog.get_logger()

LOOK_AGAIN_S = DAY_S


class Identity:
    """Holds the TLS context for new connections, and what its certificate says."""

    def __init__(
        self,
        files: TlsFiles,
        make_context: Callable[[TlsFiles], ssl.SSLContext],
        check: Callable[[CertificateFacts], None] | None = None,
    ) -> None:
        """Read the files. `check` raises `ConfigurationError` for a certificate that is not this machine's.

        Raises `ConfigurationError` when the files cannot be used.
        """
        self.files = files
        self._make_context = make_context
        self._check = check
        self.facts, self.context = self._read()

    def _read(self) -> tuple[CertificateFacts, ssl.SSLContext]:
        facts = self.files.check()
        if self._check is not None:
            self._check(facts)
        return facts, self._make_context(self.files)

    def reload(self) -> None:
        """Read the files again: new connections use what they hold now. Files that cannot be used are logged."""
        try:
            facts, context = self._read()
            if facts.name != self.facts.name:
                raise ConfigurationError(
                    f"{self.files.setting}={self.files.directory}: the certificate is {facts.name}'s now, and was "
                    f"{self.facts.name}'s; to become another one takes a restart"
                )
            if reason := why_worse(facts, self.facts, time.time()):
                raise ConfigurationError(f"{self.files.setting}={self.files.directory}: {reason}")
        except ConfigurationError as error:
            log.error("certificates not read again, those from before stay in force", reason=str(error))
            return
        self.facts, self.context = facts, context
        log.info("certificates read again", **told(self.facts, time.time()))
        warn_of_end(self.facts, time.time())

    async def watch(self) -> None:
        """Warn of the certificate's end, now and every day, until cancelled."""
        while True:
            warn_of_end(self.facts, time.time())
            await asyncio.sleep(LOOK_AGAIN_S)


def why_worse(read: CertificateFacts, present: CertificateFacts, now: float) -> str | None:
    """Say why the certificate that was read must not replace the present one: nobody takes it, and that is good."""
    if present.state(now) not in ("valid", "ending"):
        return None
    match read.state(now):
        case "expired":
            return (
                f"the certificate ended {-read.days_left(now):.1f} days ago, and the one in force is good for "
                f"{present.days_left(now):.1f} more: issue a new one, and reload"
            )
        case "early":
            return (
                f"the certificate begins in {(read.not_before - now) / DAY_S:.1f} days, and the one in force is good "
                f"for {present.days_left(now):.1f} more: is this machine's clock right?"
            )
    return None


def warn_of_end(facts: CertificateFacts, now: float) -> None:
    """Log that a certificate ends soon, has ended or has not begun; nothing while all is well."""
    match facts.state(now):
        case "ending":
            log.warning("certificate ends soon, issue a new one", **told(facts, now))
        case "expired":
            log.error("certificate has ended, nobody accepts it: issue a new one", **told(facts, now))
        case "early":
            log.error("certificate is not valid yet: is this machine's clock right?", **told(facts, now))


def told(facts: CertificateFacts, now: float) -> dict[str, Any]:
    """Return what logs and the status say of a certificate."""
    return {"certificate": facts.name, "days_left": round(facts.days_left(now), 1)}


def describe(identity: Identity | None) -> str:
    """Say in a few words how the channel of the machine with this identity is protected."""
    if identity is None:
        return "INSECURE: neither encrypted nor authenticated"
    return f"TLS 1.3 as {identity.facts.name}"


def tls_status(identity: Identity | None, now: float) -> dict[str, Any] | None:
    """Return what the status says of the channel's protection; none: there is none."""
    if identity is None:
        return None
    facts = identity.facts
    return {
        "as": facts.name,
        "certificate": facts.state(now),
        "days_left": round(facts.days_left(now), 1),
        "issuer": facts.issuer,
    }
