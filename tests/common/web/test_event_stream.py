"""Facts about the stream of events: one for all, and nobody holds it up."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from common.web.event_stream import MOST_LISTENERS, EventStream
from tests.common.web.visit import read_event
from tests.event_loop import run, until


class Source:
    """Makes the messages: as long as it is told to, and counted."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.made = 0
        self.broken = False

    def first(self) -> dict[str, Any]:
        return {"first": True}

    def news(self) -> dict[str, Any]:
        if self.broken:
            raise ZeroDivisionError("a bug")
        self.made += 1
        return {"number": self.made, "filling": "x" * self.size}


@contextlib.asynccontextmanager
async def streaming(source: Source, interval_s: float = 0.01) -> AsyncIterator[tuple[EventStream, str]]:
    events = EventStream(source.first, source.news, interval_s)

    async def listen(request: web.Request) -> web.StreamResponse:
        return await events.listen(request, {})

    application = web.Application()
    application.router.add_get("/events", listen)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    task = asyncio.create_task(events.run())
    try:
        yield events, f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    finally:
        task.cancel()
        events.close()
        await runner.cleanup()
        await asyncio.gather(task, return_exceptions=True)


def test_all_hear_the_same() -> None:
    """A message is made once, however many listen."""

    async def main() -> None:
        source = Source()
        async with streaming(source) as (_, url), aiohttp.ClientSession() as client:
            answers = [await client.get(url) for _ in range(3)]
            heard = []
            for answer in answers:
                assert (await read_event(answer.content))[0] == "first"
                heard.append([json.loads((await read_event(answer.content))[1])["number"] for _ in range(5)])
                answer.close()
            for numbers in heard:
                assert numbers == list(range(numbers[0], numbers[0] + 5))

    run(main())


def test_who_does_not_read_is_let_go_and_holds_nobody_up() -> None:
    """Memory for him is bounded by his queue and his socket; the others hear on."""

    async def main() -> None:
        source = Source(size=200_000)
        async with streaming(source) as (events, url), aiohttp.ClientSession() as client:
            host, port = url.split("/")[2].split(":")
            _, writer = await asyncio.open_connection(host, int(port), limit=1000)
            writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: events.listeners == 1)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            async with client.get(url) as answer:
                while events.listeners == 2 or source.made < 20:
                    await read_event(answer.content)
                assert events.listeners == 1
                before = source.made
                while json.loads((await read_event(answer.content))[1])["number"] <= before:
                    pass
            writer.transport.abort()

    run(main())


def test_so_many_may_listen_and_no_more() -> None:
    """The next one is told; a place that is left is given again."""

    async def main() -> None:
        async with streaming(Source()) as (events, url), aiohttp.ClientSession() as client:
            answers = [await client.get(url) for _ in range(MOST_LISTENERS)]
            async with client.get(url) as refused:
                assert refused.status == 503
            answers.pop().close()
            await until(lambda: events.listeners == MOST_LISTENERS - 1)
            async with client.get(url) as taken:
                assert taken.status == 200
            for answer in answers:
                answer.close()

    run(main())


@pytest.mark.parametrize("times", [1, 5])
def test_a_bug_in_the_news_is_said_once_and_ends_nothing(times: int) -> None:
    """The stream goes on when the news can be made again."""

    async def main() -> None:
        source = Source()
        async with (
            streaming(source) as (_, url),
            aiohttp.ClientSession() as client,
            client.get(url) as answer,
        ):
            await read_event(answer.content)
            with capture_logs() as logged:
                source.broken = True
                await until(lambda: bool(logged))
                await asyncio.sleep(0.01 * times)
                source.broken = False
                made = source.made
                while json.loads((await read_event(answer.content))[1])["number"] <= made:
                    pass
            assert [line["event"] for line in logged] == ["the page's news cannot be made"]

    run(main())
