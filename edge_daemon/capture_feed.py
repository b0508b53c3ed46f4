"""One run of a capturing process: frames are asked for when they are due, and silence is noticed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from common import limits
from common.errors import SourceError
from edge_daemon.capture import CaptureProcess, capturing
from edge_daemon.capture_job import CaptureJob, Ended, Shot, Told
from edge_daemon.capture_watch import stalled
from edge_daemon.source import next_due

Received = tuple[Shot, memoryview]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvents:
    """Whom a feed tells what. All are called on the event loop.

    `ready` returns when a frame may be asked for; `take` is given it, and returns when the next one may be.
    `told` hears how many frames there have been, at what time (monotonic), and how many more nobody will get.
    """

    ready: Callable[[], Awaitable[None]]
    take: Callable[[Shot, memoryview], Coroutine[Any, Any, None]]
    told: Callable[[float, int, int], None]


class CaptureFeed:
    """Runs one capturing process to its end, asking for a frame each period at most."""

    def __init__(self, job: CaptureJob, events: FeedEvents, period_s: Callable[[], float]) -> None:
        self._job = job
        self._events = events
        self._period_s = period_s
        self._arrived: asyncio.Queue[Received] = asyncio.Queue(1)
        self._waits_since: float | None = time.monotonic()
        self._captured = 0
        self._passed_over = 0
        self.first_at: float | None = None
        """When the first frame was heard of."""
        self.pid: int | None = None

    async def run(self) -> Ended:
        """Run until the process ends, or is ended because it gives nothing, or garbage.

        Raises `SourceError` when it cannot be started.
        """
        async with capturing(self._job) as child:
            self.pid = child.pid
            async with asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(self._ask(child, tasks))
                try:
                    ended = await self._receive(child)
                except SourceError as error:
                    ended = Ended(str(error))
                finally:
                    asking.cancel()
            while not self._arrived.empty():  # the last frame comes with the end
                await self._events.take(*self._arrived.get_nowait())
        return ended

    async def _ask(self, child: CaptureProcess, tasks: asyncio.TaskGroup) -> None:
        next_at = time.monotonic()
        while True:
            await asyncio.sleep(max(next_at - time.monotonic(), 0.0))
            await self._events.ready()
            next_at = next_due(next_at, time.monotonic(), self._period_s())
            if self._job.every:  # a camera gives frames unasked; a video is waited for only now
                self._waits_since = time.monotonic()
            child.ask()
            received = await self._arrived.get()
            # A task of its own: the end of the process, which ends this one, must not cost the frame.
            taking = tasks.create_task(self._events.take(*received))
            await asyncio.wait([taking])

    async def _receive(self, child: CaptureProcess) -> Ended:
        while True:
            silent_s = 0.0 if self._waits_since is None else time.monotonic() - self._waits_since
            try:
                async with asyncio.timeout(max(limits.CAPTURE_STALL_S - silent_s, 0.0)):
                    message, payload = await child.receive()
            except TimeoutError:
                message = None
            now = time.monotonic()
            if isinstance(message, Ended):
                return message
            if isinstance(message, Told):
                self._note(message, now)
            elif isinstance(message, Shot):
                self._saw_frame(now)
                if self._job.every:
                    self._waits_since = None  # it has nothing to do until it is asked again
                if self._is_stale(message, now):
                    self._events.told(now, self._captured, 1)
                    child.ask()
                    continue
                if self._arrived.full():
                    raise SourceError("the capturing process sent a frame that nobody asked for")
                self._arrived.put_nowait((message, payload))
            if self._waits_since is not None and (
                why := stalled(now - self._waits_since, limits.CAPTURE_STALL_S)
            ):
                return Ended(why)

    def _note(self, told: Told, now: float) -> None:
        # A video that is played rests between two frames for as long as its own time says, and gives none meanwhile.
        if told.captured > self._captured or told.resting:
            self._saw_frame(now)
        if told.captured < self._captured or told.passed_over < self._passed_over:
            raise SourceError("the capturing process counts backwards")
        passed_over, self._passed_over = told.passed_over - self._passed_over, told.passed_over
        self._captured = told.captured
        self._events.told(now, told.captured, passed_over)

    def _saw_frame(self, now: float) -> None:
        self.first_at = self.first_at or now
        if self._waits_since is not None:
            self._waits_since = now

    def _is_stale(self, shot: Shot, now: float) -> bool:
        """Say whether a live frame has become too old on its way here: this process may have stood still."""
        return not self._job.every and not self._job.paced and now - shot.captured_at > self._job.max_age_s
