"""Whoever has no valid certificate of ours never gets a byte: no model, no profile, no plan, not even a refusal."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cloud_daemon.authority import Authority
from tests.attacks.attacker import attack, guarded_cloud, loose_context, requests
from tests.certificates import NOW, authority, files, rack
from tests.cloud_daemon.edge import hello
from tests.event_loop import LOOPS, run

Brings = Callable[[Path], ssl.SSLContext | None]


def ago(days: float) -> datetime.datetime:
    return NOW - datetime.timedelta(days=days)


def nothing(_: Path) -> ssl.SSLContext | None:
    """TLS 1.3, no certificate."""
    return loose_context()


def no_tls(_: Path) -> ssl.SSLContext | None:
    """Plain TCP."""
    return None


def expired(tmp: Path) -> ssl.SSLContext | None:
    """A certificate of ours that ended 90 days ago."""
    return loose_context(files(tmp, "porch", days=10, issued=ago(100)))


def too_early(tmp: Path) -> ssl.SSLContext | None:
    """A certificate of ours that begins in ten days."""
    return loose_context(files(tmp, "porch", days=10, issued=ago(-11)))


def foreign(tmp: Path) -> ssl.SSLContext | None:
    """A certificate of another authority."""
    return loose_context(files(tmp, "porch", by=authority("another house")))


def namesake(tmp: Path) -> ssl.SSLContext | None:
    """A certificate of another authority that calls itself as ours does."""
    return loose_context(files(tmp, "porch", by=Authority.make("our house", 100, NOW)))


def the_clouds(tmp: Path) -> ssl.SSLContext | None:
    """A certificate of ours that was issued to a cloud."""
    return loose_context(rack(tmp))


def downgraded(tmp: Path) -> ssl.SSLContext | None:
    """A valid certificate, but TLS 1.2."""
    context = loose_context(files(tmp, "porch"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


ATTACKS: dict[Brings, str] = {
    nothing: "it showed no certificate",
    no_tls: "it does not speak TLS",
    expired: "certificate has expired",
    too_early: "certificate is not yet valid",
    foreign: "issued by another authority",
    namesake: "issued by another authority",
    the_clouds: "issued for the other role",
    downgraded: "it offered no TLS 1.3",
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("brings", ATTACKS, ids=lambda brings: brings.__name__)
def test_it_gets_nothing(brings: Brings, loop: str, tmp_path: Path) -> None:
    """Not a byte of the application, and the log says whose fault it was."""

    async def main() -> None:
        async with guarded_cloud(tmp_path) as rack_:
            with capture_logs() as logged:
                spoils = await attack(rack_.address, brings(tmp_path / "attacker"))
            assert spoils.heard == b""
            (entry,) = [line for line in logged if line["event"] == "connection closed before its greeting"]
            assert ATTACKS[brings] in entry["reason"]
            assert entry["address"] == "127.0.0.1"
            assert not rack_.server._greeting
            assert not rack_.server.sessions

    run(main(), loop)


def test_with_a_valid_certificate_the_same_requests_get_answers(tmp_path: Path) -> None:
    """So that the attacks above fail for what they lack, and not for what they say."""

    async def main() -> None:
        async with guarded_cloud(tmp_path) as rack_:
            spoils = await attack(rack_.address, loose_context(files(tmp_path / "edge", "porch")))
            assert len(spoils.heard) > 300

    run(main())


def test_no_session_can_be_resumed(tmp_path: Path) -> None:
    """A ticket would let in who has one after the authority has changed: none is given."""
    context = loose_context(files(tmp_path / "edge", "porch"))

    def tickets(host: str, port: int) -> bool:
        with (
            socket.create_connection((host, port), 10) as line,
            context.wrap_socket(line, server_hostname=host) as tls,
        ):
            tls.sendall(requests(hello()))
            assert tls.recv(1)  # tickets come before the first answer
            return tls.session is not None and tls.session.has_ticket

    async def main() -> None:
        async with guarded_cloud(tmp_path) as rack_:
            assert not await asyncio.to_thread(tickets, rack_.address.host, rack_.address.port)

    run(main())
