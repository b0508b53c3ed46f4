"""Attempts to connect: begun one after another, also while earlier ones still hang; the first that is greeted counts.

    lost ─ 0…1 s ─► attempt 1 ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ hangs
                      └─ ~1 s ─► attempt 2 ┄┄┄┄┄┄┄┄┄ hangs
                                   └─ ~1.6 s ─► attempt 3 ─► greeted; the others are ended

An attempt may hang for seconds: a SYN that was lost is sent again after 1 s and 2 s more, and a slow link needs its
time for TLS. Whoever waited for it would find a link that is back as late. (RFC 8305 does the same with addresses.)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from common import limits
from common.errors import ConfigurationError, LinkError
from edge_daemon.line import Line

MOST_AT_A_TIME = 3
"""Each may hold a place at the cloud's door."""


def next_delay_s(attempt: int, rng: random.Random) -> float:
    """Return how long to wait before connection attempt number `attempt` (1 is the first retry)."""
    if attempt <= 1:
        return rng.uniform(0.0, limits.RECONNECT_FIRST_S)
    grown = limits.RECONNECT_FIRST_S * limits.RECONNECT_FACTOR ** (attempt - 2)
    return min(grown * rng.uniform(0.8, 1.2), limits.RECONNECT_MAX_S)


class Attempts:
    """Begins attempts by `begin`, and tells `failed` why one came to nothing."""

    def __init__(
        self,
        begin: Callable[[], Coroutine[Any, Any, Line]],
        failed: Callable[[Exception], None],
        rng: random.Random,
    ) -> None:
        self._begin = begin
        self._failed = failed
        self._rng = rng
        self._in_a_row = 0

    def succeeded(self) -> None:
        """Begin the back-off anew: there was a connection that held."""
        self._in_a_row = 0

    async def first(self, *, at_once: bool) -> Line:
        """Return the first line that is greeted; the first attempt begins `at_once`, or after a moment.

        Raises `ConfigurationError` when an attempt meets what no retry mends.
        """
        under_way: set[asyncio.Task[Line]] = set()
        line: Line | None = None
        try:
            try:
                line = await self._first(under_way, 0.0 if at_once else self._next_delay_s())
            finally:
                await end(under_way)
        except BaseException:
            if line is not None:
                line.channel.abort()
            raise
        return line

    async def _first(self, under_way: set[asyncio.Task[Line]], delay_s: float) -> Line:
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        while True:
            if loop.time() >= due:
                if len(under_way) < MOST_AT_A_TIME:
                    under_way.add(asyncio.create_task(self._begin()))
                due = loop.time() + self._next_delay_s()
            await _one_done(under_way, due - loop.time())
            for attempt in [attempt for attempt in under_way if attempt.done()]:
                under_way.remove(attempt)
                line = self._outcome(attempt)
                if line is not None:
                    return line

    def _next_delay_s(self) -> float:
        self._in_a_row += 1
        return next_delay_s(self._in_a_row, self._rng)

    def _outcome(self, attempt: asyncio.Task[Line]) -> Line | None:
        """Return the line of an attempt that succeeded; tell why one did not."""
        try:
            return attempt.result()
        except ConfigurationError:
            raise
        except (LinkError, OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: no name for DNS
            self._failed(error)
            return None


async def _one_done(under_way: Iterable[asyncio.Task[Line]], timeout_s: float) -> None:
    """Wait until one of the attempts has ended, for `timeout_s` at most."""
    if under_way:
        await asyncio.wait(under_way, timeout=max(timeout_s, 0.0), return_when=asyncio.FIRST_COMPLETED)
    else:
        await asyncio.sleep(timeout_s)


async def end(attempts: Iterable[asyncio.Task[Line]]) -> None:
    """End attempts that nobody needs any more, and the lines of those that have succeeded."""
    ending = [*attempts]
    for attempt in ending:
        attempt.add_done_callback(_close)  # whatever becomes of us
        attempt.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _close(attempt: asyncio.Task[Line]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().channel.abort()
