"""The machine's certificate: is it whole, whose is it, is it valid now?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.doctor.finding import Finding, fail, ok, warn
from common.errors import ConfigurationError
from common.tls.certificates import CertificateFacts, TlsFiles

CURES = (
    ("is missing", "bring cert.pem, key.pem and ca.pem there, as `cleave-cloud pki issue` has made them"),
    ("may be read by anybody", "chmod 600 {directory}/key.pem"),
    (
        "cannot be read",
        "chown and chmod 600 the files, so that the daemon (or root, for the unit) may read them",
    ),
    ("is not the key of", "take cert.pem and key.pem from the same `cleave-cloud pki issue`"),
    ("was not issued by", "take all three files from the same authority, the one of the other side"),
    ("is encrypted", "issue a new one with `cleave-cloud pki issue … --replace`"),
    (
        "in PEM form",
        "the file is damaged: bring it again, or issue a new one with `cleave-cloud pki issue … --replace`",
    ),
    ("issued with --cloud", "issue one for the right role: a cloud's with --cloud"),
    ("issued without --cloud", "issue one for the right role: an edge's without --cloud"),
    ("leave the name out", "take CLEAVE_EDGE_NAME out of the settings"),
)
"""What mends what `TlsFiles.check` and the daemons' own checks say, by a part of it."""


@dataclass(frozen=True, slots=True)
class TlsSeen:
    """What came of reading a directory of certificates: what it says, or what is wrong with it."""

    setting: str
    directory: Path
    facts: CertificateFacts | None
    problem: str = ""


def look_at_certificates(setting: str, directory: Path, check: Callable[[CertificateFacts], None]) -> TlsSeen:
    """Read the files, and have `check` say whether they are this machine's (it raises `ConfigurationError`)."""
    try:
        facts = TlsFiles(directory, setting).check()
        check(facts)
    except ConfigurationError as error:
        return TlsSeen(setting, directory, None, str(error))
    return TlsSeen(setting, directory, facts)


def check_certificates(seen: TlsSeen, now: float) -> Finding:
    """Judge a certificate at the time `now`."""
    if seen.facts is None:
        cures = [cure for part, cure in CURES if part in seen.problem]
        cure = cures[0] if cures else "issue a new one with `cleave-cloud pki issue … --replace`"
        return fail("certificate", seen.problem, cure.format(directory=seen.directory))
    facts = seen.facts
    days = facts.days_left(now)
    ends = datetime.fromtimestamp(facts.not_after, UTC).strftime("%Y-%m-%d")
    renew = (
        f"on the authority's machine: cleave-cloud pki issue {facts.name} … --replace; bring the files to "
        f"{seen.directory}; systemctl reload"
    )
    match facts.state(now):
        case "expired":
            return fail("certificate", f"{facts.name}'s has ended {-days:.0f} days ago ({ends})", renew)
        case "early":
            begins = datetime.fromtimestamp(facts.not_before, UTC).strftime("%Y-%m-%d")
            return fail(
                "certificate",
                f"{facts.name}'s is valid from {begins} on, and this machine's clock says "
                f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}",
                "set the clock: timedatectl set-ntp true",
            )
        case "ending":
            return warn("certificate", f"{facts.name}'s ends in {days:.0f} days ({ends})", renew)
    return ok("certificate", f"{facts.name}, issued by {facts.issuer}, until {ends} ({days:.0f} days)")
