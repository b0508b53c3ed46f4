"""One stream of server-sent events, the same for all who listen. Nothing is made while nobody does.

    first ──► news ─► news ─► …      once a second
              │
              └─ each listener's own queue of 8; who leaves it full reads too slowly, and is let go

A page that was let go connects again and begins with `first`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiohttp import web

from common.json_text import to_json

log = structlog.get_logger()

INTERVAL_S = 1.0
MOST_WAITING = 8
"""Messages that wait for a listener: eight seconds."""
MOST_LISTENERS = 16
"""Security: streams at a time, each of which costs a message a second."""

Make = Callable[[], Mapping[str, Any]]
Listener = asyncio.Queue[bytes | None]


class EventStream:
    """Makes the messages and hands them to whoever listens. `run` is its one task."""

    def __init__(self, first: Make, news: Make, interval_s: float = INTERVAL_S) -> None:
        self._first = first
        self._news = news
        self._interval_s = interval_s
        self._listeners: dict[Listener, web.Request] = {}
        self._somebody = asyncio.Event()
        self._failing = False

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    async def run(self) -> None:
        """Tell the news as long as somebody listens, until cancelled. What goes wrong is logged and stops nothing."""
        while True:
            await self._somebody.wait()
            await asyncio.sleep(self._interval_s)
            self._tell("news", self._news)

    def begin_anew(self) -> None:
        """Tell everybody the first message again: what it says has changed."""
        self._tell("first", self._first)

    def close(self) -> None:
        """End all streams."""
        for listener in [*self._listeners]:
            self._let_go(listener)

    async def listen(self, request: web.Request, headers: Mapping[str, str]) -> web.StreamResponse:
        """Answer a request with the stream, until either side ends it."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise web.HTTPServiceUnavailable(
                text=f"{MOST_LISTENERS} pages are open, and more are not served\n"
            )
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        listener: Listener = asyncio.Queue(MOST_WAITING)
        listener.put_nowait(_message("first", self._first()))
        self._listeners[listener] = request
        self._somebody.set()
        try:
            await response.prepare(request)
            while (message := await listener.get()) is not None:
                await response.write(message)
        except ConnectionError:
            pass  # the page was closed, or was let go
        finally:
            self._forget(listener)
        return response

    def _tell(self, kind: str, make: Make) -> None:
        if not self._listeners:
            return
        try:
            message = _message(kind, make())
        except Exception:  # a bug: the page stands still, frames do not
            if not self._failing:
                log.exception("the page's news cannot be made")
            self._failing = True
            return
        self._failing = False
        for listener in [*self._listeners]:
            try:
                listener.put_nowait(message)
            except asyncio.QueueFull:
                self._let_go(listener)

    def _let_go(self, listener: Listener) -> None:
        """End a stream: in order if it reads, by force if it does not."""
        request = self._listeners[listener]
        self._forget(listener)
        with contextlib.suppress(asyncio.QueueFull):
            listener.put_nowait(None)
            return
        if request.transport is not None:
            request.transport.abort()

    def _forget(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)
        if not self._listeners:
            self._somebody.clear()


def _message(kind: str, document: Mapping[str, Any]) -> bytes:
    """Write an event. JSON has no line ends of its own, so one `data:` line holds it."""
    return f"event: {kind}\ndata: {to_json(document)}\n\n".encode()
