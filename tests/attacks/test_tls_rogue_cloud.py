"""An edge says nothing to a cloud that is not its own: not its name, not its model, and no frame."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from common.config import Address
from common.tls.certificates import TlsFiles
from common.tls.contexts import cloud_context, edge_context
from common.tls.identity import Identity
from edge_daemon.uplink import Uplink
from tests.certificates import NOW, authority, files, rack
from tests.edge_daemon.fake_cloud import HELLO, FakeCloud, FakeSession, Heard, hurry
from tests.event_loop import LOOPS, run, until

Shows = Callable[[Path], TlsFiles | None]


def plain(_: Path) -> TlsFiles | None:
    """No TLS at all."""
    return None


def foreign(tmp: Path) -> TlsFiles | None:
    """A cloud's certificate for this address, of another authority."""
    return files(tmp, "rack", hosts=("127.0.0.1",), by=authority("another house"))


def expired(tmp: Path) -> TlsFiles | None:
    """The cloud's own, that ended long ago."""
    return files(tmp, "rack", hosts=("127.0.0.1",), days=10, issued=NOW - datetime.timedelta(days=100))


def elsewhere(tmp: Path) -> TlsFiles | None:
    """A cloud's certificate of ours, for another address."""
    return rack(tmp, "10.0.0.1", "server.example")


def an_edge(tmp: Path) -> TlsFiles | None:
    """The certificate of another of our edges, whose name is the cloud's address."""
    return files(tmp, "127.0.0.1")


def old(tmp: Path) -> TlsFiles | None:
    """The right certificate, but TLS 1.2."""
    return rack(tmp)


ROGUES: dict[Shows, str] = {
    plain: "it speaks no TLS 1.3 (has it CLEAVE_CLOUD_TLS?)",
    foreign: "issued by another authority than this side's ca.pem",
    expired: "certificate has expired (issue a new one)",
    elsewhere: "is not for 127.0.0.1, which CLEAVE_EDGE_CLOUD names: issue the cloud one with --host 127.0.0.1",
    an_edge: "issued for the other role",
    old: "it speaks no TLS 1.3",
}


def context(shows: Shows, tmp: Path) -> ssl.SSLContext | None:
    shown = shows(tmp)
    if shown is None:
        return None
    made = cloud_context(shown)
    if shows is old:
        made.minimum_version, made.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    return made


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("shows", ROGUES, ids=lambda shows: shows.__name__)
def test_the_edge_says_nothing_and_complains_once(
    shows: Shows, loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even Hello is heard; the log names who is to blame once, however often the edge tries."""
    hurry(monkeypatch)
    identity = Identity(files(tmp_path / "edge", "porch"), edge_context)

    async def main() -> None:
        rogue = FakeCloud()
        tries: list[FakeSession] = []

        def accept() -> asyncio.BaseProtocol:
            tries.append(FakeSession(rogue))
            return tries[-1].channel

        server = await asyncio.get_running_loop().create_server(
            accept, "127.0.0.1", 0, ssl=context(shows, tmp_path / "rogue")
        )
        address = Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        heard = Heard()
        with capture_logs() as logged:
            uplink = Uplink(address, HELLO, heard.events, identity)
            task = asyncio.create_task(uplink.run())
            await until(lambda: len(tries) >= 4)
            task.cancel()
            await asyncio.wait([task])
        assert heard.ups == 0
        assert all(session.received == [] for session in tries)
        (complaint,) = [line for line in logged if line["event"] == "no connection to the cloud"]
        assert ROGUES[shows] in complaint["reason"]
        assert uplink.last_error == complaint["reason"]
        for session in tries:
            session.channel.abort()
        server.close()
        await server.wait_closed()

    run(main(), loop)


def test_a_name_is_checked_too(tmp_path: Path) -> None:
    """The name that was asked for must be in the certificate, not only the address that it has."""
    near = edge_context(files(tmp_path / "edge", "porch"))
    server = cloud_context(rack(tmp_path / "rack", "server.example"))
    for asked, accepted in (("server.example", True), ("other.example", False)):
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = near.wrap_bio(to_client, to_server, server_hostname=asked)
        far = server.wrap_bio(to_server, to_client, server_side=True)
        assert _agree(client, far) == accepted


def _agree(client: ssl.SSLObject, far: ssl.SSLObject) -> bool:
    for _ in range(4):
        for side in (client, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return True
