"""Facts about the edge's line under TLS. What it does with clouds that are not its own: tests/attacks."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cloud_daemon.access import Access
from common import limits
from common.config import Address
from common.tls.contexts import cloud_context, edge_context
from common.tls.identity import Identity
from edge_daemon.uplink import Uplink
from tests.certificates import files, rack
from tests.cloud_daemon.edge import cloud, hello
from tests.edge_daemon.fake_cloud import Heard, hurry
from tests.event_loop import LOOPS, run, until


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.mark.parametrize("loop", LOOPS)
def test_connected_means_welcome(loop: str, tmp_path: Path) -> None:
    """Not the handshake: an edge that is not on the list has one, and is never up; once it is listed, it is."""
    identity = Identity(files(tmp_path / "edge", "porch"), edge_context)
    allowed = tmp_path / "allowed"
    allowed.write_text("attic\n")
    access = Access(Identity(rack(tmp_path / "rack"), cloud_context), f"@{allowed}")

    async def main() -> None:
        async with cloud(tmp_path / "state", access=access) as running:
            heard = Heard()
            with capture_logs() as logged:
                uplink = Uplink(running.address, hello(edge="porch"), heard.events, identity)
                task = asyncio.create_task(uplink.run())
                await until(lambda: sum(line["event"] == "edge refused" for line in logged) >= 3)
                assert (heard.ups, uplink.available) == (0, False)
                assert uplink.last_error == "porch is not on this cloud's list of edges"
                allowed.write_text("porch\n")
                running.server.reload()
                await until(lambda: heard.ups == 1)
            complaints = [line for line in logged if line["event"] == "no connection to the cloud"]
            assert len(complaints) == 1, "once, and not at every try"
            (connected,) = [line for line in logged if line["event"] == "cloud connected"]
            assert connected["channel"] == "TLS 1.3 as porch"
            task.cancel()
            await asyncio.wait([task])
            await until(lambda: not running.server.sessions)

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_renewed_certificate_is_used_at_the_next_connection(loop: str, tmp_path: Path) -> None:
    """The running one goes on under the old one; what the cloud then sees is the new one."""
    made = files(tmp_path / "edge", "porch", days=10)
    identity = Identity(made, edge_context)
    access = Access(Identity(rack(tmp_path / "rack"), cloud_context))

    async def main() -> None:
        async with cloud(tmp_path / "state", access=access) as running:
            heard = Heard()
            uplink = Uplink(running.address, hello(edge="porch"), heard.events, identity)
            task = asyncio.create_task(uplink.run())
            await until(lambda: uplink.available)
            (session,) = running.server.sessions
            before = session.channel.peer_certificate
            files(tmp_path / "edge", "porch", days=90)
            identity.reload()
            assert uplink.available
            assert heard.ups == 1
            session.channel.abort()
            await until(lambda: heard.ups == 2)
            (again,) = running.server.sessions
            assert before is not None
            assert again.channel.peer_certificate is not None
            assert again.channel.peer_certificate["notAfter"] != before["notAfter"]
            task.cancel()
            await asyncio.wait([task])
            await until(lambda: not running.server.sessions)

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cloud_that_hangs_amid_the_handshake_is_left(
    loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts and says nothing: the edge gives up at its time-out, leaves nothing behind, and tries again."""
    monkeypatch.setattr(limits, "CONNECT_TIMEOUT_S", 0.1)
    identity = Identity(files(tmp_path / "edge", "porch"), edge_context)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            mute.setblocking(False)
            address = Address(host="127.0.0.1", port=mute.getsockname()[1])
            uplink = Uplink(address, hello(edge="porch"), Heard().events, identity)
            task = asyncio.create_task(uplink.run())
            for _ in range(3):
                peer, _ = await asyncio.get_running_loop().sock_accept(mute)
                with peer:
                    while await asyncio.get_running_loop().sock_recv(peer, 4096):  # ClientHello, then the end
                        pass
            assert uplink.last_error == "it does not answer"
            task.cancel()
            await asyncio.wait([task])

    run(main(), loop)
