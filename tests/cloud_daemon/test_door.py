"""Facts about the listening sockets. Whom the door lets in is in tests/attacks, and in test_server.py."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest
from structlog.testing import capture_logs

from cloud_daemon import door as module
from cloud_daemon.door import Door
from common.config import Address
from tests.event_loop import LOOPS, run, until


@pytest.mark.parametrize("loop", LOOPS)
def test_every_connection_is_handed_over_with_its_address(loop: str) -> None:
    """Also many that come at once; after closing nobody gets in."""
    arrived: list[str] = []

    def accept(connection: socket.socket, address: str) -> None:
        assert not connection.getblocking()
        arrived.append(address)
        connection.close()

    async def main() -> None:
        door = Door(Address(host="localhost", port=0), accept)
        address = await door.open()
        sources = [f"127.0.0.{1 + number}" for number in range(3 * module.BURST)]
        for source in sources:
            socket.create_connection(("127.0.0.1", address.port), 5, source_address=(source, 0)).close()
        await until(lambda: len(arrived) == len(sources))
        assert arrived == sources
        door.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", address.port), 5)

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_without_free_descriptors_it_rests_and_goes_on(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line in the log, no spinning, and whoever waited is accepted when there is room."""
    monkeypatch.setattr(module, "OUT_OF_SOCKETS_S", 0.05)
    accepted: list[str] = []
    failures = [OSError(errno.EMFILE, "Too many open files")]
    real = socket.socket.accept

    def accept(listener: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return real(listener)

    def take(connection: socket.socket, address: str) -> None:
        accepted.append(address)
        connection.close()

    monkeypatch.setattr(socket.socket, "accept", accept)

    async def main() -> None:
        door = Door(Address(host="127.0.0.1", port=0), take)
        address = await door.open()
        with capture_logs() as logged, socket.create_connection(("127.0.0.1", address.port), 5):
            await until(lambda: bool(accepted))
        assert [line["reason"] for line in logged] == ["Too many open files"]
        door.close()
        await asyncio.sleep(0)

    run(main(), loop)
