"""A webhook's receiver: a real HTTP server that answers as the test says."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[["Receiver", web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """What came, each request with its headers and body. `answers` are given in turn, the last one for ever."""

    answers: list[Answer] = field(default_factory=lambda: [taken])
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    asked: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((dict(request.headers), body))
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return await answer(self, request)

    @property
    def frames(self) -> list[int]:
        """The frames of all batches that came, in order."""
        return [one["frame"] for _, body in self.requests for one in json.loads(body)["records"]]

    def batch(self, number: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.requests[number][1])["records"]
        return found


async def taken(_: Receiver, __: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


def saying(status: int, text: str = "", **headers: str) -> Answer:
    async def answer(_: Receiver, __: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, text=text, headers={name.replace("_", "-"): v for name, v in headers.items()}
        )

    return answer


@asynccontextmanager
async def receiver(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Serve on a free port of loopback until the end of the block."""
    made = Receiver(list(answers) or [taken])
    app = web.Application(client_max_size=10**7)
    app.router.add_post("/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"{'https' if tls else 'http'}://{host}:{port}/hook"
    try:
        yield made
    finally:
        await runner.cleanup()
