"""Facts about an emulated link whose connections vanish, and that takes no new ones."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from benchmarks.emulated_link import EmulatedLink, Forward
from tests.event_loop import run, until

pytestmark = pytest.mark.alone

SOON_S = 0.2
"""Long enough for what comes to have come; what is shown not to come is shown for this long."""


class Echo:
    """A server that gives back what it gets, and knows how each connection ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.heard = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                self.heard += len(data)
                writer.write(data)
            self.ends.append("closed")
        except ConnectionResetError:
            self.ends.append("reset")
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def linked() -> AsyncIterator[tuple[EmulatedLink, Echo]]:
    echo = Echo()
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
        forward = Forward(listen=("127.0.0.1", 0), target=server.sockets[0].getsockname()[:2])
        async with EmulatedLink([forward]) as link:
            yield link, echo


async def talk(link: EmulatedLink) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and hear the echo."""
    reader, writer = await asyncio.open_connection(*link.addresses[0])
    writer.write(b"first")
    assert await reader.readexactly(5) == b"first"
    return reader, writer


async def nothing_comes(reader: asyncio.StreamReader) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), SOON_S)


def test_a_connection_vanishes_and_neither_side_is_told() -> None:
    """Half-open on both sides: writing succeeds, nothing arrives, and a new connection works."""

    async def main() -> None:
        async with linked() as (link, echo):
            reader, writer = await talk(link)
            link.forsake()
            writer.write(b"into the dark")
            await writer.drain()
            await nothing_comes(reader)
            assert (echo.heard, echo.ends) == (5, [])
            assert link.counters().connections_open == 0
            _, other = await talk(link)
            other.close()
            writer.close()

    run(main(), loop="asyncio")


@pytest.mark.parametrize("told", ["client", "target"])
def test_only_one_side_is_told(told: str) -> None:
    """A reset that only one side sees leaves the other half-open."""

    async def main() -> None:
        async with linked() as (link, echo):
            reader, writer = await talk(link)
            link.forsake(client_told=told == "client", target_told=told == "target")
            if told == "client":
                with pytest.raises(ConnectionResetError):
                    await reader.read(1)
                await asyncio.sleep(SOON_S)
                assert echo.ends == []
            else:
                await until(lambda: echo.ends == ["reset"])
                await nothing_comes(reader)
            writer.close()

    run(main(), loop="asyncio")


def test_new_connections_hang_until_they_are_welcome() -> None:
    """Their SYNs are dropped; one that was sent meanwhile connects by being sent again, as on a real link."""

    async def main() -> None:
        async with linked() as (link, _):
            link.ignore()
            connecting = asyncio.create_task(talk(link))
            done, _ = await asyncio.wait([connecting], timeout=SOON_S)
            assert not done
            assert link.counters().connections_accepted == 0
            link.welcome()
            _, writer = await connecting
            writer.close()

    run(main(), loop="asyncio")


def test_new_connections_are_refused_until_they_are_welcome() -> None:
    """Nobody listens meanwhile; those that are there go on."""

    async def main() -> None:
        async with linked() as (link, _):
            reader, writer = await talk(link)
            link.refuse()
            with pytest.raises(ConnectionRefusedError):
                await talk(link)
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
            link.welcome()
            _, other = await talk(link)
            other.close()
            writer.close()

    run(main(), loop="asyncio")


@pytest.mark.parametrize("way", ["up", "down"])
def test_one_direction_alone_may_be_cut(way: str) -> None:
    """What goes that way waits; the other way is open; after the outage all of it arrives."""

    async def main() -> None:
        async with linked() as (link, echo):
            reader, writer = await talk(link)
            link.cut(up=way == "up", down=way == "down")
            writer.write(b"again")
            await nothing_comes(reader)
            assert echo.heard == (5 if way == "up" else 10)
            link.restore()
            assert await reader.readexactly(5) == b"again"
            writer.close()

    run(main(), loop="asyncio")


def test_a_limit_set_later_breaks_amid_what_is_sent_then() -> None:
    """It counts from when it is set, and to the byte."""

    async def main() -> None:
        async with linked() as (link, echo):
            _, writer = await talk(link)
            link.shape = dataclasses.replace(link.shape, limit_bytes=3)
            writer.write(b"broken")
            await until(lambda: echo.ends == ["reset"])
            assert echo.heard == 5 + 3
            writer.close()

    run(main(), loop="asyncio")
