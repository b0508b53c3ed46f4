"""Certificates for tests: an authority, a cloud on loopback, edges, and what attackers bring."""

from __future__ import annotations

import datetime
import shutil
import ssl
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from cloud_daemon.authority import Authority
from common.tls.certificates import TlsFiles
from common.tls.contexts import cloud_context, edge_context

NOW = datetime.datetime.now(datetime.UTC)
DAYS = 90.0


@cache
def authority(name: str = "our house") -> Authority:
    """An authority; another name is another authority."""
    return Authority.make(name, 3650, NOW - datetime.timedelta(days=1000))


def files(
    directory: Path,
    name: str,
    *,
    hosts: tuple[str, ...] = (),
    days: float = DAYS,
    issued: datetime.datetime = NOW,
    by: Authority | None = None,
    setting: str = "CLEAVE_EDGE_TLS",
) -> TlsFiles:
    """Have a certificate made in `directory`, a cloud's if it has hosts, and trusted is always our authority."""
    maker = by or authority()
    one = maker.issue(name, days, issued, hosts=hosts, cloud=bool(hosts))
    maker.hand_out(one, directory, replace=True)
    (directory / "ca.pem").write_bytes(authority().own.certificate_pem)
    return TlsFiles(directory, setting)


def rack(directory: Path, *hosts: str) -> TlsFiles:
    """The cloud's own files; without hosts it is reached by 127.0.0.1 and localhost."""
    return files(directory, "rack", hosts=hosts or ("127.0.0.1", "localhost"), setting="CLEAVE_CLOUD_TLS")


@cache
def contexts(edge: str = "porch") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A cloud's context, and that of an edge it lets in."""
    directory = Path(mkdtemp())
    try:
        return cloud_context(rack(directory / "rack")), edge_context(files(directory / "edge", edge))
    finally:
        shutil.rmtree(directory)
