"""`cleave-cloud pki`: a private authority, and the certificates that cloud and edges know each other by.

    cleave-cloud pki init                                        once; keep this directory to yourself
    cleave-cloud pki issue rack --cloud --host server --out rack-tls
    cleave-cloud pki issue edge-01 --out edge-01-tls             bring this directory to the edge
    cleave-cloud pki show edge-01-tls

The cloud then runs with CLEAVE_CLOUD_TLS=rack-tls, the edge with CLEAVE_EDGE_TLS=edge-01-tls.
"""

from __future__ import annotations

import argparse
import datetime
import math
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from cloud_daemon.authority import Authority
from common.command_line import OneLineParser, run
from common.tls.certificates import CertificateFacts, TlsFiles

DIRECTORY = Path("~/.config/cleave/pki")
AUTHORITY_DAYS = 3650.0
DAYS = 365.0
PROGRAM = "cleave-cloud pki"


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    parser = OneLineParser(PROGRAM, __doc__ or "")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(action: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(action, help=summary, description=summary)

    init = add("init", "make an authority: ca.pem and ca.key")
    _add_directory(init)
    init.add_argument("--name", default=f"Cleave authority of {socket.gethostname()}"[:64])
    init.add_argument("--days", type=_days, default=AUTHORITY_DAYS, help="how long it is valid (%(default)g)")

    issue = add(
        "issue", "issue a certificate: cert.pem, key.pem and ca.pem, for CLEAVE_EDGE_TLS or _CLOUD_TLS"
    )
    issue.add_argument("name", help="who it is for; the cloud knows an edge by this name")
    issue.add_argument("--out", type=Path, required=True, metavar="DIR")
    _add_directory(issue)
    issue.add_argument("--days", type=_days, default=DAYS, help="how long it is valid (%(default)g)")
    issue.add_argument("--cloud", action="store_true", help="for a cloud; otherwise for an edge")
    issue.add_argument(
        "--host", action="append", default=[], help="name or address that edges connect to; may be repeated"
    )
    issue.add_argument("--replace", action="store_true", help="replace the certificate that is in --out")

    show = add("show", "say whose a certificate is and how long it is valid, and check its files")
    show.add_argument("directory", type=Path, metavar="DIR")
    chosen = parser.parse_args(list(arguments))
    work = {"init": _init, "issue": _issue, "show": _show}[chosen.action]
    return run(f"{PROGRAM} {chosen.action}", lambda: work(chosen))


def _init(chosen: argparse.Namespace) -> None:
    directory = chosen.dir.expanduser()
    Authority.make(chosen.name, chosen.days, _now()).save(directory)
    print(
        f"authority made in {directory}; whoever has its ca.key can let anybody in: keep it here, and a copy offline"
    )


def _issue(chosen: argparse.Namespace) -> None:
    authority = Authority.load(chosen.dir.expanduser())
    issued = authority.issue(chosen.name, chosen.days, _now(), hosts=chosen.host, cloud=chosen.cloud)
    out = chosen.out.expanduser()
    authority.hand_out(issued, out, replace=chosen.replace)
    setting = "CLEAVE_CLOUD_TLS" if chosen.cloud else "CLEAVE_EDGE_TLS"
    print(f"{_described(issued.facts)}; {setting}={out.absolute()}")


def _show(chosen: argparse.Namespace) -> None:
    facts = TlsFiles(chosen.directory.expanduser(), "directory").check()
    print(f"{_described(facts)}, issued by {facts.issuer}")


def _described(facts: CertificateFacts) -> str:
    role = "cloud" if facts.for_cloud else "edge"
    reached = f", reached at {', '.join(facts.hosts)}" if facts.for_cloud else ""
    ends = datetime.datetime.fromtimestamp(facts.not_after, datetime.UTC)
    now = time.time()
    return f"{role} {facts.name}{reached}: {facts.state(now)}, until {ends:%Y-%m-%d}, {facts.days_left(now):.0f} days"


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir", type=Path, default=DIRECTORY, help="where the authority is (%(default)s)", metavar="DIR"
    )


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 < days <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days above 0 to 36500")
    return days


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
