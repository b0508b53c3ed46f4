"""Whoever holds places at the door holds them shortly, and not everybody's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from common import limits
from common.wire import transport
from tests.attacks.attacker import attack, guarded_cloud, loose_context
from tests.certificates import files
from tests.cloud_daemon.edge import cloud, hello
from tests.event_loop import LOOPS, run, until


def connect(address: tuple[str, int], source: str) -> socket.socket:
    return socket.create_connection(address, 5, source_address=(source, 0))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("says", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "begun"])
def test_a_handshake_that_is_not_finished_ends_in_time(
    says: bytes, loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connecting and keeping silent, or beginning a ClientHello, holds a place for the handshake's time only."""
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.2)

    async def main() -> None:
        async with guarded_cloud(tmp_path) as rack:
            with connect((rack.address.host, rack.address.port), "127.0.0.1") as slow:
                slow.sendall(says)
                await until(lambda: len(rack.server._greeting) == 1)
                await until(lambda: not rack.server._greeting)
                slow.setblocking(False)
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.get_running_loop().sock_recv(slow, 1) == b""

    run(main(), loop)


def test_silence_after_the_handshake_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A valid certificate gives no right to a place without a greeting."""
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(transport, "TICK_S", 0.01)
    context = loose_context(files(tmp_path / "edge", "porch"))

    async def main() -> None:
        async with guarded_cloud(tmp_path) as rack:
            reader, writer = await asyncio.open_connection(rack.address.host, rack.address.port, ssl=context)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            assert not rack.server._greeting
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_one_address_cannot_take_every_place(loop: str, tmp_path: Path) -> None:
    """A full door gives way to another address, at the cost of who holds most; the session inside is untouched."""

    async def main() -> None:
        async with guarded_cloud(tmp_path) as rack:
            address = (rack.address.host, rack.address.port)
            with contextlib.ExitStack() as held:
                for _ in range(2 * limits.MAX_GREETING_CONNECTIONS):
                    held.enter_context(connect(address, "127.0.0.9"))
                await until(lambda: len(rack.server._greeting) == limits.MAX_GREETING_CONNECTIONS)
                assert set(rack.server._greeting.values()) == {"127.0.0.9"}
                await until(lambda: len(rack.server._handshakes) == limits.MAX_GREETING_CONNECTIONS)
                context = loose_context(files(tmp_path / "edge", "porch"))
                spoils = await attack(rack.address, context)  # from another address, with a valid certificate
                assert spoils.heard, "an honest edge was kept out"

    run(main(), loop)


def test_more_than_a_greeting_is_not_read_before_it(tmp_path: Path) -> None:
    """A Hello of more than 4 KiB ends the connection before anything is allocated for it."""

    async def main() -> None:
        async with cloud(tmp_path) as rack:
            spoils = await attack(rack.address, None, greeting=hello())
            assert spoils.heard, "the greeting alone is welcome"
            reader, writer = await asyncio.open_connection(rack.address.host, rack.address.port)
            writer.write(b"CLV1\x01\x00" + (5000).to_bytes(2, "big") + bytes(8) + bytes(5000))
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    run(main())
