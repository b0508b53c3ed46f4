"""A view that is made up, a server that serves it, and raw sockets to visit it with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry, Counter

from common.config import Address
from common.web.gate import Gate
from common.web.metric_table import Reading, at, registry_of
from common.web.server import WebServer
from common.web.view import Health

HERE = Address(host="127.0.0.1", port=0)
TOKEN = "correct-horse-battery"


@dataclass
class Exhibit:
    """A view whose every answer can be set."""

    state: dict[str, Any] = field(default_factory=lambda: {"state": "running", "frames": 3})
    health: Health = field(default_factory=lambda: Health(True, "alive"))
    readiness: Health = field(default_factory=lambda: Health(True, "ready"))
    pictures: dict[int | None, bytes] = field(default_factory=dict)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        Counter("x_events", "help", registry=self.registry).inc(5)

    def status(self) -> dict[str, Any]:
        self.asked.append("status")
        return self.state

    def alive(self) -> Health:
        return self.health

    def ready(self) -> Health:
        return self.readiness

    def first(self) -> dict[str, Any]:
        self.asked.append("first")
        return {"past": [1, 2]}

    def news(self) -> dict[str, Any]:
        self.asked.append("news")
        return {"new": len(self.asked)}

    async def refresh(self) -> None:
        self.asked.append("refresh")

    async def picture(self, frame: int | None) -> bytes | None:
        return self.pictures.get(frame)

    def metrics(self, status: Any) -> CollectorRegistry:
        return registry_of([Reading("x_frames", "gauge", "help", at("frames"))], status)


@dataclass
class Visit:
    """A server and a client of it."""

    server: WebServer
    view: Exhibit
    address: Address
    client: aiohttp.ClientSession

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    async def get(self, path: str, **headers: str) -> tuple[int, str, Any]:
        """Return status, text and headers of an answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.get(self.url(path), headers=named, allow_redirects=False) as answer:
            return answer.status, await answer.text(errors="replace"), answer.headers


@contextlib.asynccontextmanager
async def visit(
    view: Exhibit | None = None, token: str | None = None, *, shown: bool = True
) -> AsyncIterator[Visit]:
    view = view or Exhibit()
    server = WebServer("edge", Gate("edge", token))
    async with server.listening(HERE) as address, aiohttp.ClientSession() as client:
        assert address is not None
        if shown:
            server.show(view)
        yield Visit(server, view, address, client)


async def read_event(reader: asyncio.StreamReader | aiohttp.StreamReader) -> tuple[str, str]:
    """Return kind and data of the next event of a stream."""
    kind = data = ""
    while True:
        line = (await reader.readline()).decode().rstrip("\r\n")
        name, _, value = line.partition(": ")
        kind, data = (value, data) if name == "event" else (kind, value if name == "data" else data)
        if not line and data:
            return kind, data
