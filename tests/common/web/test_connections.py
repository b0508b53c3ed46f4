"""Facts about connections that dawdle: they are ended, and cost nobody else a place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from common.web.connections import Connections
from tests.event_loop import LOOPS, run


@contextlib.asynccontextmanager
async def listening(connections: Connections) -> AsyncIterator[int]:
    """Serve a word at `/`, and an endless answer at `/stream`."""

    async def word(request: web.Request) -> web.Response:
        connections.requested(request.protocol)
        return web.Response(text="word")

    async def stream(request: web.Request) -> web.StreamResponse:
        connections.requested(request.protocol)
        connections.streams(request.protocol)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        await asyncio.Event().wait()
        return response

    application = web.Application()
    application.router.add_get("/", word)
    application.router.add_get("/stream", stream)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    server = runner.server
    assert server is not None
    listener = await asyncio.get_running_loop().create_server(
        lambda: connections.make(server), "127.0.0.1", 0
    )
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        connections.close()
        await runner.cleanup()


class Visitor:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def come(cls, port: int, data: bytes = b"") -> Visitor:
        visitor = cls(*await asyncio.open_connection("127.0.0.1", port))
        visitor.writer.write(data)
        return visitor

    async def ended(self) -> bool:
        """Wait until the server has ended the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1000):
                pass
        self.leave()
        return True

    def leave(self) -> None:
        self.writer.close()


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-A", GET + b"GET / HTT"])
def test_who_never_finishes_a_request_is_cut_off(loop: str, data: bytes) -> None:
    """Whether nothing comes, half a head, or half of a second one (slowloris)."""

    async def main() -> None:
        async with listening(Connections(request_s=0.05, answer_s=0.1)) as port:
            assert await (await Visitor.come(port, data)).ended()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_place_of_the_oldest_is_given_away(loop: str) -> None:
    """However many dawdle, whoever comes is served; a stream is ended only when there is nothing else."""

    async def main() -> None:
        async with listening(Connections(most=4, request_s=20)) as port:
            stream = await Visitor.come(port, STREAM)
            assert b"200" in await stream.reader.readline()
            idle = [await Visitor.come(port) for _ in range(10)]
            for _ in range(5):
                visitor = await Visitor.come(port, GET)
                assert b"200" in await visitor.reader.readline()
                idle.append(visitor)
            ended = [asyncio.ensure_future(visitor.ended()) for visitor in idle[:6]]
            assert all(await asyncio.gather(*ended))
            assert not stream.reader.at_eof()
            for visitor in (*idle, stream):
                visitor.leave()

    run(main(), loop)


def test_connections_that_have_ended_take_no_place() -> None:
    """A thousand short visits leave room, and end no stream."""

    async def main() -> None:
        connections = Connections(most=8)
        async with listening(connections) as port:
            stream = await Visitor.come(port, STREAM)
            assert b"200" in await stream.reader.readline()
            for _ in range(100):
                visitor = await Visitor.come(port, GET)
                await visitor.reader.readline()
                visitor.leave()
            assert len(connections) <= 8
            assert not stream.reader.at_eof()
            stream.leave()

    run(main())
