"""Bounds on what strangers may do to the page's sockets: how many there are, and how long each may dawdle."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

MOST = 64
"""Security: connections at a time. With one more, the one that was heard of longest ago is closed."""
REQUEST_S = 10.0
"""Security: from connecting to a whole request's head (slowloris)."""
ANSWER_S = 60.0
"""Security: from a request's head to the next one, or the end: whoever reads an answer more slowly is cut off."""


SETTLED_S = 1.0
"""A connection that has no transport after this long has lost it; a younger one may not have it yet."""


@dataclass(slots=True)
class _Entry:
    made_at: float
    timer: asyncio.TimerHandle | None = None
    """None: an answer without end."""


class Connections:
    """Makes the protocols of a server's connections and ends those that dawdle. Streams look after themselves."""

    def __init__(self, *, most: int = MOST, request_s: float = REQUEST_S, answer_s: float = ANSWER_S) -> None:
        self._most = most
        self._request_s = request_s
        self._answer_s = answer_s
        self._loop = asyncio.get_running_loop()
        self._entries: dict[web.RequestHandler, _Entry] = {}

    def __len__(self) -> int:
        """How many there are, perhaps with some that have ended."""
        return len(self._entries)

    def make(self, server: web.Server) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        if len(self._entries) >= self._most:
            self._make_room()
        handler = server()
        self._entries[handler] = _Entry(self._loop.time())
        self._wait(handler, self._request_s)
        return handler

    def requested(self, handler: web.RequestHandler) -> None:
        """Take note of a whole request's head."""
        self._wait(handler, self._answer_s)

    def streams(self, handler: web.RequestHandler) -> None:
        """Let a connection live: it has an answer without end."""
        if entry := self._entries.get(handler):
            _cancel(entry)

    def close(self) -> None:
        """End all."""
        for handler in [*self._entries]:
            self._end(handler)

    def _make_room(self) -> None:
        """Forget what has ended; if that was none, end the oldest, a stream only if there is nothing else."""
        settled = self._loop.time() - SETTLED_S
        gone = [h for h, entry in self._entries.items() if h.transport is None and entry.made_at < settled]
        for handler in gone:
            self._end(handler)
        if not gone:
            plain = (handler for handler, entry in self._entries.items() if entry.timer is not None)
            self._end(next(plain, next(iter(self._entries))))

    def _wait(self, handler: web.RequestHandler, seconds: float) -> None:
        if entry := self._entries.get(handler):
            _cancel(entry)
            entry.timer = self._loop.call_later(seconds, self._end, handler)

    def _end(self, handler: web.RequestHandler) -> None:
        _cancel(self._entries.pop(handler))
        if handler.transport is not None:
            handler.transport.abort()


def _cancel(entry: _Entry) -> None:
    if entry.timer is not None:
        entry.timer.cancel()
        entry.timer = None
